"""Statistics of files in the log: no row is hidden by them, from any reader, whatever its value is."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, QueryBuilder, Schema
from deltalake.transaction import AddAction, create_table_with_add_actions
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse_assets.platform.storage.data_files import read_footer
from lakehouse_assets.platform.storage.file_statistics import GREATEST, TEXT_LENGTH, statistics

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MOMENTS = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30))
VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int8(): st.integers(-(2**7), 2**7 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.date32(): st.dates(),
    pa.timestamp("us"): MOMENTS,
    pa.timestamp("us", tz="UTC"): MOMENTS.map(lambda moment: moment.replace(tzinfo=UTC)),
    pa.string(): st.text(max_size=TEXT_LENGTH + 8),
    pa.float64(): st.floats(),
    pa.bool_(): st.booleans(),
    pa.decimal128(38, 6): st.decimals(allow_nan=False, allow_infinity=False, places=6, max_value=10**30),
    pa.binary(): st.binary(max_size=4),
}


def bounds(kind: pa.DataType, values: list[Any], folder: Path) -> tuple[Any, Any]:
    file = folder / "file.parquet"
    pq.write_table(pa.table({"v": pa.array(values, kind)}), file, row_group_size=3)
    found = json.loads(statistics(read_footer(file), ["v"]))
    assert found["numRecords"] == len(values)
    assert found["nullCount"].get("v", values.count(None)) == values.count(None)
    return found["minValues"].get("v"), found["maxValues"].get("v")


def read_back(kind: pa.DataType, bound: Any) -> Any:
    """A bound as Delta's readers take it."""
    if pa.types.is_date(kind):
        return date.fromisoformat(bound)
    return datetime.fromisoformat(bound) if pa.types.is_timestamp(kind) else bound


@pytest.mark.parametrize("kind", VALUES, ids=str)
@settings(deadline=None)
@given(data=st.data())
def test_no_value_lies_beyond_the_bounds(
    kind: pa.DataType, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    values = data.draw(st.lists(st.none() | VALUES[kind], min_size=1, max_size=9))
    low, high = bounds(kind, values, tmp_path_factory.getbasetemp())
    known = [value for value in values if value is not None]
    assert low is None or all(read_back(kind, low) <= value for value in known)
    assert high is None or all(read_back(kind, high) >= value for value in known)
    if not known:
        assert (low, high) == (None, None)


@pytest.mark.parametrize(
    ("kind", "value", "high"),
    [
        (pa.timestamp("us"), datetime(2023, 1, 1, 0, 0, 0, 1), "2023-01-01T00:00:00.001"),
        (pa.timestamp("us", tz="UTC"), datetime(2023, 1, 1, 0, 0, 0, 999_999, UTC), "2023-01-01T00:00:01.000Z"),
        (pa.timestamp("us"), datetime(9999, 12, 31, 23, 59, 59, 999_999), None),
        (pa.string(), "a" * TEXT_LENGTH + "b", "a" * TEXT_LENGTH + GREATEST),
        (pa.string(), "a" * TEXT_LENGTH + GREATEST, None),
        (pa.float64(), float("nan"), None),
        (pa.decimal128(38, 6), Decimal("1.5"), None),
    ],
)
def test_a_maximum_is_never_below_a_value(kind: pa.DataType, value: Any, high: str | None, tmp_path: Path) -> None:
    assert bounds(kind, [value], tmp_path)[1] == high


NASTY = {
    pa.int64(): [-(2**63), 0, 2**63 - 1],
    pa.date32(): [date(1, 1, 1), date(2023, 1, 1), date(9999, 12, 31)],
    pa.timestamp("us"): [
        datetime(1970, 1, 1, 0, 0, 0, 1),
        datetime(2023, 1, 1, 0, 0, 0, 999_999),
        datetime(2023, 1, 1),
    ],
    pa.timestamp("us", tz="UTC"): [datetime(2023, 1, 1, 0, 0, 0, n, UTC) for n in (1, 1_001, 999_999)],
    pa.string(): ["", "ç" * (TEXT_LENGTH + 1), "z" * TEXT_LENGTH + GREATEST],
}


@pytest.mark.slow
def test_every_row_is_found_by_every_reader(spark: "SparkSession", tmp_path: Path) -> None:
    """A file a value, each looked for by itself: a reader that skips its file loses the row."""
    for number, (kind, values) in enumerate(NASTY.items()):
        path = tmp_path / str(number)
        path.mkdir()
        adds = []
        for place, value in enumerate(values):
            file = path / f"{place}.parquet"
            pq.write_table(pa.table({"v": pa.array([value], kind)}), file, store_schema=False)
            text = statistics(read_footer(file), ["v"])
            adds.append(AddAction(file.name, file.stat().st_size, {}, 0, True, text))
        create_table_with_add_actions(str(path), Schema.from_arrow(pa.schema([("v", kind)])), adds)
        table = DeltaTable(str(path))
        stored = spark.read.format("delta").load(str(path))
        for value in values:
            found = stored.where(_spark_literal(kind, value)).count()
            query = f"SELECT * FROM t WHERE v = {_sql(kind, value)}"  # noqa: S608  (the test's own values)
            asked = QueryBuilder().register("t", table).execute(query).read_all()
            assert (found, pa.table(asked).num_rows) == (1, 1), (value, kind)


def _sql(kind: pa.DataType, value: Any) -> str:
    if pa.types.is_string(kind):
        return f"'{value}'"
    if pa.types.is_date(kind):
        return f"DATE '{value.isoformat()}'"
    if pa.types.is_timestamp(kind):
        zone = 'Some("UTC")' if kind.tz else "None"
        return f"arrow_cast('{value.isoformat()}', 'Timestamp(Microsecond, {zone})')"
    return str(value)


def _spark_literal(kind: pa.DataType, value: Any) -> Any:
    from pyspark.sql import functions as F

    if pa.types.is_timestamp(kind):
        name = "timestamp" if kind.tz else "timestamp_ntz"
        return F.col("v") == F.lit(value.replace(tzinfo=None).isoformat(sep=" ")).cast(name)
    return F.col("v") == F.lit(value)


def test_days_that_python_has_not_have_no_bounds(tmp_path: Path) -> None:
    """Spark knows years beyond 9999; a file with such a day is always read."""
    days = pa.array([19_000, 3_000_000], pa.int32()).cast(pa.date32())
    pq.write_table(pa.table({"due": days, "n": [1, 2]}), tmp_path / "f.parquet")
    found = json.loads(statistics(pq.read_metadata(tmp_path / "f.parquet"), ["due", "n"]))
    assert (found["minValues"], found["maxValues"]) == ({"n": 1}, {"n": 2})
