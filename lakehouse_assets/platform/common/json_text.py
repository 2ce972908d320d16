"""JSON in a column of text: read strictly, as objects of text, in which numbers keep the digits that they came with.

A text is one JSON object, with nothing after it and no key twice, at any depth; else it has no fields. A byte order
mark is no content. Spark's own reader takes the first of two equal keys, and whatever follows the object, and makes a
number with decimals a float before it writes it as text.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column

FIELDS = "map<string,string>"
MARK = "\ue000"  # of no script, so rare in a text: tells a number from a text while Spark's reader sees both as text
_BEFORE_A_NUMBER = r'(?:[^"\d-]++|"(?:[^"\\]++|\\.)*+")*+'
_NUMBER = r"-?\d[\d.eE+-]*+"


def document(text: "Column") -> "Column":
    """The text without a byte order mark, where it is one JSON value as it should be; else NULL."""
    from pyspark.sql import functions as F

    body = F.regexp_replace(text, "^\ufeff", "")
    end = F.sha2(body, 256)  # as nothing can say its own hash, what is read before it is the whole text
    read = F.try_parse_json(F.concat(F.lit("["), body, F.lit(',"'), end, F.lit('"]')))
    return F.when(F.try_variant_get(read, "$[1]", "string") == end, body)


def json_fields(text: "Column") -> "Column":
    """The fields of a `document` that is an object, by name; NULL where it is none.

    A nested value is JSON, with its numbers as texts where any text has the mark.
    """
    from pyspark.sql import functions as F

    flat = ~F.substring(text, 2, 2**31 - 1).rlike(r"[\[{]")  # most events are: nothing is to be told apart in them
    texts = F.from_json(_quoted(text, ""), FIELDS)
    nested = F.transform_values(F.from_json(_quoted(text, MARK), FIELDS), lambda _, value: _plain(value))
    return F.when(flat | _has_mark(text, F.map_values(texts)), texts).otherwise(nested)


def json_objects(text: "Column") -> "Column":
    """The fields of each object of a list, as `json_fields` gives them of one; NULL where it is no list of objects."""
    from pyspark.sql import functions as F

    objects = F.from_json(_quoted(text, MARK), f"array<{FIELDS}>")
    plain = F.transform(objects, lambda one: F.transform_values(one, lambda _, value: _plain(value)))
    texts = F.from_json(_quoted(text, ""), f"array<{FIELDS}>")
    told = F.when(_has_mark(text, F.flatten(F.transform(texts, lambda one: F.map_values(one)))), texts).otherwise(plain)
    return F.when(~F.exists(objects, lambda one: one.isNull()), told)


def _has_mark(text: "Column", values: "Column") -> "Column":
    """Whether one of the values of the JSON has the mark itself. They are read only where the mark may be written."""
    from pyspark.sql import functions as F

    written = text.rlike(rf"(?i){MARK}|\\ue000")
    return written & F.coalesce(F.exists(values, lambda value: value.contains(MARK)), F.lit(False))


def _quoted(text: "Column", mark: str) -> "Column":
    """The JSON with its numbers as texts that begin with the mark."""
    from pyspark.sql import functions as F

    return F.regexp_replace(text, rf"\G({_BEFORE_A_NUMBER})({_NUMBER})", f'$1"{mark}$2"')


def _plain(value: "Column") -> "Column":
    """A field's text: of a number its digits, of a nested value its JSON with the numbers in it."""
    from pyspark.sql import functions as F

    nested = F.regexp_replace(value, f'"{MARK}([^"]*)"', "$1")
    digits = F.substring(value, 2, 2**31 - 1)
    return F.when(value.startswith(MARK), digits).when(value.contains(MARK), nested).otherwise(value)
