"""What changed in a table between two versions, and whether an old one can still be read. No Spark."""

from datetime import date

from deltalake.exceptions import DeltaError

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.storage.commit_log import read_entry
from lakehouse_assets.platform.storage.delta_table import open_table
from lakehouse_assets.platform.storage.location import Location, files_of, missing
from lakehouse_assets.platform.storage.log_statistics import files


def changed_days(path: Location, after: int, until: int) -> frozenset[date] | None:
    """Days that the commits after version `after` up to `until` changed; None where the log no longer tells.

    Maintenance (`dataChange=false`) changes no day.
    """
    days: set[date] = set()
    for version in range(after + 1, until + 1):
        entry = read_entry(path, version)
        if entry is None or not entry.complete:
            return None
        days |= entry.metadata.days if entry.metadata else entry.touched
    return frozenset(days)


def is_readable(path: Location, version: int) -> bool:
    """Whether a version can still be read: its log is there, and no vacuum took a file of it."""
    try:
        table = open_table(path, version)
    except DeltaError:
        return False
    return table is not None and not missing(files_of(path, table))


def first_day(path: Location, version: int) -> date | None:
    """The first feed day that a version holds, by the statistics of its files."""
    firsts = files(path, version).get(f"min.{DAY_COLUMN}", ())
    return min((day for day in firsts if day is not None), default=None)
