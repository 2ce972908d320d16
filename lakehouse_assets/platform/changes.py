"""Which feed days of a table changed between two versions, read from its Delta log. No Spark."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.exceptions import DeltaError

from lakehouse_assets.platform.delta import Note, open_table
from lakehouse_assets.platform.table import DAY_COLUMN

Action = dict[str, dict[str, Any]]


def changed_days(path: Path, after: int, until: int) -> frozenset[date] | None:
    """Days that the commits after version `after` up to `until` changed; None where the log or a file is gone.

    Maintenance (`dataChange=false`) changes no day.
    """
    days: set[date] = set()
    for version in range(after + 1, until + 1):
        actions = _actions(path, version)
        if actions is None:
            return None
        info = next((action["commitInfo"] for action in actions if "commitInfo" in action), {})
        note = Note.load(info.get("userMetadata"))
        touched = note.days if note else _days_of_files(path, actions)
        if touched is None:
            return None
        days |= touched
    return frozenset(days)


def is_readable(path: Path, version: int) -> bool:
    """Whether a version can still be read: its log is there, and no vacuum took a file of it."""
    try:
        table = open_table(path, version)
    except DeltaError:
        return False
    if table is None:
        return False
    files = pa.table(table.get_add_actions(flatten=True)).column("path").to_pylist()
    return all((path / unquote(file)).exists() for file in files)


def first_day(path: Path, version: int) -> date | None:
    """The first feed day that a version holds, by the statistics of its files."""
    table = open_table(path, version)
    files = pa.table(table.get_add_actions(flatten=True)) if table is not None else pa.table({})
    if f"min.{DAY_COLUMN}" not in files.column_names:
        return None
    return min((day for day in files[f"min.{DAY_COLUMN}"].to_pylist() if day is not None), default=None)


def _actions(path: Path, version: int) -> list[Action] | None:
    log = path / "_delta_log" / f"{version:020d}.json"
    if not log.exists():
        return None
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line]


def _days_of_files(path: Path, actions: list[Action]) -> frozenset[date] | None:
    """Feed days of the rows that a commit without a note added, and of the files it removed."""
    days: set[date] = set()
    for file in _changed_files(path, actions):
        if not file.exists():
            return None
        days |= {day for day in pq.read_table(file, columns=[DAY_COLUMN])[DAY_COLUMN].unique().to_pylist() if day}
    return frozenset(days)


def _changed_files(path: Path, actions: list[Action]) -> Iterator[Path]:
    for action in actions:
        change = action.get("add") or action.get("remove")
        if change and change.get("dataChange", True):
            yield path / unquote(change["path"])
