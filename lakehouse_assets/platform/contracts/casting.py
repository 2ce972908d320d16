"""Typed columns from text: what a source wrote, read strictly. Nothing is guessed and nothing is rounded.

Around a value spaces, tabs, line ends and no-break spaces are ignored; "", null, NULL, None, NaN and N/A mean NULL.
A text that is anything else than its column's type says is malformed: the column is NULL, its name in `_malformed`.
Zeros that the type has no place for are no rounding: they are left out.

| type | text |
|---|---|
| whole numbers | `42`, `-7`, `42.0`, `4.2E1`, in the type's range; not `42.5` |
| DECIMAL(p, s) | `50.00`, `50,00`, `.5`, `1.234,56`, `1,234.56`, `1.2345E2`, in range, at most s decimals and zeros |
| both | not `1.234`, `1,234`, which have two readings, unless `decimal_mark` says which |
| FLOAT, DOUBLE | `1.5`, `-1e-3`, finite |
| DATE | `2023-01-31`, a day that exists; also with a time of midnight |
| TIMESTAMP_NTZ | `2023-01-31 23:59:59`, also with `T`, up to six decimals of a second and zeros; no zone |
| BOOLEAN | `true`, `false`, `1`, `0`, in any case |
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING

from lakehouse_assets.platform.contracts.compiled import MALFORMED, compile_contract
from lakehouse_assets.platform.contracts.row_json import ROW, python_json

if TYPE_CHECKING:
    import pyspark.sql.types as T
    from pyspark.sql import Column, DataFrame

    from lakehouse_assets.platform.contracts.contract import Contract

Spellings = Mapping[str, Sequence[tuple[str, str]]]
NULL_WORDS = ("", "null", "NULL", "None", "NaN", "N/A")
_BLANKS = " \t\r\n\u00a0"
_DAY = r"(?!0000)\d{4}-\d{2}-\d{2}"  # the year 0 is a date to Spark and not to Python
_PATTERNS = {
    **dict.fromkeys(("float", "double"), r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"),
    "date": rf"^{_DAY}([ T]00:00:00(\.0+)?)?$",
    "timestamp_ntz": rf"^{_DAY}[ T]\d{{2}}:\d{{2}}:\d{{2}}(\.\d{{1,6}}0*)?$",
}
_KEPT = {"date": 10, "timestamp_ntz": 26}  # characters that say something; zeros may follow
_TWO_READINGS = r"^[+-]?[1-9]\d{0,2}[.,]\d{3}$"
_SCIENTIFIC = r"^[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?0*\d{1,3}$"
Mark = str | None


def parse(
    landed: "DataFrame",
    contract: "type[Contract]",
    spellings: "Spellings | None" = None,
    carried: "Sequence[str]" = (),
    unreadable: "Mapping[str, Column] | None" = None,
) -> "DataFrame":
    """The landed rows (see `landed_contract`), typed.

    `spellings`: how a source writes some columns, as pairs of a regular expression and what it stands for. `carried`:
    further columns to keep as they are. `unreadable`: of what else `_malformed` has the name, and where.

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
        *[where.alias(f"_unreadable_{name}") for name, where in (unreadable or {}).items()],
    )
    typed = texts.select(
        *[
            typed_value(F.col(text[name]), kind, compiled.decimal_marks.get(name)).alias(name)
            for name, kind in types.items()
        ],
        *carried,
        "version",
        F.sha2("_hashed", 256).alias("record_hash"),
        F.col(ROW if ROW in landed.columns else "_hashed").alias(ROW),
        *text.values(),
        *[f"_unreadable_{name}" for name in unreadable or {}],
    )
    bad = {name: F.col(text[name]).isNotNull() & F.col(name).isNull() for name in types}
    bad |= {name: F.col(f"_unreadable_{name}") for name in unreadable or {}}
    return typed.select(*types, *carried, "version", "record_hash", ROW, _names(bad).alias(MALFORMED))


def read_fields(rows: "DataFrame", texts: "Mapping[str, Column]", contract: "type[Contract]") -> "DataFrame":
    """The rows with columns of the contract read from these texts, and `_malformed`, those that do not parse."""
    from pyspark.sql import functions as F

    compiled = compile_contract(contract)
    text = {name: f"_text_{name}" for name in texts}
    given = rows.select("*", *[meant(message).alias(text[name]) for name, message in texts.items()])
    values = {
        name: typed_value(F.col(text[name]), compiled.spark_schema[name].dataType, compiled.decimal_marks.get(name))
        for name in texts
    }
    typed = given.select("*", *[value.alias(name) for name, value in values.items()])
    bad = {name: F.col(text[name]).isNotNull() & F.col(name).isNull() for name in texts}
    return typed.select(*rows.columns, *texts, _names(bad).alias(MALFORMED))


