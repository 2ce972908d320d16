"""Gold of GMV: the ledger, and the current figures beside it.

GMV is the value of purchases whose payment was released and not cancelled. A purchase is known by three tables that
arrive on different days and re-send corrections; of each, the active record is the one with the greatest
`transaction_datetime` (ties: feed day, then the hash of the source columns) among those known so far.
"""

from datetime import timedelta
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from lakehouse_assets.declare import Ledger, Overwrite, cumulative, full
from lakehouse_assets.defs.gmv import contracts, sources
from lakehouse_assets.defs.gmv.domain import GMV

DIMENSIONS = ("gmv_date", "subsidiary", "product_id")
UNKNOWN = "unknown"


@GMV.gold(contracts.GmvCurrent, write=Overwrite(), gmv=full(GMV.key("gold", "gmv")))
def gmv_current(gmv: DataFrame) -> DataFrame:
    """Of each key the newest row."""
    newest = F.max(F.struct("effective_date", "version", "gmv", "purchases")).alias("newest")
    return gmv.groupBy(*map(F.col, DIMENSIONS)).agg(newest).select(*DIMENSIONS, "newest.*")


@GMV.gold(
    contracts.Gmv,
    write=Ledger(grouping_key=("purchase_id",), dimensions=DIMENSIONS, amount="value", figure="gmv", count="purchases"),
    co_materialized=(gmv_current,),
    sla=timedelta(hours=9),
    purchase=cumulative(sources.purchase.silver),
    product_item=cumulative(sources.product_item.silver),
    purchase_extra_info=cumulative(sources.purchase_extra_info.silver),
)
def gmv(purchase: DataFrame, product_item: DataFrame, purchase_extra_info: DataFrame) -> DataFrame:
    """What each purchase contributes, by the day it became known: one row per purchase and day with news of it."""
    news = _union(
        purchase=(purchase, ("release_date",)),
        item=(product_item, ("product_id", "purchase_value")),
        extra=(purchase_extra_info, ("subsidiary",)),
    )
    known = Window.partitionBy("purchase_id").orderBy("known_on")
    so_far = known.rangeBetween(Window.unboundedPreceding, Window.currentRow)
    active = news.select(
        "purchase_id",
        "known_on",
        *[F.max(name).over(so_far).alias(name) for name in ("purchase", "item", "extra")],
        F.lag("known_on").over(known).alias("known_before"),
    ).where(F.col("known_before").isNull() | (F.col("known_before") < F.col("known_on")))
    counts = F.col("purchase.release_date").isNotNull() & F.col("item").isNotNull()
    return active.select(
        "purchase_id",
        "known_on",
        F.when(counts, F.col("purchase.release_date")).alias("gmv_date"),
        F.when(counts, F.coalesce(F.col("extra.subsidiary"), F.lit(UNKNOWN))).alias("subsidiary"),
        F.when(counts, F.col("item.product_id")).alias("product_id"),
        F.when(counts, F.col("item.purchase_value")).alias("value"),
    )


def _union(**tables: tuple[DataFrame, tuple[str, ...]]) -> DataFrame:
    """The event tables as one: purchase_id, known_on, and per table a record (NULL in the rows of the others).

    A record begins with what decides which one is active, so that the active one is the greatest.
    """
    frames = [
        frame.select("purchase_id", F.col("feed_day").alias("known_on"), _record(columns).alias(name))
        for name, (frame, columns) in tables.items()
    ]
    return reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), frames)


def _record(columns: tuple[str, ...]) -> Column:
    return F.struct("transaction_datetime", "feed_day", "record_hash", *columns)
