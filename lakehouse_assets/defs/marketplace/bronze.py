"""Bronze of the marketplace: documents byte for byte, from a bucket, a folder, or landed files."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse_assets.defs.marketplace import FIRST_DAY, contracts
from lakehouse_assets.platform.common.source_days import SourceDays
from lakehouse_assets.platform.declare.source_files import EventFiles
from lakehouse_assets.platform.declare.table import ReplaceDays, landed_table
from lakehouse_assets.streaming.documents import DayFrom, Documents


def _as_documents(landed: DataFrame) -> DataFrame:
    return landed.select(
        "document",
        F.col("source_file").alias("path"),
        F.md5("document").alias("etag"),
        F.lit(None).cast("timestamp_ntz").alias("arrival"),
        F.lit("file").alias("door"),
        "feed_day",
    )


marketing_place = landed_table(
    __name__,
    "marketing_place",
    contracts.MarketingPlace,
    EventFiles(("document",), days=SourceDays(FIRST_DAY), whole=True),
    rows=_as_documents,
    write=ReplaceDays(channel="file"),
    stream=Documents(days=SourceDays(FIRST_DAY), day_from=DayFrom.MODIFIED),
)
