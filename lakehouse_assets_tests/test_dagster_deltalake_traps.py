"""What dagster-deltalake 0.29.27 does to a daily table, and the same days through our I/O manager.

Tests named `dagster_deltalake_…` assert its wrong outcomes on purpose. When one fails, a release has mended that case:
drop the test, and with the last of them a reason why this project writes its tables itself.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyspark.sql.types as T
import pytest
from dagster_deltalake import DeltaLakePyarrowIOManager, LocalConfig
from deltalake import DeltaTable, QueryBuilder
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse_assets.platform.contracts.contract import Contract, column, landed_contract
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.domain import Domain
from lakehouse_assets.platform.declare.source_files import EventFiles
from lakehouse_assets.platform.declare.table import ReplaceDays, Table, TableKey, day
from lakehouse_assets.platform.ingest.landing import land
from lakehouse_assets.platform.orchestration.assets import IO_MANAGER_KEY, asset_key, build_assets
from lakehouse_assets.platform.orchestration.io_manager import delta_io_manager
from lakehouse_assets.platform.orchestration.spark_resource import SparkConnectResource
from lakehouse_assets.settings import Settings, settings

pytestmark = pytest.mark.slow

FIRST, SECOND, THIRD, FOURTH = DAYS = tuple(date(2023, 1, n) for n in (1, 2, 3, 4))

Feed = Mapping[date, list[int]]
FEED: Feed = {FIRST: [10, 11], SECOND: [20, 21], THIRD: [30, 31], FOURTH: [40, 41]}
"""Ids of the orders of each day."""
CORRECTED: Feed = {FIRST: [12], SECOND: [22], THIRD: [32], FOURTH: [42]}
"""The same days, delivered anew."""


def stored(folder: Path) -> dict[date, list[int]]:
    """Ids per day of a Delta table with columns `feed_day` and `id`."""
    query = QueryBuilder().register("t", DeltaTable(str(folder)))
    statement = "SELECT CAST(feed_day AS VARCHAR) AS day, CAST(id AS BIGINT) AS id FROM t ORDER BY day, id"
    found: dict[date, list[int]] = {}
    for row in pa.table(query.execute(statement)).to_pylist():
        one = date.fromisoformat(row["day"][:10])  # 2023-01-01, 20230101 or 2023-01-01T00:00:00
        found.setdefault(one, []).append(row["id"])
    return found


def of(feed: Feed, *days: date) -> dict[date, list[int]]:
    """What a table holds when it was made of these days of a feed."""
    return {one: feed[one] for one in days}


def days_to_make(first: date, last: date | None) -> dict[str, Any]:
    """The arguments of `dg.materialize` for one day, or for a range of days in a single run."""
    if last is None:
        return {"partition_key": str(first)}
    return {"tags": {"dagster/asset_partition_range_start": str(first), "dagster/asset_partition_range_end": str(last)}}


@dataclass(frozen=True)
class DayType:
    """How a table stores its day: an Arrow type, and a day as its value."""

    arrow: pa.DataType
    value: Any


DATE = DayType(pa.date32(), lambda one: one)
TIMESTAMP = DayType(pa.timestamp("us", tz="UTC"), lambda one: datetime(one.year, one.month, one.day, tzinfo=UTC))
STRING = DayType(pa.string(), str)
INTEGER = DayType(pa.int32(), lambda one: int(one.strftime("%Y%m%d")))
TIMESTAMP_NTZ = DayType(pa.timestamp("us"), lambda one: datetime(one.year, one.month, one.day))


class DagsterDeltalake:
    """A daily table of orders, written and read by dagster-deltalake as its documentation says."""

    def __init__(self, folder: Path, kind: DayType) -> None:
        self._folder = folder
        self._kind = kind

    def write(self, first: date, last: date | None = None, feed: Feed = FEED) -> bool:
        """Materialize a day or a range from a feed. Returns whether the run was green."""
        return self._run("orders", feed, [], first, last).success

    def refusal(self, first: date, last: date, feed: Feed = FEED) -> str:
        """Why the run that writes a range failed."""
        (failed,) = self._run("orders", feed, [], first, last).get_step_failure_events()
        return failed.step_failure_data.error_display_string

    def read(self, first: date, last: date | None = None) -> list[int]:
        """The ids that a downstream asset of the same days is given. The run must be green."""
        given: list[int] = []
        assert self._run("report", {}, given, first, last).success
        return sorted(given)

    @property
    def table(self) -> dict[date, list[int]]:
        """Ids per day that the table holds."""
        return stored(self._folder / "shop" / "orders")

    def _run(
        self, name: str, feed: Feed, given: list[int], first: date, last: date | None
    ) -> dg.ExecuteInProcessResult:
        key = dg.AssetKey(["shop", "orders"])
        days = dg.DailyPartitionsDefinition(str(FIRST), timezone="UTC")
        in_one_run = dg.BackfillPolicy.single_run()

        @dg.asset(key=key, partitions_def=days, backfill_policy=in_one_run, metadata={"partition_expr": "feed_day"})
        def orders(context: dg.AssetExecutionContext) -> pa.Table:
            rows = [(d, i) for d in map(date.fromisoformat, context.partition_keys) for i in feed[d]]
            stored_days = pa.array([self._kind.value(d) for d, _ in rows], self._kind.arrow)
            return pa.table({"feed_day": stored_days, "id": pa.array([i for _, i in rows], pa.int64())})

        @dg.asset(ins={"orders": dg.AssetIn(key)}, partitions_def=days, backfill_policy=in_one_run)
        def report(orders: pa.Table) -> None:
            given.extend(orders["id"].to_pylist())

        io_manager = DeltaLakePyarrowIOManager(root_uri=str(self._folder), storage_options=LocalConfig())
        return dg.materialize(
            [orders, report],
            selection=[key if name == "orders" else dg.AssetKey("report")],
            resources={"io_manager": io_manager},
            raise_on_error=False,
            **days_to_make(first, last),
        )


@pytest.mark.parametrize("kind", [DATE, TIMESTAMP], ids=["date", "timestamp"])
def test_dagster_deltalake_keeps_the_other_days_where_the_day_is_a_date(tmp_path: Path, kind: DayType) -> None:
    table = DagsterDeltalake(tmp_path, kind)
    for one in (FIRST, SECOND, THIRD):
        assert table.write(one)
    assert table.table == of(FEED, FIRST, SECOND, THIRD)


@pytest.mark.parametrize("kind", [STRING, INTEGER, TIMESTAMP_NTZ], ids=["string", "integer", "timestamp without zone"])
def test_dagster_deltalake_wipes_the_table_with_each_day_of_another_type(tmp_path: Path, kind: DayType) -> None:
    """The error that its predicate cannot be built is swallowed, and `overwrite` goes on without one."""
    table = DagsterDeltalake(tmp_path, kind)
    for one in (FIRST, SECOND, THIRD):
        assert table.write(one), "the run is green"
        assert table.table == of(FEED, one), "all other days are gone"


def test_dagster_deltalake_reads_one_day_of_a_range(tmp_path: Path) -> None:
    """The filter is `day = first day of the window`; the run is green."""
    table = DagsterDeltalake(tmp_path, DATE)
    for one in DAYS:
        table.write(one)
    assert table.read(SECOND) == FEED[SECOND]
    assert table.read(FIRST, THIRD) == FEED[FIRST]


def test_dagster_deltalake_cannot_write_a_range_again(tmp_path: Path) -> None:
    """The predicate is `day = first day of the window`, which the rows of the other days break."""
    table = DagsterDeltalake(tmp_path, DATE)
    assert table.write(FIRST, THIRD), "the first write makes the table, without a predicate"
    assert "failed validation check" in table.refusal(FIRST, THIRD, CORRECTED)
    assert "failed validation check" in table.refusal(SECOND, FOURTH)
    assert table.table == of(FEED, FIRST, SECOND, THIRD)


def test_dagster_deltalake_wipes_the_days_outside_a_range_of_another_type(tmp_path: Path) -> None:
    table = DagsterDeltalake(tmp_path, STRING)
    assert table.write(FIRST, SECOND)
    assert table.write(THIRD, FOURTH), "the run is green"
    assert table.table == of(FEED, THIRD, FOURTH), "the days before are gone"


def test_dagster_deltalake_keeps_old_rows_of_days_that_a_range_emptied(tmp_path: Path) -> None:
    table = DagsterDeltalake(tmp_path, DATE)
    table.write(FIRST, THIRD)
    assert table.write(FIRST, THIRD, {FIRST: CORRECTED[FIRST], SECOND: [], THIRD: []}), "the run is green"
    assert table.table == of(CORRECTED, FIRST) | of(FEED, SECOND, THIRD), "of the range only the first day is replaced"


class Order(Contract):
    """Orders of a shop."""

    order_date: T.DateType = column("day on which the source delivered the order", source=True)
    id: T.LongType = column("order", source=True)


class DailyOrder(Contract):
    """Orders of a shop, by the day they were delivered."""

    feed_day: T.DateType = column("day on which the source delivered the order")
    id: T.LongType = column("order")


def _typed(landed: DataFrame) -> DataFrame:
    return landed.select("feed_day", F.col("id").cast("bigint").alias("id"))


# The source writes its day as text, as in the case that is wiped above; the table's own day is a date all the same.
LANDED = Domain("shop", first_day=date(2000, 1, 1)).bronze(
    landed_contract("LandedOrder", Order),
    EventFiles(Order.compiled().source_columns, day_column="order_date"),
    name="orders",
)
TYPED = Table(
    key=TableKey("shop", "silver", "orders"),
    contract=DailyOrder,
    function=_typed,
    reads={"landed": day(LANDED)},
    write=ReplaceDays(),
    reconciles="landed",
)
CATALOG = Catalog((LANDED, TYPED))


@dataclass
class Ours:
    """The same table of orders as a declared one: `LANDED` is made of delivered files, `TYPED` reads `LANDED`."""

    here: Settings
    inbox: Path

    def deliver(self, feed: Feed) -> None:
        """Land one file per day, in place of what was landed of the day before."""
        for one, ids in feed.items():
            file = self.inbox / f"{one}.csv"
            file.write_text("\n".join(["order_date,id", *[f"{one},{i}" for i in ids], ""]))
            assert LANDED.source is not None
            land(self.here.landing, "shop/orders", LANDED.source, file, day=one, replace=True, today=FOURTH)

    def make(self, table: Table, first: date, last: date | None = None) -> None:
        """Materialize a day or a range of a table. The run must be green."""
        assert dg.materialize(
            build_assets(CATALOG, {"shop": FIRST}),
            selection=[asset_key(table.key)],
            resources={"spark": SparkConnectResource(), IO_MANAGER_KEY: delta_io_manager(CATALOG)},
            **days_to_make(first, last),
        ).success

    def table(self, table: Table) -> dict[date, list[int]]:
        """Ids per day that a table holds."""
        return stored(self.here.lake.joinpath(*table.key.parts))


@pytest.fixture
def ours(spark_home: Settings, tmp_path: Path) -> Iterator[Ours]:
    """A lake of the test's own on the shared server, with every day of `FEED` delivered."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAKEHOUSE_ROOT", str(tmp_path))
        settings.cache_clear()
        shop = Ours(settings(), inbox)
        shop.deliver(FEED)
        yield shop
    settings.cache_clear()


