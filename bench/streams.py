"""Draining a topic against the same raw Spark query, and a year of daily files against a plain script: as ratios.

    .venv/bin/python bench/streams.py [--records 1000000] [--days 305] [--files FOLDER]

A lakehouse of its own in a temporary folder. Both sides of a ratio run on the same warm server, one after the other.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--records", type=int, default=1_000_000, help="records of the topic")
    options.add_argument("--days", type=int, default=305, help="days to generate where no files are given")
    options.add_argument("--lines", type=int, default=1_750, help="lines of a generated day")
    options.add_argument("--files", type=Path, help="folder of daily files, instead of generated ones")
    asked = options.parse_args()
    home = Path(tempfile.mkdtemp(prefix="lakehouse-bench-"))
    os.environ["LAKEHOUSE_HOME"] = str(home)
    try:
        bench_drain(home, asked.records)
        bench_year(home, asked.files, asked.days, asked.lines)
    finally:
        stop(home)


def stop(home: Path) -> None:
    """End the servers and remove the folder."""
    from lakehouse_assets.platform.server import stop_server
    from lakehouse_assets.settings import settings
    from lakehouse_assets.streaming.kafka_server import SERVER

    SERVER.stop(settings())
    stop_server(settings())
    shutil.rmtree(home, ignore_errors=True)


def step_in(home: Path) -> Any:
    """A step on a session of the bench's own."""
    from lakehouse_assets import defs
    from lakehouse_assets.platform.catalog import discover
    from lakehouse_assets.platform.materialize import Step
    from lakehouse_assets.platform.plan import Lake
    from lakehouse_assets.platform.session import open_session
    from lakehouse_assets.settings import settings

    here = settings()
    return Step(open_session(here, "bench"), Lake(here.lake, here.landing), discover(defs), "bench")


def timed(what: str, work: Callable[[], object]) -> float:
    """Run, print the seconds, return them."""
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    print(f"{what:<58}{seconds:8.1f} s", flush=True)
    return seconds


def bench_drain(home: Path, records: int) -> None:
    """Records of a topic into bronze, by the stream and by the query that a notebook would run."""
    import json
    from datetime import datetime

    from lakehouse_assets.defs.orders.producer import Event, send
    from lakehouse_assets.platform.stream import drain_available
    from lakehouse_assets.platform.table import TableKey
    from lakehouse_assets.settings import settings
    from lakehouse_assets.streaming.kafka_client import client_options, ensure_topic, spark_options
    from lakehouse_assets.streaming.kafka_server import SERVER
    from lakehouse_assets.streaming.kafka_topic import KafkaTopic

    SERVER.start(settings())
    line = {"invoice_no": "1", "stock_code": "85123A", "description": "WHITE HANGING HEART", "quantity": "6",
            "invoice_date": "2011-01-04 08:26:00", "unit_price": "2.55", "customer_id": "17850.0",
            "country": "United Kingdom"}  # fmt: skip
    noon = datetime(2011, 1, 4, 12)

    def fill(topic: str, count: int) -> None:
        ensure_topic(settings(), topic, 3)
        events = (Event(str(n), json.dumps(line | {"invoice_no": str(n)}), noon) for n in range(count))
        send(client_options(settings()), events, topic)

    step = step_in(home)
    bronze = step.catalog.table(TableKey.parse("orders/bronze/order_events"))

    def raw(topic: str, to: Path) -> None:
        read = step.spark.read.format("kafka").options(**spark_options(settings())).option("subscribe", topic)
        rows = read.option("includeHeaders", "true").load()
        rows.selectExpr(
            "CAST(key AS STRING) AS key", "CAST(value AS STRING) AS value", "topic", "partition", "offset", "timestamp",
            "headers",
        ).write.format("delta").mode("append").save(str(to))  # fmt: skip

    fill("warm", 5_000)
    drain_available(step, bronze, KafkaTopic("warm", date(2009, 1, 1)))
    raw("warm", home / "warm")
    shutil.rmtree(step.lake.path(bronze.key))
    timed(f"produce {records:,} records", lambda: fill("bench", records))
    plain = timed("a raw query of Spark to Delta", lambda: raw("bench", home / "raw"))
    source = KafkaTopic("bench", date(2009, 1, 1), batch=max(records, 1_000_000))
    ours = timed("the stream", lambda: drain_available(step, bronze, source))
    print(f"drain: {ours / plain:.2f}x the raw query (at most 1.2x)")
    shutil.rmtree(step.lake.path(bronze.key))


