"""Gold of the marketplace: where orders stand, and how sellers do."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from lakehouse_assets.declare import Overwrite, full
from lakehouse_assets.defs.marketplace import contracts, silver
from lakehouse_assets.defs.marketplace.domain import MARKETPLACE

LOST = ("CANCELED", "EXPIRED", "REFUNDED", "RETURNED")


@MARKETPLACE.gold(contracts.OrderFunnel, write=Overwrite(), orders=full(silver.orders))
def order_funnel(orders: DataFrame) -> DataFrame:
    """Orders by day of creation and status."""
    counted = orders.groupBy(F.to_date("dat_hor_tran").alias("order_day"), "stat_pedi").agg(
        F.count("*").alias("orders")
    )
    of_day = F.sum("orders").over(Window.partitionBy("order_day"))
    return counted.select("*", (F.col("orders") / of_day).cast("decimal(9,6)").alias("share"))


@MARKETPLACE.gold(contracts.SellerPerformance, write=Overwrite(), products=full(silver.products))
def seller_performance(products: DataFrame) -> DataFrame:
    """What each seller sold."""
    order = F.col("txt_detl_idt_pedi_pgto")
    units = F.coalesce("qtd_item_pedi", F.lit(0))
    return (
        products.where("idt_venr IS NOT NULL")
        .groupBy("idt_venr")
        .agg(
            F.max("nom_venr").alias("nom_venr"),
            F.count_distinct(order).alias("orders"),
            F.sum(units).alias("units"),
            F.coalesce(F.sum(units * F.col("vlr_prod")), F.lit(0)).cast("decimal(38,4)").alias("value"),
            F.count_distinct(F.when(F.col("stat_pedi") == "DELIVERED", order)).alias("delivered"),
            F.count_distinct(F.when(F.col("stat_pedi").isin(*LOST), order)).alias("lost"),
        )
    )
