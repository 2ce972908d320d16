"""The event of an order line: its fields, the names under which files have them, and its JSON text.

One definition for both doors: the producer writes these events to Kafka, the file door builds the same from files.
"""

import json
from collections.abc import Mapping
from datetime import date, datetime, time

from lakehouse_assets.declare import Drift

TOPIC = "orders"
SCHEMA_VERSION = "1"

FIELDS = (
    "invoice_no",
    "stock_code",
    "description",
    "quantity",
    "invoice_date",
    "unit_price",
    "customer_id",
    "country",
)

ONLINE_RETAIL: Mapping[str, str] = {
    "InvoiceNo": "invoice_no",
    "StockCode": "stock_code",
    "Description": "description",
    "Quantity": "quantity",
    "InvoiceDate": "invoice_date",
    "UnitPrice": "unit_price",
    "CustomerID": "customer_id",
    "Country": "country",
}
SALES_TRANSACTION: Mapping[str, str] = {
    "TransactionNo": "invoice_no",
    "ProductNo": "stock_code",
    "ProductName": "description",
    "Quantity": "quantity",
    "Date": "invoice_date",
    "Price": "unit_price",
    "CustomerNo": "customer_id",
    "Country": "country",
}
OTHERS = "other_columns"
NAMES = Drift(aliases=(*ONLINE_RETAIL.items(), *SALES_TRANSACTION.items()), extra=OTHERS)
DAY_FORMATS = ("%m/%d/%Y",)

JSON_SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "order line",
    "description": "One line of an invoice. Kafka key: invoice_no. Record timestamp: invoice_date.",
    "type": "object",
    "required": [*FIELDS[:2], "quantity", "invoice_date", "unit_price", "country"],
    "properties": {
        "schema_version": {"const": SCHEMA_VERSION, "description": "absent: 1"},
        "invoice_no": {"type": "string", "minLength": 1, "description": "number; C in front: a cancellation"},
        "stock_code": {"type": "string", "minLength": 1, "description": "product; upper and lower case are the same"},
        "description": {"type": ["string", "null"], "description": "name of the product"},
        "quantity": {"type": ["integer", "string"], "pattern": "^-?\\d+$", "description": "units; taken back: below 0"},
        "invoice_date": {
            "type": "string",
            "pattern": "^(\\d{4}-\\d{2}-\\d{2}([ T]\\d{2}:\\d{2}:\\d{2})?|\\d{1,2}/\\d{1,2}/\\d{4})$",
            "description": "time of booking, UTC: 2010-12-01 08:26:00. From old files also a day, as 12/9/2019",
        },
        "unit_price": {"type": ["number", "string"], "description": "price of one unit; as text it keeps its digits"},
        "customer_id": {"type": ["string", "null"], "description": "customer; none: not known"},
        "country": {"type": "string", "minLength": 1, "description": "country of the customer"},
    },
    "additionalProperties": True,
}  # fmt: skip


def event_json(line: Mapping[str, str | None]) -> str:
    """The value of the record: the fields in order, as they came, then whatever else a file has. An empty text stays
    one.
    """
    others = json.loads(line.get(OTHERS) or "{}")
    return json.dumps({name: line[name] for name in FIELDS} | others, ensure_ascii=False, separators=(",", ":"))


def event_time(line: Mapping[str, str | None], day: date) -> datetime:
    """When the line was booked (naive, UTC): the record's timestamp. What cannot be read is the beginning of `day`."""
    text = (line["invoice_date"] or "").strip().replace("T", " ")
    for written in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d", *DAY_FORMATS):
        try:
            return datetime.strptime(text, written)
        except ValueError:
            continue
    return datetime.combine(day, time.min)
