"""Contracts of the orders domain: the events as they came, order lines, cancellations, and the figures."""

from typing import Annotated

import pyspark.sql.types as T

from lakehouse_assets.declare import Action, Contract, Dimension, column, row_rule, table_metadata

OWNERS = ("team:orders",)
SALE, CANCELLATION, ADJUSTMENT = "sale", "cancellation", "adjustment"
LINE_TYPES = [SALE, CANCELLATION, ADJUSTMENT]


class OrderEvent(Contract):
    """Events of order lines as they came: each record of the topic once, and each row of each landed file."""

    key: T.StringType = column("key of the record: the invoice", nullable=True)
    value: T.StringType = column("value of the record as text: the event as JSON", nullable=True)
    topic: T.StringType = column("topic; of a landed row the file's name", action=Action.FAIL)
    partition: T.IntegerType = column(
        "partition of the topic; of a landed row the number of the day's landing", action=Action.FAIL
    )
    offset: T.LongType = column("offset in the partition; of a landed row its number in the file", action=Action.FAIL)
    timestamp: T.TimestampNTZType = column("timestamp of the record, UTC: the event's own time", nullable=True)
    headers: T.StringType = column("headers of the record as JSON: a list of objects of key and value", nullable=True)
    door: T.StringType = column("the way it came", isin=["file", "kafka"], action=Action.FAIL)
    feed_day: T.DateType = column("day of the record's timestamp", action=Action.FAIL)

    class Config:
        metadata = table_metadata(owners=OWNERS, event_time="timestamp")


class OrderLine(Contract):
    """Lines of invoices, typed, exact duplicates removed: sales, cancellations and adjustments of stock."""

    invoice_no: T.StringType = column("invoice; C in front: a cancellation", source=True)
    stock_code: T.StringType = column("product, in upper case", source=True)
    description: T.StringType = column("name of the product", source=True, nullable=True)
    quantity: T.IntegerType = column("units; below zero: taken back", source=True, ne=0, decimal_mark=".")
    invoice_date: T.TimestampNTZType = column("when the line was booked, UTC", source=True)
    unit_price: Annotated[T.DecimalType, 12, 4] = column("price of one unit", source=True, ge=0, decimal_mark=".")
    customer_id: T.StringType = column("customer; none: not known", source=True, nullable=True, pii=True)
    country: T.StringType = column("country of the customer", source=True)
    schema_version: T.StringType = column(
        "version of the event's schema; none: the record has no event", isin=["1"], dimension=Dimension.SCHEMA
    )
    unknown_fields: T.StringType = column("fields that the schema does not know, as JSON", nullable=True)
    line_type: T.StringType = column(
        "sale, cancellation, or adjustment: units taken back without a cancellation", isin=LINE_TYPES
    )
    amount: Annotated[T.DecimalType, 23, 4] = column("quantity times unit price", nullable=True)
    feed_day: T.DateType = column("day of the record's timestamp", action=Action.FAIL)
    record_hash: T.StringType = column(
        "SHA-256 of the event's fields as they came, as JSON with sorted keys", action=Action.FAIL
    )
    processed_date: T.DateType = column("day on which a run wrote the row", action=Action.FAIL)

    class Config:
        metadata = table_metadata(key=("record_hash",), owners=OWNERS, event_time="invoice_date", documents=True)

    @row_rule()
    def not_from_the_future(cls) -> str:
        """The line was not booked after its feed day."""
        return "invoice_date < feed_day + INTERVAL 1 DAY"

    @row_rule()
    def cancellation_takes_back(cls) -> str:
        """A cancellation takes units back."""
        return "line_type <> 'cancellation' OR quantity < 0"

    @row_rule(action=Action.WARN)
    def sale_has_a_price(cls) -> str:
        """A sale costs something."""
        return "line_type <> 'sale' OR unit_price > 0"

    @row_rule(action=Action.WARN, dimension=Dimension.COMPLETENESS)
    def customer_is_known(cls) -> str:
        """The line says who bought."""
        return "customer_id IS NOT NULL"

    @row_rule(action=Action.WARN, dimension=Dimension.SCHEMA)
    def fields_are_known(cls) -> str:
        """The event has no fields that its schema does not know."""
        return "unknown_fields IS NULL"


