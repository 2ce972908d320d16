"""JSON in a column, against Python's own reader: the same objects are taken, with the same digits."""

import json
import re
from typing import TYPE_CHECKING, Any

import pyspark.sql.types as T
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from lakehouse_assets import defs as domains
from lakehouse_assets.platform.common.json_text import MARK, document, json_fields, json_objects
from lakehouse_assets.platform.contracts.compiled import DOCUMENT
from lakehouse_assets.platform.declare.discovery import discover

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class Number(str):
    """A number as its digits."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


def _constant(name: str) -> Any:
    raise ValueError(name)


READ = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=_constant, object_pairs_hook=_object)


def compact(value: Any, quoted: bool = False) -> str:
    """JSON as Spark writes a nested value, numbers as they came, or as texts."""
    match value:
        case Number():
            return json.dumps(value) if quoted else str(value)
        case dict():
            return "{" + ",".join(f"{compact(key)}:{compact(one, quoted)}" for key, one in value.items()) + "}"
        case list():
            return "[" + ",".join(compact(one, quoted) for one in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def has_mark(value: dict[str, Any]) -> bool:
    """Whether the mark is in a value of an object: in a text of it, or in a name below."""
    return any(MARK in compact(one) for one in value.values())


def fields(value: Any, quoted: bool) -> Any:
    """The fields of an object as text."""
    if not isinstance(value, dict):
        return None
    return {k: v if v is None else str(v) if isinstance(v, str) else compact(v, quoted) for k, v in value.items()}


def model(text: str) -> Any:
    """(fields, objects) as they should be read."""
    try:
        value = READ.decode(text.removeprefix("\ufeff"))
    except ValueError:
        return None, None
    those = value if isinstance(value, list) else []
    quoted = any(has_mark(one) for one in those if isinstance(one, dict))
    objects = [fields(one, quoted) for one in those] if isinstance(value, list) else None
    of_one = fields(value, isinstance(value, dict) and has_mark(value))
    return of_one, None if objects is None or None in objects else objects


numbers = st.one_of(
    st.integers().map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=9).map(lambda d: f"{d:f}"),
    st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?", fullmatch=True),
).map(Number)
words = st.text(st.sampled_from('ab "\\/-1.5eE{}[]:,\n\té\ue000'), max_size=8)
values = st.recursive(
    numbers | words | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(words, values, max_size=4)
whole = (objects | st.lists(objects, max_size=3) | values).map(compact)
blanks = st.sampled_from(["", " ", "\n"])
spoiled = st.tuples(
    st.sampled_from(["", "\ufeff", "x", "\ufeff\ufeff"]), blanks, whole, blanks,
    st.sampled_from(["", "", "xyz", "}", "]", ",", '{"a": 1}', ", {}", '] xyz', "\ufeff", '"'])
).map("".join)  # fmt: skip
doubled = st.tuples(words, values, values).map(
    lambda t: (
        f'{{{json.dumps(t[0])}: {compact(t[1])}, "x": [{{"k": 1, {json.dumps(t[0])}: {compact(t[2])}}}], '
        f"{json.dumps(t[0])}: {compact(t[2])}}}"
    )
)
SEEN = [
    '{"a": 1, "a": 2}', '{"n": {"a": 1, "a": 1}}', '{"a": 1} xyz', '\ufeff{"a": 1}', '{"a": 1}{"a": 2}',
    '{"a": 1}, {"a": 2}', '{"a": 1.23456785E7, "b": 1.10, "c": 12345678901234567890.123456789, "d": [2.0, {"e": -0.5}]}',  # noqa: E501
    "", "1", "null", "NaN", '{"a": 01}', "{'a': 1}", '{"a": NaN}', "[]", "[{}]", '[{"a": 2.0}, null]', '[{"a": 2.}]',
    '{"a": "\ue0001.50", "b": 1.50, "c": [1.50, {"d": "\ue000"}]}', '{"a": "\\uE0001.50", "b": {"\\ue000c": 2.0}}',
    '{"a": "\\\\ue000", "b": [1.50]}', '[{"a": "\ue0002.0", "b": [2.0]}, {"b": [2.0]}]',
    '{"\ue000a": 1.50, "b": [1.50]}',
    '[{"a": 2.0}, 5]', '[{"a": 2.0}] xyz', json.dumps({"a": "\\" * 20_000 + '"1.5"' * 20_000}),
]  # fmt: skip


@settings(
    max_examples=4, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
@example(SEEN)
@given(st.lists(spoiled | whole | doubled, min_size=20, max_size=100))
def test_json_is_read_as_python_reads_it(spark: "SparkSession", texts: list[str]) -> None:
    frame = spark.createDataFrame(list(enumerate(texts)), "id int, text string")
    read = frame.select("*", document(frame["text"]).alias("body"))
    found = read.select("id", json_fields(read["body"]).alias("f"), json_objects(read["body"]).alias("o")).orderBy("id")
    assert isinstance(found.schema["f"].dataType, T.MapType)
    assert [(row["f"], row["o"]) for row in found.collect()] == [model(text) for text in texts]


HALVES = [
    '{"\\ud800": 1, "a": 2}', '{"a": "x\\udc00y"}', '{"n": {"\\ud83d": 1.50}, "a": 1}', '{"\\udc00\\ud83d": 1}',
]  # fmt: skip


def test_half_a_surrogate_in_a_key_or_a_text_stops_no_other_document(spark: "SparkSession") -> None:
    """Which no UTF-8 can hold: it is replaced, stays an escape where it is nested, or the document has no fields."""
    texts = ['{"\\ud83d\\ude00": 1.50}', *HALVES, '{"a": 1.50}']
    frame = spark.createDataFrame(list(enumerate(texts)), "id int, text string")
    found = frame.select("id", json_fields(document(frame["text"])).alias("f")).orderBy("id").collect()
    assert (found[0]["f"], found[-1]["f"]) == ({"\U0001f600": "1.50"}, {"a": "1.50"})
    for text, row in zip(HALVES, found[1:-1], strict=True):
        fields_of, _ = model(re.sub(r"\\u(d[89a-f]..)", "\ue001", text))
        readings = [
            {key.replace("\ue001", mark): value.replace("\ue001", mark) for key, value in fields_of.items()}
            for mark in ("?", "\ufffd")
        ]
        escaped = {
            key: value.replace("\ue001", r"\u" + text.split(r"\u")[1][:4].upper()) for key, value in fields_of.items()
        }
        assert row["f"] in (None, *readings, escaped), text


def test_a_number_of_a_document_has_one_reading() -> None:
    """`1.000` is 1: JSON has no mark of thousands, so columns that are read from it say that a point is none."""
    declared = [table.compiled for table in discover(domains).tables]
    read = {one.name: one for one in declared if f"{DOCUMENT}:parses" in {rule.name for rule in one.rules}}
    assert {"Order", "OrderLine"} <= read.keys()
    for name, contract in read.items():
        fields = [field for field in contract.spark_schema if field.name in contract.source_columns]
        numbers = {field.name for field in fields if isinstance(field.dataType, T.IntegralType | T.DecimalType)}
        assert numbers <= {column for column, mark in contract.decimal_marks.items() if mark == "."}, name
