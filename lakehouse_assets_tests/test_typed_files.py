"""Typed files keep their values: whatever Arrow type a column of Parquet has, its values are read as they were."""

import io
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyspark.sql.types as T
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lakehouse_assets.platform.contracts.casting import parse
from lakehouse_assets.platform.contracts.contract import Contract, column
from lakehouse_assets.platform.ingest.file_readers import LandingError, read_rows
from lakehouse_assets_tests.test_parse import landed

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SAO_PAULO = "America/Sao_Paulo"


class Typed(Contract):
    """A column of every type that a typed file can fill; decimals of every declaration."""

    whole: T.LongType = column("whole", source=True, nullable=True)
    money: T.DecimalType(24, 6) = column("money", source=True, nullable=True)
    comma: T.DecimalType(24, 6) = column("money", source=True, nullable=True, decimal_mark=",")
    point: T.DecimalType(24, 6) = column("money", source=True, nullable=True, decimal_mark=".")
    ratio: T.DoubleType = column("ratio", source=True, nullable=True)
    day: T.DateType = column("day", source=True, nullable=True)
    at: T.TimestampNTZType = column("at", source=True, nullable=True)
    flag: T.BooleanType = column("flag", source=True, nullable=True)
    name: T.StringType = column("name", source=True, nullable=True)


@dataclass(frozen=True)
class Kind:
    """How a file may hold the values of a column: Arrow's type, and what is put into it for a value."""

    type: pa.DataType
    stored: Callable[[Any], Any] = lambda value: value
    dictionary: bool = False


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)


def _instant(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC)


STAMPS = [(unit, tz) for unit in ("s", "ms", "us", "ns") for tz in (None, "UTC", SAO_PAULO)]
DECIMALS = [
    *[Kind(pa.decimal128(30, scale)) for scale in (6, 9)],
    Kind(pa.decimal256(60, 20)),
    Kind(pa.float64(), float),
]
KINDS: dict[str, list[Kind]] = {
    "whole": [
        *[Kind(kind) for kind in (pa.int32(), pa.int64(), pa.uint64(), pa.decimal128(38, 0), pa.decimal128(38, 3))],
        Kind(pa.float64(), float),
        Kind(pa.int64(), dictionary=True),
    ],
    **dict.fromkeys(("money", "comma", "point"), DECIMALS),
    "ratio": [Kind(pa.float64()), Kind(pa.float64(), dictionary=True)],
    "day": [Kind(pa.date32()), Kind(pa.date64()), *[Kind(pa.timestamp(unit, tz), _midnight if tz is None else
            lambda day: _instant(_midnight(day))) for unit, tz in STAMPS]],
    "at": [Kind(pa.timestamp(unit, tz), _instant if tz else lambda at: at) for unit, tz in STAMPS if unit[0] in "un"],
    "flag": [Kind(pa.bool_())],
    "name": [Kind(pa.string()), Kind(pa.large_string()), Kind(pa.string_view()), Kind(pa.string(), dictionary=True),
             Kind(pa.binary(), str.encode)],
}  # fmt: skip
thousandths = st.integers(-(10**6), 10**6).map(lambda n: Decimal(n) / 1000)  # 1.234 and its like
VALUES = {
    "whole": st.integers(-(2**31), 2**31 - 1),
    **dict.fromkeys(
        ("money", "comma", "point"),
        thousandths | st.decimals(Decimal(-(10**8)), Decimal(10**8), places=4, allow_nan=False),
    ),
    "ratio": st.floats(allow_nan=False, allow_infinity=False),
    "day": st.dates(date(1678, 1, 1), date(2261, 12, 31)),
    "at": st.datetimes(datetime(1678, 1, 1), datetime(2261, 12, 31)),
    "flag": st.booleans(),
    "name": st.text(
        st.characters(min_codepoint=33, max_codepoint=0x2000, exclude_categories=("Cs", "Z", "C")), min_size=1
    ),
}
Table = tuple[dict[str, Kind], list[dict[str, Any]]]


def rows_of(kinds: dict[str, Kind]) -> st.SearchStrategy[Table]:
    """Rows whose values the types of their columns can hold: a column without a sign has no number below 0."""
    unsigned = {"whole": st.integers(0, 2**31 - 1)} if pa.types.is_uint64(kinds["whole"].type) else {}
    row = st.fixed_dictionaries({name: st.none() | values for name, values in {**VALUES, **unsigned}.items()})
    return st.tuples(st.just(kinds), st.lists(row, min_size=1, max_size=80))


tables = st.fixed_dictionaries({name: st.sampled_from(kinds) for name, kinds in KINDS.items()}).flatmap(rows_of)
SEEN: Table = (
    {name: kinds[-1] for name, kinds in KINDS.items()},  # nanoseconds, in a zone
    [{"whole": 3, "money": Decimal("1.234"), "comma": Decimal("1.234"), "point": Decimal("50"), "ratio": 1e-7,
      "day": date(2023, 1, 31), "at": datetime(2023, 1, 31, 23, 59, 59, 123456), "flag": True, "name": "José"}],
)  # fmt: skip


def file_of(table: pa.Table) -> bytes:
    written = io.BytesIO()
    pq.write_table(table, written)
    return written.getvalue()


