"""What every silver table of change events has beside its source's columns."""

import pyspark.sql.types as T

from lakehouse_assets.platform.contracts.contract import Contract, column
from lakehouse_assets.platform.contracts.rules import Action


class SilverEvent(Contract):
    """A change event, typed. A domain's contract adds the source's columns."""

    feed_day: T.DateType = column("day on which the source delivered the record", action=Action.FAIL)
    version: T.IntegerType = column("number of the feed day's landing that the row came from", action=Action.FAIL)
    record_hash: T.StringType = column(
        "SHA-256 of the source columns as they came, as JSON with sorted keys", action=Action.FAIL
    )
    processed_date: T.DateType = column("day on which a run wrote the row", action=Action.FAIL)


class StateRow(Contract):
    """What every row of a table with a state has (`scd.py`)."""

    is_deleted: T.BooleanType = column("whether the source deleted the key", action=Action.FAIL)
    feed_day: T.DateType = column("day on which the source delivered the change", action=Action.FAIL)
    record_hash: T.StringType = column("SHA-256 of what the change says", action=Action.FAIL)
    processed_date: T.DateType = column("day on which a run validated the change", action=Action.FAIL)


class CurrentState(StateRow):
    """The last change of each key; a deleted key stays, so that no late older change brings it back."""

    version: T.IntegerType = column("number of the feed day's landing that the change came from", action=Action.FAIL)


class History(CurrentState):
    """Every version of each key, without gap or overlap."""

    effective_from: T.TimestampNTZType = column("time from which the version is valid", action=Action.FAIL)
    effective_to: T.TimestampNTZType = column("time from which the next one is valid; none: current", nullable=True)
    is_current: T.BooleanType = column("whether it is the newest version of its key", action=Action.FAIL)


class SnapshotHistory(StateRow):
    """Every version of each key, by feed day, without gap or overlap."""

    effective_from: T.DateType = column("feed day from which the version is valid", action=Action.FAIL)
    effective_to: T.DateType = column("feed day from which the next one is valid; none: current", nullable=True)
    is_current: T.BooleanType = column("whether it is the newest version of its key", action=Action.FAIL)
