"""From events to order lines: read strictly, kept apart by what they are."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from lakehouse_assets.declare.rows import DOCUMENT, document, json_fields, parse, passed_rows, validated_rows
from lakehouse_assets.defs.orders import contracts
from lakehouse_assets.defs.orders.event import FIELDS

LEFT = "_fields"


def order_lines_of(events: DataFrame, carried: Sequence[str] = ()) -> DataFrame:
    """Events as typed lines, one for one. What is no event has no fields, and leaves whole, as its rules say.

    `carried`: further columns of the events to keep.
    """
    fields = json_fields(document(F.col("value")))
    read = events.select(
        fields.alias(LEFT),
        F.coalesce("value", F.lit("")).alias("_row"),
        "feed_day",
        F.concat_ws("/", "topic", "partition").alias("source_file"),
        F.col("offset").alias("row_number"),
        F.lit(0).alias("landing"),
        *carried,
    )
    landed = read.select("*", *[_text(name).alias(name) for name in FIELDS], _version().alias("schema_version"),
                         _unknown().alias("unknown_fields"))  # fmt: skip
    typed = parse(landed, contracts.OrderLine, carried=("schema_version", "unknown_fields", *carried),
                  unreadable={DOCUMENT: F.col(LEFT).isNull()})  # fmt: skip
    replaced = {
        "stock_code": F.upper("stock_code"),
        "customer_id": F.regexp_replace("customer_id", r"\.0$", ""),
        # Lines that differ in what the schema does not know are no duplicates of each other.
        "record_hash": F.when(F.col("unknown_fields").isNull(), F.col("record_hash")).otherwise(
            F.sha2(F.concat_ws(" ", "record_hash", "unknown_fields"), 256)
        ),
    }
    line_type = (
        F.when(F.upper("invoice_no").startswith("C"), contracts.CANCELLATION)
        .when(F.col("quantity") < 0, contracts.ADJUSTMENT)
        .otherwise(contracts.SALE)
    )
    return typed.select(
        *[replaced.get(name, F.col(name)).alias(name) for name in typed.columns],
        line_type.alias("line_type"),
        (F.col("quantity") * F.col("unit_price")).cast("decimal(23,4)").alias("amount"),
    )


def kept_lines_of(events: DataFrame, part: str) -> DataFrame:
    """The lines that silver keeps of these events: by the same rules, without duplicates.

    `part`: a column of the events that follows from what an event says; duplicates are looked for within its values.
    """
    contract = contracts.OrderLine.compiled()
    lines = order_lines_of(events, (part,)).select("*", F.col("feed_day").alias("processed_date"))
    return passed_rows(
        validated_rows(lines, contract, duplicates_of=("feed_day", part, "record_hash")), contract, [part]
    )


def _text(name: str) -> Column:
    """A field as text; of the time, also a day as old files write it."""
    text = F.col(LEFT)[name]
    if name != "invoice_date":
        return text
    iso = F.date_format(F.try_to_timestamp(text, F.lit("M/d/yyyy")), "yyyy-MM-dd 00:00:00")
    return F.when(text.rlike(r"^\d{1,2}/\d{1,2}/\d{4}$"), iso).when(
        text.rlike(r"^\d{4}-\d{2}-\d{2}$"), F.concat(text, F.lit(" 00:00:00"))
    ).otherwise(text)  # fmt: skip


def _version() -> Column:
    """Version of the schema: 1 where an event does not say; none where the record is no JSON object."""
    version = F.coalesce(F.col(LEFT)["schema_version"], F.lit("1"))
    return F.when(F.size(LEFT) > 0, version)


def _unknown() -> Column:
    known = F.array(*[F.lit(name) for name in (*FIELDS, "schema_version")])
    left = F.map_filter(LEFT, lambda name, _: ~F.array_contains(known, name))
    return F.when(F.size(left) > 0, F.to_json(left))
