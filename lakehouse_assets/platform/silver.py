"""What every silver table of change events has beside its source's columns."""

import pyspark.sql.types as T

from lakehouse_assets.platform.contract import Action, Contract, column


class SilverEvent(Contract):
    """A change event, typed. A domain's contract adds the source's columns."""

    feed_day: T.DateType = column("day on which the source delivered the record", action=Action.FAIL)
    version: T.IntegerType = column("number of the feed day's landing that the row came from", action=Action.FAIL)
    record_hash: T.StringType = column(
        "SHA-256 of the source columns as they came, as JSON with sorted keys", action=Action.FAIL
    )
    processed_date: T.DateType = column("day on which a run wrote the row", action=Action.FAIL)
