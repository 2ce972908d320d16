"""Tables with a state against hand-written Delta MERGEs of the same rows, read from the same table, in one session.

The hand-written ones do the least that can be done: no rule is evaluated, nothing is kept of the changes, no day can
be taken back, deletes are not looked for. The bar is on our whole step, with all that; `commit` is the part of it that
the MERGE stands for.
"""

import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import pyspark.sql.types as T
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bench.harness import Bar, Result, Size, best, seconds
from bench.lab import spark_session
from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.contracts.base_contracts import CurrentState, SnapshotHistory
from lakehouse_assets.platform.contracts.contract import Contract, column, table_metadata
from lakehouse_assets.platform.contracts.rules import Action
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.scd import BUCKETS, Scd, scd1, scd2_from_snapshots
from lakehouse_assets.platform.declare.table import ReplaceDays, Table, TableKey, day
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.scd import scd_table
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata
from lakehouse_assets.platform.storage.delta_table import version_of
from lakehouse_assets.platform.storage.delta_writer import replace_days
from lakehouse_assets.platform.storage.target import Target
from lakehouse_assets.platform.transform.materialize import materialize

DAY = date(2024, 1, 1)


class _Order(Contract):
    id: T.LongType = column("order", source=True)
    op: T.StringType = column("I, U, D", source=True, isin=["I", "U", "D"])
    modified_date: T.TimestampNTZType = column("when", source=True)
    customer: T.LongType = column("customer", source=True)
    amount: Annotated[T.DecimalType, 18, 2] = column("amount", source=True, ge=0)
    status: T.StringType = column("status", source=True)
    note: T.StringType = column("note", source=True, nullable=True)


class Orders(_Order, CurrentState):
    """Orders as they are."""


class OrdersCame(_Order):
    """Changes of orders, as they came."""

    feed_day: T.DateType = column("feed day", action=Action.FAIL)
    version: T.IntegerType = column("landing", action=Action.FAIL)
    record_hash: T.StringType = column("hash of the change", action=Action.FAIL)


class _Customer(Contract):
    id: T.LongType = column("customer", source=True)
    points: T.LongType = column("points", source=True)
    name: T.StringType = column("name", source=True)
    city: T.StringType = column("city", source=True)


class Customers(_Customer, SnapshotHistory):
    """Customers, every version."""

    class Config:
        metadata = table_metadata(key=("id",))


class CustomersCame(_Customer):
    """Customers of a day's snapshot."""

    feed_day: T.DateType = column("feed day", action=Action.FAIL)
    record_hash: T.StringType = column("hash of the row", action=Action.FAIL)


def same(came: DataFrame) -> DataFrame:
    """The rows as they came."""
    return came


def declared(name: str, came: type[Contract], contract: type[Contract], write: Scd) -> tuple[Table, Table]:
    """A source, and the table with a state that is made of it."""
    source = Table(TableKey("bench", "bronze", name), came, same, MappingProxyType({}), ReplaceDays())
    reads = MappingProxyType({"came": day(source)})
    return source, Table(TableKey("bench", "silver", name), contract, same, reads, write, reconciles="came")


def orders(spark: SparkSession, first: int, number: int, day: date, step: int = 1) -> DataFrame:
    """Changes of `number` orders."""
    return spark.range(first, first + number * step, step).select(
        "id",
        F.lit("U").alias("op"),
        F.lit(f"{day} 10:00:00").cast("timestamp_ntz").alias("modified_date"),
        (F.col("id") % 1000).alias("customer"),
        (F.col("id") % 10_000 / 100 + day.day).cast("decimal(18,2)").alias("amount"),
        F.concat(F.lit("status "), F.col("id") % 7).alias("status"),
        F.sha2(F.col("id").cast("string"), 256).alias("note"),
        F.lit(day).alias("feed_day"),
        F.lit(1).alias("version"),
        F.sha2(F.concat_ws("|", "id", F.lit(str(day))), 256).alias("record_hash"),
    )


