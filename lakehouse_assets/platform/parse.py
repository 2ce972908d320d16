"""Typed columns from text: what a source wrote, read strictly. Nothing is guessed and nothing is rounded.

Around a value spaces, tabs, line ends and no-break spaces are ignored; "", null, NULL, None, NaN and N/A mean NULL.
A text that is anything else than its column's type says is malformed: the column is NULL, its name in `_malformed`.

| type | text |
|---|---|
| whole numbers | `42`, `-7`, in the type's range; `42.0` is malformed |
| DECIMAL(p, s) | `50.00`, `50,00`, `1.234,56`, `1,234.56`, in range, at most s decimals; not `1.234`, `1,234` |
| FLOAT, DOUBLE | `1.5`, `-1e-3`, finite |
| DATE | `2023-01-31`, a day that exists |
| TIMESTAMP_NTZ | `2023-01-31 23:59:59`, also with `T`, up to six decimals of a second; no zone |
| BOOLEAN | `true`, `false`, `1`, `0`, in any case |
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING

from lakehouse_assets.platform.compiled import MALFORMED, compile_contract
from lakehouse_assets.platform.row_json import ROW, python_json

if TYPE_CHECKING:
    import pyspark.sql.types as T
    from pyspark.sql import Column, DataFrame

    from lakehouse_assets.platform.contract import Contract

Spellings = Mapping[str, Sequence[tuple[str, str]]]
NULL_WORDS = ("", "null", "NULL", "None", "NaN", "N/A")
_BLANKS = " \t\r\n\u00a0"
_DAY = r"(?!0000)\d{4}-\d{2}-\d{2}"  # the year 0 is a date to Spark and not to Python
_PATTERNS = {
    **dict.fromkeys(("tinyint", "smallint", "int", "bigint"), r"^[+-]?\d+$"),
    **dict.fromkeys(("float", "double"), r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"),
    "date": f"^{_DAY}$",
    "timestamp_ntz": rf"^{_DAY}[ T]\d{{2}}:\d{{2}}:\d{{2}}(\.\d{{1,6}})?$",
}


def parse(
    landed: "DataFrame",
    contract: "type[Contract]",
    spellings: "Spellings | None" = None,
    carried: "Sequence[str]" = (),
) -> "DataFrame":
    """The landed rows (see `landed_contract`), typed.

    `spellings`: how a source writes some columns, as pairs of a regular expression and what it stands for. `carried`:
    further columns to keep as they are.

    Columns: the contract's source columns; feed_day; `version`, the number of the landing; `record_hash`, SHA-256 of
    `_row`; `source_file`; `row_number`; `_row`, the source columns as they came as Python's JSON with sorted keys;
    `_malformed`, the source columns whose text does not parse. Never fails at run time because of a value.
    Where `landed` has a `_row` of its own, the record as it came before it was taken apart, that one is kept.
    """
    from pyspark.sql import functions as F

    compiled = compile_contract(contract)
    types = {name: compiled.spark_schema[name].dataType for name in compiled.source_columns}
    carried = ["feed_day", "source_file", "row_number", *carried]
    text = {name: f"_text_{name}" for name in types}
    texts = landed.select(
        *carried,
        F.col("landing").cast("int").alias("version"),
        _told(sorted(types), landed.columns).alias("_hashed"),
        *([F.col(ROW)] if ROW in landed.columns else []),
        *[meant(_respelt(F.col(name), (spellings or {}).get(name, ()))).alias(text[name]) for name in types],
    )
    typed = texts.select(
        *[
            _typed(F.col(text[name]), kind, compiled.decimal_marks.get(name)).alias(name)
            for name, kind in types.items()
        ],
        *carried,
        "version",
        F.sha2("_hashed", 256).alias("record_hash"),
        F.col(ROW if ROW in landed.columns else "_hashed").alias(ROW),
        *text.values(),
    )
    bad = {name: F.col(text[name]).isNotNull() & F.col(name).isNull() for name in types}
    none = F.array().cast("array<string>")
    listed = F.array_compact(F.array(*[F.when(is_bad, F.lit(name)) for name, is_bad in bad.items()]))
    malformed = F.when(reduce(lambda a, b: a | b, bad.values()), listed).otherwise(none)
    return typed.select(*types, *carried, "version", "record_hash", ROW, malformed.alias(MALFORMED))


def _told(columns: "Sequence[str]", landed: "Sequence[str]") -> "Column":
    """What tells a record from others: its columns; where it has none of them, the record as it came."""
    from pyspark.sql import functions as F

    columns_as_json = python_json(columns)
    if ROW not in landed:
        return columns_as_json
    return F.when(F.coalesce(*columns).isNull(), F.col(ROW)).otherwise(columns_as_json)


def _respelt(text: "Column", pairs: "Sequence[tuple[str, str]]") -> "Column":
    from pyspark.sql import functions as F

    return reduce(lambda done, pair: F.regexp_replace(done, pair[0], pair[1]), pairs, text)


def meant(text: "Column") -> "Column":
    """The text without blanks around it; NULL where it says that there is none."""
    from pyspark.sql import functions as F

    trimmed = F.btrim(text, F.lit(_BLANKS))
    return F.when(~trimmed.isin(*NULL_WORDS), trimmed)


def _typed(text: "Column", kind: "T.DataType", decimal_mark: str | None) -> "Column":
    """The value of a trimmed text; NULL where it is malformed."""
    import pyspark.sql.types as T
    from pyspark.sql import functions as F

    name = kind.typeName()
    match kind:
        case T.StringType():
            return text
        case T.BooleanType():
            low = F.lower(text)
            return F.when(low.isin("true", "1"), F.lit(True)).when(low.isin("false", "0"), F.lit(False))
        case T.DecimalType():
            return _decimal(text, kind.precision, kind.scale, decimal_mark)
        case T.FloatType() | T.DoubleType():
            number = F.when(text.rlike(_PATTERNS[name]), text).try_cast(kind)
            return F.when(F.abs(number) < F.lit(float("inf")), number)
        case _:
            return F.when(text.rlike(_PATTERNS[kind.simpleString()]), text).try_cast(kind)


def _decimal(text: "Column", precision: int, scale: int, mark: str | None) -> "Column":
    """A decimal with point or comma, with or without groups of three, but only in a form that has one reading."""
    from pyspark.sql import functions as F

    def forms(point: str, group: str) -> str:
        """Texts in which `point` surely is the decimal mark (or `group` surely is not)."""
        some = rf"{point}\d{{1,{scale}}}" if scale else r"(?!)"
        grouped = rf"[1-9]\d{{0,2}}({group}\d{{3}})"
        return rf"^[+-]?(\d+{some}|{grouped}+{some}|{grouped}{{2,}})$"

    def declared(point: str, group: str) -> str:
        some = rf"({point}\d{{1,{scale}}})?" if scale else ""
        return rf"^[+-]?(\d+|[1-9]\d{{0,2}}({group}\d{{3}})+){some}$"

    with_comma, with_point = (",", r"\."), (r"\.", ",")
    ambiguous = text.rlike(r"^[+-]?[1-9]\d{0,2}[.,]\d{3}$")
    if mark is None:
        comma = ~ambiguous & text.rlike(forms(*with_comma))
        point = ~ambiguous & (text.rlike(forms(*with_point)) | text.rlike(r"^[+-]?\d+$"))
    else:
        comma = text.rlike(declared(*with_comma)) if mark == "," else F.lit(False)
        point = text.rlike(declared(*with_point)) if mark == "." else F.lit(False)
    plain = F.when(comma, F.translate(text, ",.", ".")).when(point, F.translate(text, ",", ""))
    return plain.try_cast(f"decimal({precision},{scale})")