def _names(bad: "Mapping[str, Column]") -> "Column":
    """The names of those that are bad. Nearly no row has any: only then they are looked for."""
    from pyspark.sql import functions as F

    listed = F.array_compact(F.array(*[F.when(is_bad, F.lit(name)) for name, is_bad in bad.items()]))
    return F.when(reduce(lambda a, b: a | b, bad.values()), listed).otherwise(F.array().cast("array<string>"))


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


def typed_value(text: "Column", kind: "T.DataType", decimal_mark: Mark = None) -> "Column":
    """The value of a text that is `meant`; NULL where it is malformed."""
    import pyspark.sql.types as T
    from pyspark.sql import functions as F

    name = kind.simpleString()
    match kind:
        case T.StringType():
            return text
        case T.BooleanType():
            low = F.lower(text)
            return F.when(low.isin("true", "1"), F.lit(True)).when(low.isin("false", "0"), F.lit(False))
        case T.DecimalType():
            return _decimal(text, kind.scale, decimal_mark).try_cast(kind)
        case T.IntegralType():
            return _whole(text, decimal_mark).try_cast(kind)
        case T.FloatType() | T.DoubleType():
            number = F.when(text.rlike(_PATTERNS[name]), text).try_cast(kind)
            return F.when(F.abs(number) < F.lit(float("inf")), number)
        case _:
            return F.when(text.rlike(_PATTERNS[name]), F.left(text, F.lit(_KEPT[name]))).try_cast(kind)


def _whole(text: "Column", mark: Mark) -> "Column":
    """A whole number as digits alone, written with or without decimals that are zeros."""
    from pyspark.sql import functions as F

    zeros = text.rlike(r"^[+-]?\d+[.,]0+$")
    declared = text.contains(mark) if mark else F.lit(False)
    return (
        F.when(text.rlike(r"^[+-]?\d+$"), text)
        .when(zeros & (declared | ~text.rlike(_TWO_READINGS)), F.regexp_replace(text, "[.,]0+$", ""))
        .when(text.rlike(_SCIENTIFIC), _exact(text, 0).try_cast("decimal(38,0)").cast("string"))
    )


def _exact(text: "Column", scale: int) -> "Column":
    """A number with an exponent, where it has no digit but zeros beyond the scale; else NULL."""
    from pyspark.sql import functions as F

    fraction = F.regexp_extract(text, r"\.(\d*)[eE]", 1)
    digits = F.regexp_replace(F.regexp_extract(text, r"^[+-]?([\d.]+)", 1), r"\.", "")
    exponent = F.regexp_extract(text, r"[eE](.+)$", 1).try_cast("int")
    zeros = F.length(digits) - F.length(F.rtrim(digits, F.lit("0")))
    return F.when((zeros == F.length(digits)) | (exponent - F.length(fraction) + zeros >= -scale), text)


def _decimal(text: "Column", scale: int, mark: Mark) -> "Column":
    """A decimal in a form that has one reading, as digits with a point, or with an exponent.

    It is written with point or comma, with or without groups of three. A declared mark decides what has two readings.
    """
    from pyspark.sql import functions as F

    two = text.rlike(_TWO_READINGS)

    def is_read(point: str, group: str, declared: bool) -> "Column":
        """Whether the text has decimals after `point`, or no decimals and groups told apart by `group`."""
        decimals = rf"{point}(?=\d)\d{{0,{scale}}}0*"
        grouped = rf"[1-9]\d{{0,2}}({group}\d{{3}})"
        form = text.rlike(rf"^[+-]?(\d*{decimals}|{grouped}+{decimals}|{grouped}{{{1 if declared else 2},}})$")
        return form if declared else form & ~two

    return (
        F.when(text.rlike(r"^[+-]?\d+$"), text)
        .when(is_read(r"\.", ",", mark == "."), F.translate(text, ",", ""))
        .when(is_read(",", r"\.", mark == ","), F.translate(text, ",.", "."))
        .when(text.rlike(_SCIENTIFIC), _exact(text, scale))
    )
