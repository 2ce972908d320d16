"""Orders of an online shop, as they happen: lines of invoices from Kafka, or from daily files."""

from datetime import date

FIRST_DAY = date(2009, 1, 1)
