"""m: a year of a shop's daily files through bronze, silver and gold, against one plain Spark script."""

import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from bench.harness import Bar, Result, Size, alternate, best
from bench.lab import dagster_run, lake_at, spark_session
from lakehouse_assets.settings import settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FIRST = date(2023, 1, 1)
LINES = 1_740  # a day, before duplicates and cancellations: 305 days have about 541,909 rows, as the shop's year has
TABLES = tuple(f"orders/{name}" for name in (
    "bronze/order_events", "silver/order_lines", "silver/cancellations", "gold/sales_by_country",
    "gold/sales_by_product", "gold/cancellation_rate", "gold/revenue_live",
))  # fmt: skip
NAMES = {"InvoiceNo": "invoice_no", "StockCode": "stock_code", "Description": "description", "Country": "country"}


def measure(size: Size, folder: Path) -> Result:
    """The files of `--files`, or generated ones: landed and made in one run with checks and lineage, an empty lake each
    time; and by a script that writes the same tables, partitioned by day, and judges nothing.
    """
    files = sorted((size.files or _generated(size, folder)).glob("*.csv"))
    days = [date.fromisoformat(file.stem) for file in files]
    spark = spark_session()
    sizes: dict[str, int] = {}

    def platform() -> None:
        shutil.rmtree(folder / "lakehouse", ignore_errors=True)
        with lake_at(folder / "lakehouse"):
            sizes["rows"] = _land(files)
            dagster_run(days[0], days[-1], TABLES)

    def tables_alone() -> None:
        shutil.rmtree(folder / "alone", ignore_errors=True)
        with lake_at(folder / "alone"):
            _land(files)
            _make(spark, days)

    def script() -> None:
        shutil.rmtree(folder / "plain", ignore_errors=True)
        plain_script(spark, [str(file) for file in files], folder / "plain")

    script()
    platform()
    took = alternate(size.repeats, script=script, platform=platform, tables_alone=tables_alone)
    plain = best(took["script"])
    return Result(
        "m",
        f"{sizes['rows']:,} rows in {len(files)} daily files, landing to gold",
        {
            "a plain script, s": plain,
            "the platform, in a Dagster run, s": best(took["platform"]),
            "times the script": best(took["platform"]) / plain,
            "the platform without Dagster, s": best(took["tables_alone"]),
            "times the script, without Dagster": best(took["tables_alone"]) / plain,
        },
        (Bar("times the script", 1.5), Bar("times the script, without Dagster", 1.5)),
        took,
    )


def _generated(size: Size, folder: Path) -> Path:
    from lakehouse_assets.samples.orders.feeds import generate

    feeds = folder / "feeds"
    generate(feeds, FIRST, FIRST + timedelta(days=size.shop_days - 1), LINES, defects=0.001)
    return feeds


def _land(files: list[Path]) -> int:
    from lakehouse_assets.definitions import catalog
    from lakehouse_assets.platform.declare.table import TableKey
    from lakehouse_assets.platform.ingest.landing import land

    source = catalog.table(TableKey.parse(TABLES[0])).source
    assert source is not None
    landed = [land(settings().landing, "orders/order_events", source, file, today=date(2026, 1, 1)) for file in files]
    return sum(sum(one.days.values()) for one in landed)


def _make(spark: "SparkSession", days: list[date]) -> None:
    from lakehouse_assets.definitions import catalog
    from lakehouse_assets.platform.declare.table import TableKey
    from lakehouse_assets.platform.planning.plan import Lake
    from lakehouse_assets.platform.planning.step import Step
    from lakehouse_assets.platform.transform.materialize import materialize

    step = Step(spark, Lake(settings().lake, settings().landing), catalog, "bench")
    for name in TABLES:
        table = catalog.table(TableKey.parse(name))
        materialize(step, table, days)


def plain_script(spark: "SparkSession", files: list[str], out: Path) -> None:
    """The same tables without checks, quarantine or lineage, each partitioned by day."""
    raw = spark.read.option("header", True).csv(files).select(
        *[F.col(theirs).alias(ours) for theirs, ours in NAMES.items()],
        F.col("Quantity").try_cast("int").alias("quantity"),
        F.col("InvoiceDate").try_cast("timestamp_ntz").alias("invoice_date"),
        F.col("UnitPrice").try_cast("decimal(12,4)").alias("unit_price"),
        F.regexp_replace("CustomerID", r"\.0$", "").alias("customer_id"),
    )  # fmt: skip

    def write(frame: "DataFrame", name: str) -> "DataFrame":
        frame.write.format("delta").partitionBy("day").save(str(out / name))
        return spark.read.format("delta").load(str(out / name))

    day = F.coalesce(F.to_date("invoice_date"), F.lit(FIRST))
    bronze = write(raw.withColumn("day", day), "bronze")
    typed = bronze.dropDuplicates().withColumn("stock_code", F.upper("stock_code"))
    lines = write(typed.withColumn("amount", F.col("quantity") * F.col("unit_price")), "lines")
    cancelled = lines.where("invoice_no LIKE 'C%'")
    sales = lines.where("invoice_no NOT LIKE 'C%' AND quantity > 0")
    sold = sales.select(
        F.col("stock_code").alias("s"), F.col("customer_id").alias("c"), F.col("unit_price").alias("p"),
        F.col("quantity").alias("q"), F.col("invoice_date").alias("sold_at"),
    )  # fmt: skip
    same = "stock_code = s AND customer_id = c AND unit_price = p AND -quantity <= q AND sold_at <= invoice_date"
    matched = cancelled.join(sold, F.expr(same), "left").groupBy(*cancelled.columns)
    write(matched.agg(F.max("sold_at").alias("sold_at")), "cancellations")
    figures = (F.sum("amount").alias("sales"), F.sum("quantity").alias("units"), F.count("*").alias("lines"))
    for name, by in (("country", "country"), ("product", "stock_code"), ("minute", "minute")):
        of = sales.withColumn("minute", F.date_trunc("minute", "invoice_date"))
        write(of.groupBy("day", by).agg(*figures), name)
    write(lines.groupBy("day").agg(F.sum("amount").alias("amount")), "rate")
