"""Sources of the store: the files of the daily drop. They do not say their day: the drop does."""

from datetime import timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse_assets.declare import MIB, Files, Parquet, Publish
from lakehouse_assets.declare.rows import parse
from lakehouse_assets.defs.store import contracts
from lakehouse_assets.defs.store.domain import STORE

SLA = timedelta(hours=6)
# Text that is read whole, once: a codec that packs tighter, row groups that fit a reader's memory.
TUNED = Parquet("zstd", level=3, row_group_bytes=64 * MIB, page_bytes=MIB)
DROP = Files()


def _lines(landed: DataFrame) -> DataFrame:
    """Lines of orders, typed. An order without items is a line without a product."""
    return parse(landed, contracts.Orders).withColumn("line", F.coalesce("product_id", F.lit("")))


users = STORE.source(contracts.Users, DROP, sla=SLA, parquet=TUNED)
products = STORE.source(contracts.Products, DROP, sla=SLA, parquet=TUNED)
orders = STORE.source(contracts.Orders, DROP, silver=_lines, sla=SLA, parquet=TUNED, publish=Publish())
payments = STORE.source(contracts.Payments, DROP, sla=SLA, parquet=TUNED, publish=Publish())
