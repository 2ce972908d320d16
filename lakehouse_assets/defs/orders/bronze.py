"""Bronze of orders: events as they came, by whatever door."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse_assets.declare import Files, KafkaTopic, ReplaceDays
from lakehouse_assets.defs.orders import contracts
from lakehouse_assets.defs.orders.domain import ORDERS
from lakehouse_assets.defs.orders.event import DAY_FORMATS, FIELDS, NAMES, OTHERS, TOPIC


def _as_events(landed: DataFrame) -> DataFrame:
    """Rows of files as records: the value is the JSON that the producer writes of the same row."""
    fields = F.to_json(F.struct(*FIELDS), {"ignoreNullFields": "false"})
    others = F.to_json(F.from_json(OTHERS, "map<string,string>"), {"ignoreNullFields": "false"})
    text = F.when(F.col(OTHERS).isNull(), fields).otherwise(
        F.concat(F.regexp_replace(fields, r"\}$", ","), F.regexp_replace(others, r"^\{", ""))
    )
    day = F.try_to_timestamp("invoice_date", F.lit("M/d/yyyy")).cast("timestamp_ntz")
    booked = F.coalesce(F.col("invoice_date").try_cast("timestamp_ntz"), day)
    return landed.select(
        F.col("invoice_no").alias("key"),
        text.alias("value"),
        F.col("source_file").alias("topic"),
        F.col("landing").cast("int").alias("partition"),
        F.col("row_number").alias("offset"),
        booked.alias("timestamp"),
        F.lit(None).cast("string").alias("headers"),
        F.lit("file").alias("door"),
        "feed_day",
    )


order_events = ORDERS.bronze(
    contracts.OrderEvent,
    Files(day_column="invoice_date", drift=NAMES, day_formats=DAY_FORMATS),
    name="order_events",
    columns=(*FIELDS, OTHERS),
    rows=_as_events,
    write=ReplaceDays(channel="file"),
    stream=KafkaTopic(TOPIC, ORDERS.days),
)
