"""Orders of an online shop, as they happen: lines of invoices from Kafka, or from daily files."""