def test_a_day_leaves_the_other_days_alone_in_any_order(ours: Ours) -> None:
    made: list[date] = []
    for one in (SECOND, FIRST, FOURTH):
        ours.make(LANDED, one)
        made.append(one)
        assert ours.table(LANDED) == of(FEED, *made)
    schema = DeltaTable(str(ours.here.lake / "shop" / "bronze" / "orders")).schema()
    types = {field.name: getattr(field.type, "type", None) for field in schema.fields}
    assert (types["order_date"], types["feed_day"]) == ("string", "date")


def test_a_range_is_written_whole_and_leaves_the_days_outside_alone(ours: Ours) -> None:
    ours.make(LANDED, FOURTH)
    ours.make(LANDED, FIRST, THIRD)
    assert ours.table(LANDED) == FEED
    ours.deliver(CORRECTED)
    ours.make(LANDED, SECOND, FOURTH)
    assert ours.table(LANDED) == of(FEED, FIRST) | of(CORRECTED, SECOND, THIRD, FOURTH)


def test_a_range_reads_every_day_of_it_and_no_other(ours: Ours) -> None:
    ours.make(LANDED, FIRST, FOURTH)
    ours.make(TYPED, FIRST, THIRD)
    assert ours.table(TYPED) == of(FEED, FIRST, SECOND, THIRD)


def test_a_day_without_rows_is_emptied_and_no_other(ours: Ours) -> None:
    ours.make(LANDED, FIRST, FOURTH)
    ours.deliver({THIRD: []})
    ours.make(LANDED, THIRD)
    assert ours.table(LANDED) == of(FEED, FIRST, SECOND, FOURTH)
    ours.deliver({FIRST: CORRECTED[FIRST], SECOND: []})
    ours.make(LANDED, FIRST, THIRD)
    assert ours.table(LANDED) == of(CORRECTED, FIRST) | of(FEED, FOURTH)


def test_a_range_and_a_day_of_it_made_again_change_nothing(ours: Ours) -> None:
    for first, last in ((FIRST, THIRD), (FIRST, THIRD), (SECOND, None)):
        ours.make(LANDED, first, last)
        assert ours.table(LANDED) == of(FEED, FIRST, SECOND, THIRD)
