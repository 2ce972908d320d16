"""A row of text as the JSON that Python writes, so that a row's hash can be computed, and checked, anywhere."""

import json
from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column

ROW = "_row"
_ESCAPED = {chr(code): json.dumps(chr(code))[1:-1] for code in (ord("\\"), ord('"'), *range(0x20))}


def python_json(columns: Sequence[str]) -> "Column":
    """`json.dumps(row, sort_keys=True, ensure_ascii=False)` of text columns given in sorted order; NULL is `null`."""
    from pyspark.sql import functions as F

    opening = ("{", *[", "] * (len(columns) - 1))
    keys = [
        F.lit(f"{before}{json.dumps(name, ensure_ascii=False)}: ")
        for before, name in zip(opening, columns, strict=True)
    ]
    quote, null = F.lit('"'), F.lit("null")

    def value(text: "Column") -> "Column":
        return F.coalesce(F.concat(quote, text, quote), null)

    # Nearly no row has anything to escape: one look at the whole row, and only then a value at a time.
    unusual = F.concat_ws("", *columns).rlike(r'["\\\x00-\x1f]')
    plain = F.concat(
        *[part for key, name in zip(keys, columns, strict=True) for part in (key, value(F.col(name)))], F.lit("}")
    )
    values = F.transform(F.array(*columns), lambda text: value(_escape(text)))
    escaped = F.concat(
        F.array_join(F.zip_with(F.array(*keys), values, lambda key, text: F.concat(key, text)), ""), F.lit("}")
    )
    return F.when(unusual, escaped).otherwise(plain)


def _escape(text: "Column") -> "Column":
    """Backslash first: the other escapes bring backslashes of their own."""
    from pyspark.sql import functions as F

    return reduce(lambda done, pair: F.replace(done, F.lit(pair[0]), F.lit(pair[1])), _ESCAPED.items(), text)