def bench_year(home: Path, files: Path | None, days: int, lines: int) -> None:
    """Daily files through bronze, silver and gold, and by one plain script of Spark."""
    from lakehouse_assets.defs.orders.generate import generate
    from lakehouse_assets.platform.landing import land
    from lakehouse_assets.platform.materialize import materialize
    from lakehouse_assets.platform.plan import make_plan
    from lakehouse_assets.platform.reader import read_inputs
    from lakehouse_assets.platform.table import TableKey

    first = date(2023, 1, 1)
    if files is None:
        files = home / "feeds"
        generate(files, first, first + timedelta(days=days - 1), lines, defects=0.001)
    found = sorted(files.glob("*.csv"))
    step = step_in(home)
    source = step.catalog.table(TableKey.parse("orders/bronze/order_events")).source
    of_days = [date.fromisoformat(file.stem) for file in found]
    tables = [f"orders/{name}" for name in (
        "bronze/order_events", "silver/order_lines", "silver/cancellations", "gold/sales_by_country",
        "gold/sales_by_product", "gold/cancellation_rate", "gold/revenue_live",
    )]  # fmt: skip

    def ours() -> None:
        for file in found:
            land(step.lake.landing, "orders/order_events", source, file, today=date(2026, 1, 1))
        for name in tables:
            table = step.catalog.table(TableKey.parse(name))
            plan = make_plan(step.lake, table, of_days)
            materialize(step, plan, table(**read_inputs(step.spark, step.lake, plan, step.catalog)))

    plain = timed(f"a plain script, {len(found)} files", lambda: plain_script(step.spark, files, home / "plain"))
    platform = timed("the platform: landing, bronze, silver, gold, checks, lineage", ours)
    print(f"year of files: {platform / plain:.2f}x the plain script (at most 1.5x)")


def plain_script(spark: Any, files: Path, out: Path) -> None:
    """The same tables without checks, quarantine, lineage or days."""
    from pyspark.sql import functions as F

    raw = spark.read.option("header", True).csv(str(files)).select(
        F.col("InvoiceNo").alias("invoice_no"), F.upper("StockCode").alias("stock_code"),
        F.col("Description").alias("description"), F.col("Quantity").try_cast("int").alias("quantity"),
        F.col("InvoiceDate").try_cast("timestamp_ntz").alias("invoice_date"),
        F.col("UnitPrice").try_cast("decimal(12,4)").alias("unit_price"),
        F.regexp_replace("CustomerID", r"\.0$", "").alias("customer_id"), F.col("Country").alias("country"),
    )  # fmt: skip
    with suppress(FileNotFoundError):
        shutil.rmtree(out)

    def write(frame: Any, name: str) -> Any:
        frame.write.format("delta").partitionBy("day").save(str(out / name))
        return spark.read.format("delta").load(str(out / name))

    bronze = write(
        raw.withColumn("day", F.coalesce(F.to_date("invoice_date"), F.lit("1970-01-01").cast("date"))), "bronze"
    )
    lines = write(bronze.dropDuplicates().withColumn("amount", F.col("quantity") * F.col("unit_price")), "lines")
    cancelled = lines.where("invoice_no LIKE 'C%'")
    sales = lines.where("invoice_no NOT LIKE 'C%' AND quantity > 0")
    sold = sales.select(
        F.col("stock_code").alias("s"), F.col("customer_id").alias("c"), F.col("unit_price").alias("p"),
        F.col("quantity").alias("q"), F.col("invoice_date").alias("sold_at"),
    )  # fmt: skip
    same = "stock_code = s AND customer_id = c AND unit_price = p AND -quantity <= q AND sold_at <= invoice_date"
    matched = (
        cancelled.join(sold, F.expr(same), "left").groupBy(*cancelled.columns).agg(F.max("sold_at").alias("sold_at"))
    )
    write(matched, "cancellations")
    for name, by in (
        ("country", "country"),
        ("product", "stock_code"),
        ("minute", F.date_trunc("minute", "invoice_date")),
    ):
        write(sales.groupBy("day", by).agg(F.sum("amount"), F.sum("quantity"), F.count("*").alias("n")).toDF(
            "day", "by", "sales", "units", "lines"), name)  # fmt: skip
    write(lines.groupBy("day").agg(F.sum("amount").alias("amount")), "rate")


if __name__ == "__main__":
    main()
