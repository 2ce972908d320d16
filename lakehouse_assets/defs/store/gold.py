"""Gold of the store: daily sales, the reconciliation of payments, the value of customers.

What was delivered before may be delivered again, changed: sums over days therefore add what each delivery changes.
"""

from datetime import timedelta
from decimal import Decimal

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from lakehouse_assets.declare import cumulative, day
from lakehouse_assets.defs.store import contracts, sources
from lakehouse_assets.defs.store.domain import STORE

UNKNOWN = "unknown"
CENT = Decimal("0.01")
SLA = timedelta(hours=8)


@STORE.gold(
    contracts.DailySales,
    orders=day(sources.orders.silver),
    users=cumulative(sources.users.silver),
    products=cumulative(sources.products.silver),
    sla=SLA,
)
def daily_sales(orders: DataFrame, users: DataFrame, products: DataFrame) -> DataFrame:
    """Sales by day of order, category and state, as users and products were known on the feed day."""
    lines = _as_of(orders, users, "user_id", "state")
    lines = _as_of(lines, products, "product_id", "category")
    sums = lines.groupBy("feed_day", F.to_date("order_date").alias("day"), "category", "state").agg(
        F.count_distinct("order_id").alias("orders"),
        F.coalesce(F.sum("quantity"), F.lit(0)).cast("bigint").alias("units"),
        F.sum("total_price").alias("gross"),
        F.sum(F.when(_cancelled(), F.col("total_price")).otherwise(0)).cast("decimal(28,2)").alias("cancelled"),
    )
    return sums.withColumn("net", (F.col("gross") - F.col("cancelled")).cast("decimal(28,2)"))


@STORE.gold(
    contracts.PaymentReconciliation,
    orders=cumulative(sources.orders.silver),
    payments=cumulative(sources.payments.silver),
    sla=SLA,
)
def payment_reconciliation(orders: DataFrame, payments: DataFrame) -> DataFrame:
    """Due and paid of every order on every day with news of it."""
    lines = orders.select(
        "order_id",
        "line",
        "feed_day",
        F.lit(1).alias("lines"),
        (F.col("line") != "").cast("int").alias("items"),
        (~_cancelled()).cast("int").alias("open"),
        F.col("total_price").alias("due"),
    )
    paid = payments.select("payment_id", "order_id", "feed_day", F.col("amount").alias("paid"), "payment_method")
    news = _changes(lines, ("order_id", "line"), ("lines", "items", "open", "due")).unionByName(
        _changes(paid, ("order_id", "payment_id"), ("paid",)), allowMissingColumns=True
    )
    figures = ("lines", "items", "open", "due", "paid")
    per_day = news.groupBy("order_id", "feed_day").agg(
        *[F.coalesce(F.sum(name), F.lit(0)).alias(name) for name in figures],
        F.collect_set("payment_method").alias("methods"),
    )
    so_far = Window.partitionBy("order_id").orderBy("feed_day").rowsBetween(Window.unboundedPreceding, 0)
    known = per_day.select(
        "order_id",
        "feed_day",
        *[F.sum(name).over(so_far).alias(name) for name in figures],
        F.array_distinct(F.flatten(F.collect_list("methods").over(so_far))).alias("methods"),
    )
    difference = F.col("paid") - F.col("due")
    state = (
        F.when(F.col("lines") == 0, "no_order")
        .when(F.col("items") == 0, "no_items")
        .when((F.col("paid") == 0) & (F.col("due") > 0), "unpaid")
        .when(difference == 0, "settled")
        .when(F.abs(difference) <= F.lit(CENT), "rounding")
        .otherwise(F.when(difference < 0, "underpaid").otherwise("overpaid"))
    )
    return known.select(
        "feed_day",
        "order_id",
        F.col("due").cast("decimal(28,2)").alias("due"),
        F.col("paid").cast("decimal(28,2)").alias("paid"),
        F.array_join(F.array_sort("methods"), ",").alias("method"),
        difference.cast("decimal(28,2)").alias("difference"),
        ((F.col("lines") > 0) & (F.col("open") == 0)).alias("cancelled"),
        state.alias("state"),
    )


@STORE.gold(contracts.CustomerValue, orders=cumulative(sources.orders.silver), sla=SLA)
def customer_value(orders: DataFrame) -> DataFrame:
    """Recency, frequency and value of every customer on every day with orders of theirs."""
    counted = orders.where("user_id IS NOT NULL").select(
        "user_id",
        "order_id",
        "line",
        "feed_day",
        F.to_date("order_date").alias("ordered"),
        (~_cancelled()).cast("int").alias("open"),
        F.when(_cancelled(), F.lit(0)).otherwise(F.col("total_price")).cast("decimal(18,2)").alias("value"),
    )
    lines = _changes(counted, ("user_id", "order_id", "line"), ("open", "value"))
    by_order = lines.groupBy("user_id", "order_id", "feed_day").agg(
        F.sum("open").alias("open"), F.sum("value").alias("value"), F.max("ordered").alias("ordered")
    )
    of_order = Window.partitionBy("user_id", "order_id").orderBy("feed_day")
    opens = F.sum("open").over(of_order.rowsBetween(Window.unboundedPreceding, 0)) > 0
    orders_known = by_order.withColumn("counts", opens.cast("int")).withColumn(
        "counts_more", F.col("counts") - F.coalesce(F.lag("counts").over(of_order), F.lit(0))
    )
    per_day = orders_known.groupBy("user_id", "feed_day").agg(
        F.sum("counts_more").alias("frequency"),
        F.sum("value").alias("value"),
        F.max("ordered").alias("last_order"),
    )
    so_far = Window.partitionBy("user_id").orderBy("feed_day").rowsBetween(Window.unboundedPreceding, 0)
    last_order = F.max("last_order").over(so_far)
    return per_day.select(
        "feed_day",
        "user_id",
        last_order.alias("last_order"),
        F.date_diff("feed_day", last_order).alias("recency_days"),
        F.sum("frequency").over(so_far).alias("frequency"),
        F.sum("value").over(so_far).cast("decimal(28,2)").alias("value"),
    )


def _cancelled() -> Column:
    return F.col("status") == contracts.CANCELLED


def _as_of(rows: DataFrame, table: DataFrame, key: str, column: str) -> DataFrame:
    """`rows` with `column` of the row of `table` that held on their feed day; unknown where none did."""
    versions = Window.partitionBy(key).orderBy("feed_day")
    held = table.select(
        F.col(key).alias("_key"),
        F.col("feed_day").alias("_from"),
        F.lead("feed_day").over(versions).alias("_to"),
        F.col(column).alias("_value"),
    )
    holds = (F.col(key) == F.col("_key")) & (F.col("feed_day") >= F.col("_from"))
    joined = rows.join(held, holds & (F.col("_to").isNull() | (F.col("feed_day") < F.col("_to"))), "left")
    return joined.withColumn(column, F.coalesce("_value", F.lit(UNKNOWN))).drop("_key", "_from", "_to", "_value")


def _changes(rows: DataFrame, key: tuple[str, ...], figures: tuple[str, ...]) -> DataFrame:
    """What each delivery of a key adds to its `figures`: all of them at first, later what differs from before."""
    deliveries = Window.partitionBy(*key).orderBy("feed_day")
    changes = [F.col(f) - F.coalesce(F.lag(f).over(deliveries), F.lit(0)) for f in figures]
    others = [name for name in rows.columns if name not in figures]
    return rows.select(*others, *[change.alias(f) for change, f in zip(changes, figures, strict=True)])
