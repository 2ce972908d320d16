"""A Delta log read entry by entry: the one way to ask what came since, at a cost that does not grow with history.

delta-rs loads a whole table to answer that. An entry of ours is known by its first line: `commitInfo` comes first.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from lakehouse_assets.platform.delta import Note, version_of
from lakehouse_assets.platform.table import DAY_COLUMN


@dataclass(frozen=True)
class Entry:
    """One commit: our note, or the feed days that somebody else's commit touched (maintenance touches none)."""

    version: int
    at: datetime
    operation: str
    note: Note | None
    touched: frozenset[date]


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
    return Entry(
        version=version,
        at=datetime.fromtimestamp(info.get("timestamp", 0) / 1000, UTC),
        operation=info.get("operation", "unknown"),
        note=note,
        touched=frozenset() if note else frozenset(_touched(path, actions)),
    )


def _touched(path: Path, actions: list[dict[str, dict[str, Any]]]) -> Iterator[date]:
    """Feed days of the rows that were added, and of the files that were removed."""
    for action in actions:
        change = action.get("add") or action.get("remove")
        if not change or not change.get("dataChange", True):
            continue
        bounds = list(_by_statistics(change))
        file = path / change["path"]
        if len(bounds) != 1 and file.exists():
            schema = pq.read_schema(file)
            if DAY_COLUMN in schema.names:
                yield from pq.read_table(file, columns=[DAY_COLUMN])[DAY_COLUMN].unique().to_pylist()
        else:
            yield from bounds


def _by_statistics(change: dict[str, Any]) -> Iterator[date]:
    """Days that the file may hold, as Delta's statistics say: the first to the last."""
    bounds = json.loads(change.get("stats") or "{}")
    first, last = (bounds.get(side, {}).get(DAY_COLUMN) for side in ("minValues", "maxValues"))
    if first and last:
        days = (date.fromisoformat(last) - date.fromisoformat(first)).days
        yield from (date.fromisoformat(first) + timedelta(days=n) for n in range(days + 1))


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