def customers(spark: SparkSession, number: int, day: date, nth: int) -> DataFrame:
    """A snapshot in which one of a hundred differs from that of the day before."""
    changes = (F.col("id") % 100 <= nth).cast("long")
    return spark.range(number).select(
        "id",
        (F.col("id") % 500 + changes).alias("points"),
        F.concat(F.lit("name "), "id").alias("name"),
        F.concat(F.lit("city "), F.col("id") % 50).alias("city"),
        F.lit(day).alias("feed_day"),
        F.sha2(F.col("id").cast("string"), 256).alias("record_hash"),
    )


class Ours:
    """Our steps, with the time of their commits apart, and the source that both sides read."""

    def __init__(self, spark: SparkSession, folder: Path, source: Table, table: Table) -> None:
        self.catalog = Catalog((source, table))
        self.step = Step(spark, Lake(folder, folder / "landing"), self.catalog, "bench")
        self.source, self.table = source, table
        self.commits: list[float] = []
        self.path = self.step.lake.path(table.key)

    def come(self, frame: DataFrame, of: date) -> DataFrame:
        """A day of the source, stored; what the MERGE by hand reads."""
        key, path = str(self.source.key), self.step.lake.path(self.source.key)
        metadata = CommitMetadata(key, "bench", f"{key} {of}", frozenset([of]), "bench", {})
        target = Target(path, key, self.source.compiled.spark_schema)
        replace_days(frame.repartition(4), target, metadata, version_of(path), DAY_COLUMN, [of])
        return self.step.spark.read.format("delta").load(str(path)).where(F.col(DAY_COLUMN) == F.lit(of))

    def make(self, of: date) -> None:
        """One whole step."""
        commit = scd_table.ScdTable.commit

        def timed(*arguments, **options):  # type: ignore[no-untyped-def]
            began = time.perf_counter()
            try:
                return commit(*arguments, **options)
            finally:
                self.commits.append(time.perf_counter() - began)

        scd_table.ScdTable.commit = timed  # type: ignore[method-assign]
        try:
            outcome = materialize(self.step, self.table, [of])
        finally:
            scd_table.ScdTable.commit = commit  # type: ignore[method-assign]
        assert not outcome.days[0].reasons, outcome.days[0].reasons


def merge_orders(spark: SparkSession, path: Path, frame: DataFrame) -> None:
    """The documented MERGE, with the parts as literals."""
    part = F.pmod(F.xxhash64("id"), F.lit(BUCKETS)).cast("int").alias("bucket")
    more = (F.col("op") == "D").alias("is_deleted"), F.current_date().alias("processed_date"), part
    frame.select("*", *more).createOrReplaceTempView("changes")
    spark.sql(
        f"""
        MERGE INTO delta.`{path}` t USING changes s
        ON t.id = s.id AND t.bucket = s.bucket AND t.bucket IN ({", ".join(map(str, range(BUCKETS)))})
        WHEN MATCHED AND s.modified_date > t.modified_date THEN UPDATE SET *
        WHEN NOT MATCHED THEN INSERT *
        """
    ).collect()


def merge_customers(spark: SparkSession, path: Path, frame: DataFrame, day: date) -> None:
    """The usual recipe: changed rows twice in the source, once to close a version and once to open one."""
    frame.createOrReplaceTempView("snapshot")
    columns = "id, points, name, city, feed_day, record_hash"
    values = ", ".join(f"s.{name}" for name in columns.split(", "))
    spark.sql(
        f"""
        MERGE INTO delta.`{path}` t USING (
            WITH now AS (SELECT * FROM delta.`{path}` WHERE is_current),
            changed AS (
                SELECT s.*, n.id AS old FROM snapshot s LEFT JOIN now n ON s.id = n.id
                WHERE n.id IS NULL OR NOT (n.points <=> s.points AND n.name <=> s.name AND n.city <=> s.city)
            )
            SELECT id AS merge_id, * FROM changed WHERE old IS NOT NULL
            UNION ALL SELECT NULL AS merge_id, * FROM changed
        ) s ON t.id = s.merge_id AND t.is_current
        WHEN MATCHED THEN UPDATE SET is_current = false, effective_to = DATE'{day}'
        WHEN NOT MATCHED THEN INSERT (
            {columns}, is_deleted, processed_date, effective_from, effective_to, is_current
        ) VALUES ({values}, false, current_date(), DATE'{day}', NULL, true)
        """  # noqa: S608
    ).collect()


