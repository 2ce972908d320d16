"""The feed days of a commit, as its log entry and the files it names tell."""

import json
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from lakehouse_assets.platform.common.days import DAY_COLUMN, DayRange
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.storage.location import Location, answering, file_at, parquet, storage_options
from lakehouse_assets.platform.storage.table_features import physical_name

EPOCH = date(1970, 1, 1).toordinal()
Action = dict[str, dict[str, Any]]
DAYS_TAG = "lakehouse.rowsPerDay"
"""Tag of a log entry's file: how many rows of each feed day it held, where that was looked up before it was removed."""


class TornLog(LakehouseError):
    """An entry of a Delta log that is not whole."""


def log_file(path: Location, version: int) -> Location:
    """Where a table's log keeps a version."""
    return path / "_delta_log" / f"{version:020d}.json"


def touched_days(path: Location, actions: list[Action]) -> tuple[frozenset[date], bool]:
    """Feed days of the rows that were added and of the files that were removed; maintenance touches none.

    Also whether that is all of them: not where a file is gone and nothing says which days it held.
    """
    changes = list(_changes(actions))
    held = [_days_of(path, change, DAY_COLUMN) for change in changes]
    if frozenset() in held and (column := _name_in_files(path)) != DAY_COLUMN:
        held = [_days_of(path, change, column) for change in changes]
    return frozenset().union(*[days for days in held if days is not None]), None not in held


def changes_rows(actions: list[Action]) -> bool:
    """Whether a commit adds or removes rows; compaction does not."""
    return any(True for _ in _changes(actions))


def moves_rows(actions: list[Action]) -> bool:
    """Whether a commit puts rows into other files and changes none, as compaction does."""
    return any("add" in action or "remove" in action for action in actions) and not changes_rows(actions)


def _name_in_files(path: Location) -> str:
    """What a table's files call the feed day."""
    with answering(path):
        return physical_name(DeltaTable(str(path), storage_options=storage_options(path)), DAY_COLUMN)


def _changes(actions: list[Action]) -> Iterator[dict[str, Any]]:
    for action in actions:
        change = action.get("add") or action.get("remove")
        if change and change.get("dataChange", True):
            yield change


def _days_of(path: Location, change: dict[str, Any], column: str) -> frozenset[date] | None:
    """Feed days of a file: by its statistics if they name one day, else by its rows; none of rows without
    such a column; None where nothing says.
    """
    first, last = bounds(change, column)
    if first is not None and first == last:
        return frozenset({first})
    rows = days_by_rows(path, change, column)
    if rows is not None:
        return frozenset(rows)
    return frozenset(DayRange(first, last)) if first and last else None


def days_by_rows(path: Location, change: Mapping[str, Any], column: str) -> dict[date, int] | None:
    """How many rows of each feed day a file has, by its tag, else by its rows; None where the file is gone (a vacuum
    removes what no kept version needs).
    """
    if message := (change.get("tags") or {}).get(DAYS_TAG):
        return {date.fromisoformat(day): rows for day, rows in json.loads(message).items()}
    try:
        held = pq.ParquetFile(parquet(file_at(path, change["path"])))
    except FileNotFoundError:
        return None
    if column not in held.schema_arrow.names:
        return {}
    days = held.read(columns=[column])[column].cast(pa.int32()).drop_null().value_counts()
    counted = {EPOCH + one["values"].as_py(): one["counts"].as_py() for one in days}
    return {date.fromordinal(n): rows for n, rows in counted.items() if 0 < n <= date.max.toordinal()}


def rows_per_day(path: Location, version: int) -> dict[date, int | None]:
    """How many rows of each feed day a commit added; None where a file of the day is gone and nothing says how many."""
    found: dict[date, int | None] = {}
    for action in actions_of(path, version):
        change = action.get("add")
        if not change:
            continue
        for day, rows in _added(path, change).items():
            before = found.get(day, 0)
            found[day] = None if rows is None or before is None else before + rows
    return dict(sorted(found.items()))


def _added(path: Location, change: Mapping[str, Any]) -> Mapping[date, int | None]:
    first, last = bounds(change, DAY_COLUMN)
    if first is not None and first == last:
        return {first: int(json.loads(change["stats"])["numRecords"])}
    counted = days_by_rows(path, change, DAY_COLUMN)
    if counted is not None:
        return counted
    return dict.fromkeys(DayRange(first, last) if first and last else ())


def info_of(path: Location, version: int) -> dict[str, Any] | None:
    """What a commit says of itself; None when the log no longer has it. It is the first action, as a rule."""
    try:
        with log_file(path, version).open(encoding="utf-8") as lines:
            found = (json.loads(line) for line in lines if line.strip())
            return next((action["commitInfo"] for action in found if "commitInfo" in action), {})
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise _torn(path, version) from error


def actions_of(path: Location, version: int) -> list[Action]:
    """The actions of a commit; none when the log no longer has it."""
    try:
        lines = log_file(path, version).read_text(encoding="utf-8").split("\n")  # texts may have other ends of lines
    except FileNotFoundError:
        return []
    try:
        return [json.loads(line) for line in lines if line]
    except ValueError as error:
        raise _torn(path, version) from error


def _torn(path: Location, version: int) -> TornLog:
    return TornLog(
        f"{log_file(path, version)}: not a whole log entry of Delta, so nothing of {path} can be read. "
        "Restore this file from a backup."
    )


def bounds(change: Mapping[str, Any], column: str) -> tuple[date | None, date | None]:
    """The first and the last day that a file may hold, as its partition or Delta's statistics say."""
    stats = json.loads(change.get("stats") or "{}")
    of_file = (change.get("partitionValues") or {}).get(column)
    first, last = (of_file or stats.get(side, {}).get(column) for side in ("minValues", "maxValues"))
    return _day(first), _day(last)


def _day(text: str | None) -> date | None:
    """A day of the statistics; None also of one beyond the year 9999, which is no feed day."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None
