"""Silver of orders: typed lines, and the cancellations matched to what they cancel."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from lakehouse_assets.declare import cumulative, day
from lakehouse_assets.defs.orders import bronze, contracts
from lakehouse_assets.defs.orders.domain import ORDERS
from lakehouse_assets.defs.orders.lines import order_lines_of


@ORDERS.silver(contracts.OrderLine, events=day(bronze.order_events), reconciles="events")
def order_lines(events: DataFrame) -> DataFrame:
    """Order lines, typed."""
    return order_lines_of(events)


@ORDERS.silver(contracts.Cancellation, cancelled=day(order_lines), sold=cumulative(order_lines))
def cancellations(cancelled: DataFrame, sold: DataFrame) -> DataFrame:
    """Each cancelled line with the sale it takes back.

    That is, among the same product's sales to the same customer (where the customer is not known: in the same country)
    at the same price, of no fewer units, not later and known by then: one of as many units, else the newest one.
    """
    lines = cancelled.where(F.col("line_type") == contracts.CANCELLATION).select(
        "invoice_no", "stock_code", "customer_id", "country", F.col("invoice_date").alias("cancelled_at"),
        (-F.col("quantity")).cast("int").alias("quantity"), (-F.col("amount")).cast("decimal(23,4)").alias("amount"),
        "unit_price", "feed_day", "record_hash",
    )  # fmt: skip
    sales = sold.where(F.col("line_type") == contracts.SALE).select(
        F.col("stock_code").alias("sale_stock_code"),
        F.coalesce("customer_id", F.concat(F.lit("in "), "country")).alias("buyer"),
        F.col("unit_price").alias("sale_price"),
        F.col("quantity").alias("sale_quantity"),
        F.col("invoice_no").alias("sale_invoice_no"),
        F.col("invoice_date").alias("sold_at"),
        F.col("feed_day").alias("sale_feed_day"),
        F.col("record_hash").alias("sale_hash"),
    )
    same = (
        (F.col("stock_code") == F.col("sale_stock_code"))
        & (F.coalesce("customer_id", F.concat(F.lit("in "), "country")) == F.col("buyer"))
        & (F.col("unit_price") == F.col("sale_price"))
        & (F.col("quantity") <= F.col("sale_quantity"))
        & (F.col("sold_at") <= F.col("cancelled_at"))
        & (F.col("sale_feed_day") <= F.col("feed_day"))
    )
    whole = F.col("quantity") == F.col("sale_quantity")
    best = Window.partitionBy("feed_day", "record_hash").orderBy(
        whole.desc(), F.desc("sold_at"), F.desc("sale_feed_day"), "sale_hash"
    )
    ranked = lines.join(sales, same, "left").select("*", F.row_number().over(best).alias("rank"))
    match = F.when(F.col("sale_hash").isNull(), "none").when(whole, "whole").otherwise("part")
    return ranked.where(F.col("rank") == 1).select("*", match.alias("match"))