Side = Callable[[DataFrame, date], None]


def in_turns(size: Size, made: Callable[[date, int], DataFrame], ours: Ours, by_hand: Side) -> dict[str, list[float]]:
    """Seconds of both sides, of a day each in turns; the first day, which warms both up, does not count."""
    took: dict[str, list[float]] = {"by hand": [], "step": []}
    for nth in range(1, size.repeats + 2):
        of = DAY + timedelta(days=nth)
        frame = ours.come(made(of, nth), of)
        took["by hand"].append(seconds(lambda frame=frame, of=of: by_hand(frame, of)))
        took["step"].append(seconds(lambda of=of: ours.make(of)))
    return {name: found[1:] for name, found in took.items()} | {"commit": ours.commits[2:]}


def orders_in_turns(spark: SparkSession, size: Size, folder: Path) -> dict[str, list[float]]:
    """Changes merged into a current state."""
    ours = Ours(spark, folder, *declared("orders", OrdersCame, Orders, scd1(("id",), "modified_date", "op = 'D'")))
    ours.come(orders(spark, 0, size.state_rows, DAY), DAY)
    ours.make(DAY)
    raw = folder / "raw_orders"
    spark.read.format("delta").load(str(ours.path)).repartition("bucket").write.format("delta").partitionBy(
        "bucket"
    ).save(str(raw))
    apart = size.state_rows // size.changes

    def made(of: date, nth: int) -> DataFrame:
        return orders(spark, nth, size.changes, of, step=apart + (nth == 1))

    return in_turns(size, made, ours, lambda frame, _: merge_orders(spark, raw, frame))


def customers_in_turns(spark: SparkSession, size: Size, folder: Path) -> dict[str, list[float]]:
    """Snapshots compared with the versions before."""
    ours = Ours(spark, folder, *declared("customers", CustomersCame, Customers, scd2_from_snapshots(("id",))))
    ours.come(customers(spark, size.snapshot_rows, DAY, 0), DAY)
    ours.make(DAY)
    raw = folder / "raw_customers"
    spark.read.format("delta").load(str(ours.path)).drop("bucket").write.format("delta").save(str(raw))

    def made(of: date, nth: int) -> DataFrame:
        return customers(spark, size.snapshot_rows, of, nth)

    return in_turns(size, made, ours, lambda frame, of: merge_customers(spark, raw, frame, of))


def measure(size: Size, folder: Path) -> Result:
    """Both kinds of table, each against its MERGE."""
    spark = spark_session()
    figures: dict[str, float] = {}
    samples: dict[str, list[float]] = {}
    for name, side in (("scd1", orders_in_turns), ("scd2", customers_in_turns)):
        took = side(spark, size, folder)
        figures |= {f"{name}, {what}, s": best(found) for what, found in took.items()}
        figures |= {
            f"{name}: {what} / by hand": best(took[what]) / best(took["by hand"]) for what in ("commit", "step")
        }
        samples |= {f"{name}, {what}": found for what, found in took.items()}
    return Result(
        "j",
        f"scd1: {size.changes} changes into {size.state_rows} rows; "
        f"scd2: a snapshot of {size.snapshot_rows} rows, 1 % or so of them changed",
        figures,
        (Bar("scd1: step / by hand", 1.1), Bar("scd2: step / by hand", 1.2)),
        samples,
    )
