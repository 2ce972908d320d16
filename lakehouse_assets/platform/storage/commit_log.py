"""A Delta log read entry by entry: the one way to ask what came since, at a cost that does not grow with history.

delta-rs loads a whole table to answer that. An entry of ours is known by its first line: `commitInfo` comes first.
"""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from lakehouse_assets.platform.storage.commit_actions import actions_of, log_file, touched_days
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata
from lakehouse_assets.platform.storage.delta_table import commit_at, version_of
from lakehouse_assets.platform.storage.location import Location


@dataclass(frozen=True)
class Entry:
    """One commit: our note, or the feed days that somebody else's commit touched (maintenance touches none).

    Not `complete`: a file that it changed is gone, and nothing says which days it held.
    """

    version: int
    at: datetime
    operation: str
    metadata: CommitMetadata | None
    touched: frozenset[date]
    complete: bool = True


def newest_version(path: Location, seen: int = -1) -> int | None:
    """The newest version, looking on from one already seen, or from the last checkpoint; None: there is no table."""
    start = max(seen, _checkpoint(path)) if seen <= 0 else seen
    if not log_file(path, max(start, 0)).is_file():
        nothing = isinstance(path, Path) and not (path / "_delta_log").is_dir()
        return None if nothing else version_of(path)
    version = max(start, 0)
    while log_file(path, version + 1).is_file():
        version += 1
    return version


def _checkpoint(path: Location) -> int:
    """The version of which the log says that it is its last checkpoint; -1: it says nothing."""
    try:
        checkpoint = json.loads((path / "_delta_log" / "_last_checkpoint").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):  # a hint that is torn is no hint
        return -1
    return int(checkpoint["version"])


def read_entry(path: Location, version: int) -> Entry | None:
    """One commit, or None when the log no longer has it."""
    commit = commit_at(path, version)
    if commit is None:
        return None
    touched, complete = (frozenset[date](), True) if commit.metadata else touched_days(path, actions_of(path, version))
    at = datetime.fromtimestamp(commit.timestamp / 1000, UTC)
    return Entry(version, at, commit.operation, commit.metadata, touched, complete)


def unvalidated(path: Location, seen: int = -1) -> dict[date, int]:
    """Days that commits made outside Dagster touched and nobody has judged since, with the newest such version.

    Read back to the version that the newest note's step started from: the note carries what was outstanding there, and
    says nothing of what somebody else committed meanwhile. Who asks again and again reads on instead (`staleness.py`).
    `seen`: a version known to exist.
    """
    foreign: list[Entry] = []
    carried: dict[date, int] = {}
    floor: int | None = None
    version = newest_version(path, seen)
    while version is not None and version > (-1 if floor is None else floor):
        entry = read_entry(path, version)
        if entry is None:
            break
        if entry.metadata is None:
            foreign.append(entry)
        elif floor is None:
            carried, floor = dict.fromkeys(entry.metadata.unvalidated, version), known_until(entry.metadata, version)
        version -= 1
    return carried | _days(foreign)


def known_until(metadata: CommitMetadata, version: int) -> int:
    """The newest version of which a note tells what was unjudged: the one its step started from."""
    return version - 1 if metadata.base is None else metadata.base


def _days(newest_first: list[Entry]) -> dict[date, int]:
    return {day: entry.version for entry in reversed(newest_first) for day in entry.touched}
