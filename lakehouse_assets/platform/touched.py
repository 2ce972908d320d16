"""The feed days of a commit, as its log entry and the files it names tell."""

import json
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from lakehouse_assets.platform.table import DAY_COLUMN


def log_file(path: Path, version: int) -> Path:
    """Where a table's log keeps a version."""
    return path / "_delta_log" / f"{version:020d}.json"


def touched_days(path: Path, actions: list[dict[str, dict[str, Any]]]) -> Iterator[date]:
    """Feed days of the rows that were added, and of the files that were removed; maintenance touches none."""
    for action in actions:
        change = action.get("add") or action.get("remove")
        if not change or not change.get("dataChange", True):
            continue
        bounds = list(_by_statistics(change))
        file = path / change["path"]
        if len(bounds) != 1 and file.exists():
            if DAY_COLUMN in pq.read_schema(file).names:
                yield from pq.read_table(file, columns=[DAY_COLUMN])[DAY_COLUMN].unique().to_pylist()
        else:
            yield from bounds


def rows_per_day(path: Path, version: int) -> dict[date, int]:
    """How many rows of each feed day a commit added."""
    found: dict[date, int] = {}
    for action in actions_of(path, version):
        change = action.get("add")
        if not change:
            continue
        bounds = list(_by_statistics(change))
        if len(bounds) == 1:
            counted = {bounds[0]: int(json.loads(change["stats"])["numRecords"])}
        else:
            days = pq.read_table(path / change["path"], columns=[DAY_COLUMN])[DAY_COLUMN].value_counts()
            counted = {one["values"].as_py(): one["counts"].as_py() for one in days}
        for day, rows in counted.items():
            found[day] = found.get(day, 0) + rows
    return dict(sorted(found.items()))


def actions_of(path: Path, version: int) -> list[dict[str, dict[str, Any]]]:
    """The actions of a commit; none when the log no longer has it."""
    try:
        lines = log_file(path, version).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line]


def _by_statistics(change: Mapping[str, Any]) -> Iterator[date]:
    """Days that the file may hold, as Delta's statistics say: the first to the last."""
    bounds = json.loads(change.get("stats") or "{}")
    first, last = (bounds.get(side, {}).get(DAY_COLUMN) for side in ("minValues", "maxValues"))
    if first and last:
        days = (date.fromisoformat(last) - date.fromisoformat(first)).days
        yield from (date.fromisoformat(first) + timedelta(days=n) for n in range(days + 1))
