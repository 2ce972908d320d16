"""Bronze of the marketplace: documents byte for byte, from a bucket, a folder, or landed files."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse_assets.declare import DayFrom, Documents, Files, ReplaceDays
from lakehouse_assets.defs.marketplace import contracts
from lakehouse_assets.defs.marketplace.domain import MARKETPLACE


def _as_documents(landed: DataFrame) -> DataFrame:
    return landed.select(
        "document",
        F.col("source_file").alias("path"),
        F.md5("document").alias("etag"),
        F.lit(None).cast("timestamp_ntz").alias("arrival"),
        F.lit("file").alias("door"),
        "feed_day",
    )


marketing_place = MARKETPLACE.bronze(
    contracts.MarketingPlace,
    Files(whole=True),
    columns=("document",),
    rows=_as_documents,
    write=ReplaceDays(channel="file"),
    stream=Documents(days=MARKETPLACE.days, day_from=DayFrom.MODIFIED),
)