def array_of(kind: Kind, values: list[Any]) -> pa.Array:
    array = pa.array([None if value is None else kind.stored(value) for value in values], kind.type)
    return array.dictionary_encode() if kind.dictionary else array


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@example(SEEN)
@given(tables)
def test_a_typed_value_is_read_as_it_was(spark: "SparkSession", table: Table) -> None:
    kinds, rows = table
    arrow = pa.table({name: array_of(kind, [row[name] for row in rows]) for name, kind in kinds.items()})
    texts = read_rows("f.parquet", "parquet", file_of(arrow), list(kinds)).to_pylist()
    parsed = parse(landed(spark, Typed, texts), Typed).orderBy("row_number").select(*kinds, "_malformed").collect()
    seen = [row.asDict() for row in parsed]
    null_words = ("null", "NULL", "None", "NaN", "N/A")
    expected = [{**row, "name": None if row["name"] in null_words else row["name"], "_malformed": []} for row in rows]
    assert seen == expected


def test_a_file_of_pandas_is_read_whole(spark: "SparkSession") -> None:
    """Days as midnight in nanoseconds, instants, gaps that make whole numbers floats, labels of filtered rows."""
    frame = pd.DataFrame(
        {
            "whole": [1.0, None, 3.0],
            "money": [19.99, 0.1, 1.234],
            "comma": [None, 1.5, 1e-6],
            "point": [1e7, 1.23456785e7, -2.5],
            "ratio": [0.1, float("nan"), 1e300],
            "day": pd.to_datetime(["2023-01-01", "2023-01-02", None]),
            "at": pd.to_datetime(["2023-01-01 10:00", "2023-01-02 23:30", None]).tz_localize(SAO_PAULO),
            "flag": [True, False, True],
            "name": pd.Categorical(["a", "b", "a"]),
        }
    ).iloc[[0, 2, 1]]
    written = io.BytesIO()
    frame.to_parquet(written)
    texts = read_rows("f.parquet", "parquet", written.getvalue(), list(KINDS)).to_pylist()
    rows = parse(landed(spark, Typed, texts), Typed).orderBy("row_number").select(*KINDS, "_malformed").collect()
    d = Decimal
    assert [tuple(row) for row in rows] == [
        (1, d("19.99"), None, d("10000000"), 0.1, date(2023, 1, 1), datetime(2023, 1, 1, 13), True, "a", []),
        (3, d("1.234"), d("0.000001"), d("-2.5"), 1e300, None, None, True, "a", []),
        (None, d("0.1"), d("1.5"), d("12345678.5"), None, date(2023, 1, 2), datetime(2023, 1, 3, 2, 30), False, "b", [])
    ]  # fmt: skip


def test_what_a_type_holds_beyond_the_contracts_is_malformed_and_not_rounded(spark: "SparkSession") -> None:
    at = pa.array([1_675_209_599_123_456_789], pa.timestamp("ns"))
    columns = {"at": at, "day": at, "whole": pa.array([2.5]), "money": pa.array([Decimal("0.1234567")])}
    table = pa.table({name: columns.get(name, pa.nulls(1)) for name in KINDS})
    texts = read_rows("f.parquet", "parquet", file_of(table), list(KINDS)).to_pylist()
    (row,) = parse(landed(spark, Typed, texts), Typed).collect()
    assert sorted(row["_malformed"]) == sorted(columns)
    assert all(row[name] is None for name in KINDS)


def test_old_timestamps_of_any_year_and_nested_values_keep_what_they_say() -> None:
    times = [datetime(9999, 12, 31), datetime(2023, 1, 1, 1, 1, 1, 5), datetime(1, 1, 1)]
    written = io.BytesIO()
    pq.write_table(pa.table({"t": pa.array(times, pa.timestamp("us"))}), written, use_deprecated_int96_timestamps=True)
    found = read_rows("f", "parquet", written.getvalue(), ["t"])["t"].to_pylist()
    assert found == [str(time) for time in times]
    struct = pa.struct([("x", pa.list_(pa.timestamp("ms", SAO_PAULO))), ("b", pa.binary())])
    at = datetime(2023, 1, 1, 3, tzinfo=UTC)
    nested = {
        "map": pa.array([[("a", Decimal("1.10"))], None, []], pa.map_(pa.string(), pa.decimal128(9, 2))),
        "struct": pa.array([{"x": [at], "b": b"k"}, None, {"x": None, "b": None}], struct),
        "pair": pa.array([[0.1, float("nan")], None, [3, 4]], pa.list_(pa.float64(), 2)),
        "id": pa.array([uuid.UUID(int=n).bytes for n in range(3)], pa.uuid()),
    }
    rows = read_rows("f", "parquet", file_of(pa.table(nested)), list(nested)).to_pylist()
    assert [json.loads(row["pair"] or "0") for row in rows] == [[0.1, None], 0, [3, 4]]
    assert [row["map"] for row in rows] == ['{"a":1.10}', None, "{}"]
    assert [row["struct"] for row in rows] == ['{"x":["2023-01-01 03:00:00"],"b":"k"}', None, '{"x":null,"b":null}']
    assert rows[2]["id"] == "00000000-0000-0000-0000-000000000002"


@pytest.mark.parametrize(
    "array", [pa.array([b"\xff"]), pa.array([5], pa.duration("s"))], ids=["binary", "span of time"]
)
def test_a_type_without_a_text_is_refused_by_name(array: pa.Array) -> None:
    with pytest.raises(LandingError, match=r"column 'c' of type (binary|duration\[s\]) cannot be written as text"):
        read_rows("f", "parquet", file_of(pa.table({"c": array})), ["c"])
