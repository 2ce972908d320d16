"""A Delta log read entry by entry: the one way to ask what came since, at a cost that does not grow with history.

delta-rs loads a whole table to answer that. An entry of ours is known by its first line: `commitInfo` comes first.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet as pq

from lakehouse_assets.platform.days import DayRange
from lakehouse_assets.platform.delta import Note, version_of
from lakehouse_assets.platform.table import DAY_COLUMN


@dataclass(frozen=True)
class Entry:
    """One commit: our note, or the feed days that somebody else's commit touched (maintenance touches none).

    Not `complete`: a file that it changed is gone, and nothing says which days it held.
    """

    version: int
    at: datetime
    operation: str
    note: Note | None
    touched: frozenset[date]
    complete: bool = True


def log_file(path: Path, version: int) -> Path:
    """Where a table's log keeps a version."""
    return path / "_delta_log" / f"{version:020d}.json"


def newest_version(path: Path, seen: int) -> int | None:
    """The newest version, looking on from one already seen; None when there is no table."""
    if not log_file(path, seen).exists():
        return version_of(path)
    while log_file(path, seen + 1).exists():
        seen += 1
    return seen


def read_entry(path: Path, version: int) -> Entry | None:
    """One commit, or None when the log no longer has it."""
    log = log_file(path, version)
    try:
        text = log.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    first, _, rest = text.partition("\n")
    actions = [json.loads(first)]
    note = Note.load(actions[0].get("commitInfo", {}).get("userMetadata"))
    if note is None:
        actions += [json.loads(line) for line in rest.splitlines() if line]
    info: dict[str, Any] = next((action["commitInfo"] for action in actions if "commitInfo" in action), {})
    note = note or Note.load(info.get("userMetadata"))
    held = [] if note else [_days_of(path, change) for change in _changes(actions)]
    return Entry(
        version=version,
        at=datetime.fromtimestamp(info.get("timestamp", 0) / 1000, UTC),
        operation=info.get("operation", "unknown"),
        note=note,
        touched=frozenset().union(*[days for days in held if days is not None]),
        complete=None not in held,
    )


def _changes(actions: list[dict[str, dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Files that were added or removed with their rows."""
    for action in actions:
        change = action.get("add") or action.get("remove")
        if change and change.get("dataChange", True):
            yield change


def _days_of(path: Path, change: dict[str, Any]) -> frozenset[date] | None:
    """Feed days of a file: by its statistics if they name one day, else by its rows; None where nothing says."""
    bounds = json.loads(change.get("stats") or "{}")
    first, last = (bounds.get(side, {}).get(DAY_COLUMN) for side in ("minValues", "maxValues"))
    if first and first == last:
        return frozenset({date.fromisoformat(first)})
    file = path / unquote(change["path"])
    if file.exists():
        if DAY_COLUMN not in pq.read_schema(file).names:
            return frozenset()
        return frozenset(
            day for day in pq.read_table(file, columns=[DAY_COLUMN])[DAY_COLUMN].unique().to_pylist() if day
        )
    return frozenset(DayRange(date.fromisoformat(first), date.fromisoformat(last))) if first and last else None


def unjudged(path: Path, seen: int = 0) -> dict[date, int]:
    """Days that commits made outside Dagster touched and nobody has judged since, with the newest such version.

    Read back to the newest note, which carries what was outstanding before it. `seen`: a version known to exist.
    """
    foreign: list[Entry] = []
    version = newest_version(path, seen)
    while version is not None and version >= 0:
        entry = read_entry(path, version)
        if entry is None:
            break
        if entry.note:
            return dict.fromkeys(entry.note.unjudged, version) | _days(foreign)
        foreign.append(entry)
        version -= 1
    return _days(foreign)


def _days(newest_first: list[Entry]) -> dict[date, int]:
    return {day: entry.version for entry in reversed(newest_first) for day in entry.touched}