class Cancellation(Contract):
    """Cancelled lines and the sale that each takes back, as known on its feed day."""

    invoice_no: T.StringType = column("invoice of the cancellation", action=Action.FAIL)
    stock_code: T.StringType = column("product", action=Action.FAIL)
    customer_id: T.StringType = column("customer; none: not known", nullable=True, pii=True)
    country: T.StringType = column("country of the customer", action=Action.FAIL)
    cancelled_at: T.TimestampNTZType = column("when it was cancelled, UTC", action=Action.FAIL)
    quantity: T.IntegerType = column("units taken back", gt=0, action=Action.FAIL)
    amount: Annotated[T.DecimalType, 23, 4] = column("value taken back", ge=0, action=Action.FAIL)
    match: T.StringType = column(
        "whole: a sale of as many units; part: of more; none: no sale found",
        isin=["whole", "part", "none"],
        action=Action.FAIL,
    )
    sale_invoice_no: T.StringType = column("invoice of the sale", nullable=True)
    sold_at: T.TimestampNTZType = column("when it was sold, UTC", nullable=True)
    sale_feed_day: T.DateType = column("feed day of the sale", nullable=True)
    feed_day: T.DateType = column("feed day of the cancellation", action=Action.FAIL)
    record_hash: T.StringType = column("hash of the cancelling line", action=Action.FAIL)

    class Config:
        metadata = table_metadata(
            key=("record_hash",), owners=OWNERS, event_time="cancelled_at", key_action=Action.FAIL
        )


class SalesByCountry(Contract):
    """Sales of a day by country, and cancellations of that day."""

    feed_day: T.DateType = column("day", action=Action.FAIL)
    country: T.StringType = column("country of the customer", action=Action.FAIL)
    orders: T.LongType = column("invoices with a sale", ge=0, action=Action.FAIL)
    lines: T.LongType = column("lines sold", ge=0, action=Action.FAIL)
    units: T.LongType = column("units sold", ge=0, action=Action.FAIL)
    sales: Annotated[T.DecimalType, 33, 4] = column("value sold", ge=0, action=Action.FAIL)
    cancelled: Annotated[T.DecimalType, 33, 4] = column("value cancelled on the day", ge=0, action=Action.FAIL)
    customers: T.LongType = column("known customers that bought", ge=0, action=Action.FAIL)

    class Config:
        metadata = table_metadata(key=("country",), owners=OWNERS, key_action=Action.FAIL)


class SalesByProduct(Contract):
    """Sales of a day by product, and cancellations of that day."""

    feed_day: T.DateType = column("day", action=Action.FAIL)
    stock_code: T.StringType = column("product", action=Action.FAIL)
    description: T.StringType = column("greatest of the names it was sold under on the day", nullable=True)
    lines: T.LongType = column("lines sold", ge=0, action=Action.FAIL)
    units: T.LongType = column("units sold", ge=0, action=Action.FAIL)
    sales: Annotated[T.DecimalType, 33, 4] = column("value sold", ge=0, action=Action.FAIL)
    cancelled: Annotated[T.DecimalType, 33, 4] = column("value cancelled on the day", ge=0, action=Action.FAIL)

    class Config:
        metadata = table_metadata(key=("stock_code",), owners=OWNERS, key_action=Action.FAIL)


class CancellationRate(Contract):
    """How much of a day's sales its cancellations take back."""

    feed_day: T.DateType = column("day", action=Action.FAIL)
    orders: T.LongType = column("invoices with a sale", ge=0, action=Action.FAIL)
    cancellations: T.LongType = column("invoices of cancellation", ge=0, action=Action.FAIL)
    sales: Annotated[T.DecimalType, 33, 4] = column("value sold", ge=0, action=Action.FAIL)
    cancelled: Annotated[T.DecimalType, 33, 4] = column("value cancelled", ge=0, action=Action.FAIL)
    rate: Annotated[T.DecimalType, 18, 6] = column("cancelled by sales; none: nothing was sold", nullable=True, ge=0)

    class Config:
        metadata = table_metadata(key=("feed_day",), owners=OWNERS, key_action=Action.FAIL)


class RevenueLive(Contract):
    """Revenue of a day by minute, kept by the stream itself."""

    feed_day: T.DateType = column("day", action=Action.FAIL)
    minute: T.TimestampNTZType = column("minute of the events, UTC", action=Action.FAIL)
    lines: T.LongType = column("lines sold", ge=0, action=Action.FAIL)
    units: T.LongType = column("units sold", ge=0, action=Action.FAIL)
    sales: Annotated[T.DecimalType, 33, 4] = column("value sold", ge=0, action=Action.FAIL)
    cancelled: Annotated[T.DecimalType, 33, 4] = column("value cancelled", ge=0, action=Action.FAIL)
    newest_event: T.TimestampNTZType = column("time of the newest event in it, UTC", action=Action.FAIL)

    class Config:
        metadata = table_metadata(key=("minute",), owners=OWNERS, event_time="newest_event", key_action=Action.FAIL)
