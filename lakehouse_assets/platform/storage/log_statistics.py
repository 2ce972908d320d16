"""What the statistics of a Delta table's files say of its rows: read from its log, so that no file is opened."""

from collections.abc import Collection, Iterator
from datetime import date
from typing import Any

from deltalake import DeltaTable

from lakehouse_assets.platform.common.days import ranges
from lakehouse_assets.platform.storage.delta_table import open_table
from lakehouse_assets.platform.storage.location import Location, answering, arrow_table


def may_hold(path: Location, column: str, days: Collection[date], version: int | None = None) -> bool:
    """Whether, by the statistics of its files, the table (default: its newest version) may have rows of these days."""
    if not days:
        return False
    return any(rows is None or rows for rows in _rows_of_files(path, version, column, [(min(days), max(days))]))


def rows_within(path: Location, version: int | None, column: str, first: date | None, last: date) -> int:
    """At most so many rows of days `first`..`last` a version has, by the statistics of its files; None: no
    table."""
    return (
        sum(rows or 0 for rows in _rows_of_files(path, version, column, [(first, last)])) if version is not None else 0
    )


def most_rows(path: Location, version: int, column: str, days: Collection[date]) -> int | None:
    """At most so many rows of these days a version has; None where the statistics of a file do not tell."""
    counts = list(_rows_of_files(path, version, column, [(part.first, part.last) for part in ranges(days)]))
    return None if None in counts else sum(rows or 0 for rows in counts)


def rows_of_days(path: Location, version: int, column: str, days: Collection[date]) -> dict[date, int] | None:
    """Rows of each of these days, by the statistics of files that hold one day each.

    None where one holds several, or where rows of a file may be deleted without writing it anew (deletion vectors).
    """
    table = open_table(path, version)
    if table is not None and "deletionVectors" in (table.protocol().reader_features or ()):
        return None
    found: dict[date, int] = {}
    of = _files_of(table, path)
    unknown = [None] * len(of.get("path", ()))
    for rows, low, high in zip(
        *[of.get(name, unknown) for name in ("num_records", f"min.{column}", f"max.{column}")], strict=True
    ):
        if rows is None or low is None or high is None:
            return None
        if low == high and low in days:
            found[low] = found.get(low, 0) + rows
        elif low != high and any(low <= day <= high for day in days):
            return None
    return found


def bytes_of(path: Location, version: int | None, column: str, values: Collection[object]) -> int:
    """Size of the files of these values of a partition column, as of a version; of all where it is none."""
    found = files(path, version)
    sizes = found.get("size_bytes", [])
    of = found.get(f"partition.{column}")
    return sum(sizes) if of is None else sum(size for value, size in zip(of, sizes, strict=True) if value in values)


def _rows_of_files(
    path: Location, version: int | None, column: str, spans: Collection[tuple[date | None, date]]
) -> Iterator[int | None]:
    """Rows of each file that may hold a day of these spans (first, None: the beginning; last); None: nothing says."""
    found = files(path, version)
    unknown = [None] * len(found.get("path", ()))
    counts = found.get("num_records", unknown)
    lows, highs = (found.get(f"{bound}.{column}", unknown) for bound in ("min", "max"))
    for count, low, high in zip(counts, lows, highs, strict=True):
        unbounded = low is None or high is None
        if unbounded or any(low <= last and (first is None or high >= first) for first, last in spans):
            yield count


def files(path: Location, version: int | None) -> dict[str, list[Any]]:
    """The files of a version, column by column, with their statistics; nothing where there is no table.

    Raises StoreError.
    """
    return _files_of(open_table(path, version), path)


def _files_of(table: DeltaTable | None, path: Location) -> dict[str, list[Any]]:
    if table is None:
        return {}
    with answering(path):
        return arrow_table(table.get_add_actions(flatten=True)).to_pydict()
