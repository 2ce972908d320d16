"""Tables with a state against hand-written Delta MERGEs of the same data in the same session. Prints ratios.

Run: python bench/history.py [rows of current state] [rows of a snapshot] [repeats]

The hand-written ones do the least that can be done: no rule is evaluated, nothing is kept of the changes, no day can
be taken back. `step` is ours with everything; `commit` is the part that the MERGE stands for.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import pyspark.sql.types as T
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse_assets.platform import history
from lakehouse_assets.platform.catalog import Catalog
from lakehouse_assets.platform.contract import Contract, column, facts
from lakehouse_assets.platform.delta import version_of
from lakehouse_assets.platform.materialize import Step, materialize
from lakehouse_assets.platform.plan import Lake, Plan
from lakehouse_assets.platform.server import stop_server
from lakehouse_assets.platform.session import close_session, open_session
from lakehouse_assets.platform.silver import CurrentState, SnapshotHistory
from lakehouse_assets.platform.state import State, scd1, scd2_from_snapshots
from lakehouse_assets.platform.table import Table, TableKey
from lakehouse_assets.settings import Settings

DAY = date(2024, 1, 1)
CHANGES = 100_000
VALUES = ("op", "modified_date", "customer", "amount", "status", "note")


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


class Customers(SnapshotHistory):
    """Customers, every version."""

    id: T.LongType = column("customer", source=True)
    points: T.LongType = column("points", source=True)
    name: T.StringType = column("name", source=True)
    city: T.StringType = column("city", source=True)

    class Config:
        metadata = facts(key=("id",))


def never(**_: DataFrame) -> DataFrame:
    raise NotImplementedError


def declared(name: str, contract: type[Contract], write: State) -> Table:
    return Table(TableKey("bench", "silver", name), contract, never, MappingProxyType({}), write)


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
    changes = F.when(F.col("id") % 100 < nth, F.lit(nth) - F.col("id") % 100).otherwise(0)
    return spark.range(number).select(
        "id",
        (F.col("id") % 500 + changes).alias("points"),
        F.concat(F.lit("name "), "id").alias("name"),
        F.concat(F.lit("city "), F.col("id") % 50).alias("city"),
        F.lit(day).alias("feed_day"),
        F.sha2(F.col("id").cast("string"), 256).alias("record_hash"),
    )


class Timed:
    """Ours, with the time of the commit apart."""

    def __init__(self, spark: SparkSession, folder: Path, table: Table) -> None:
        self.step = Step(spark, Lake(folder, folder / "landing"), Catalog((table,)), "bench")
        self.table, self.commit = table, 0.0
        self.path = self.step.lake.path(table.key)

    def make(self, frame: DataFrame, day: date) -> float:
        """Seconds of the whole step."""
        plan = Plan(self.table, (day,), (day,), {}, version_of(self.path), None, {})
        commit = history.StateTable.commit

        def timed(*arguments, **options):  # type: ignore[no-untyped-def]
            began = time.monotonic()
            try:
                return commit(*arguments, **options)
            finally:
                self.commit = time.monotonic() - began

        history.StateTable.commit = timed  # type: ignore[method-assign]
        try:
            return clocked(lambda: materialize(self.step, plan, frame))
        finally:
            history.StateTable.commit = commit  # type: ignore[method-assign]


def clocked(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def merge_orders(spark: SparkSession, path: Path, frame: DataFrame) -> None:
    """The documented MERGE, with the parts as literals."""
    changes = frame.select(*["id", *VALUES], F.pmod(F.xxhash64("id"), F.lit(8)).cast("int").alias("bucket"))
    changes.createOrReplaceTempView("changes")
    spark.sql(
        f"""
        MERGE INTO delta.`{path}` t USING changes s
        ON t.id = s.id AND t.bucket = s.bucket AND t.bucket IN (0, 1, 2, 3, 4, 5, 6, 7)
        WHEN MATCHED AND s.modified_date > t.modified_date THEN UPDATE SET *
        WHEN NOT MATCHED THEN INSERT *
        """
    ).collect()


def merge_customers(spark: SparkSession, path: Path, frame: DataFrame, day: date) -> None:
    """The usual recipe: changed rows twice in the source, once to close a version and once to open one."""
    frame.createOrReplaceTempView("snapshot")
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
        WHEN NOT MATCHED THEN INSERT (id, points, name, city, effective_from, effective_to, is_current)
            VALUES (s.id, s.points, s.name, s.city, DATE'{day}', NULL, true)
        """  # noqa: S608
    ).collect()


def bench_orders(spark: SparkSession, folder: Path, rows: int, repeats: int) -> None:
    ours = Timed(spark, folder, declared("orders", Orders, scd1(("id",), "modified_date", "op = 'D'")))
    ours.make(orders(spark, 0, rows, DAY), DAY)
    raw = folder / "raw_orders"
    start = orders(spark, 0, rows, DAY).select(
        "id", *VALUES, F.pmod(F.xxhash64("id"), F.lit(8)).cast("int").alias("bucket")
    )
    start.repartition("bucket").write.format("delta").partitionBy("bucket").save(str(raw))
    times = []
    for nth in range(1, repeats + 1):
        day = DAY + timedelta(days=nth)
        frame = orders(spark, nth, CHANGES, day, step=max(1, rows // CHANGES) + (nth == 1))
        by_hand = clocked(lambda frame=frame: merge_orders(spark, raw, frame))
        step = ours.make(frame, day)
        times.append((by_hand, ours.commit, step))
    report(f"{CHANGES} changes into {rows} rows", times)


def bench_customers(spark: SparkSession, folder: Path, rows: int, repeats: int) -> None:
    ours = Timed(spark, folder, declared("customers", Customers, scd2_from_snapshots(("id",))))
    ours.make(customers(spark, rows, DAY, 0), DAY)
    raw = folder / "raw_customers"
    start = customers(spark, rows, DAY, 0).select("id", "points", "name", "city")
    start.selectExpr(
        "*", f"DATE'{DAY}' AS effective_from", "CAST(NULL AS DATE) AS effective_to", "true AS is_current"
    ).write.format("delta").save(str(raw))
    times = []
    for nth in range(1, repeats + 1):
        day = DAY + timedelta(days=nth)
        frame = customers(spark, rows, day, nth)
        by_hand = clocked(lambda frame=frame, day=day: merge_customers(spark, raw, frame, day))
        step = ours.make(frame, day)
        times.append((by_hand, ours.commit, step))
    report(f"snapshot of {rows} rows, 1 % or so changed", times)


def report(what: str, times: list[tuple[float, float, float]]) -> None:
    by_hand, commit, step = (min(column) for column in zip(*times, strict=True))
    print(
        f"{what}: by hand {by_hand:.1f} s, commit {commit:.1f} s ({commit / by_hand:.2f}x), "
        f"step {step:.1f} s ({step / by_hand:.2f}x)   all: "
        + "; ".join(" ".join(f"{seconds:.1f}" for seconds in one) for one in times)
    )


def main(current: int = 5_000_000, snapshot: int = 1_000_000, repeats: int = 3) -> None:
    with tempfile.TemporaryDirectory() as name:
        here = Settings(home=Path(name) / "home", spark_heap="3g")
        spark = open_session(here, "bench")
        try:
            bench_customers(spark, Path(name), snapshot, repeats)
            bench_orders(spark, Path(name), current, repeats)
        finally:
            close_session(spark)
            stop_server(here)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
