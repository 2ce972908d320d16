"""Levels: what each day was built from, against what its inputs are now. What is behind must be built again.

Nothing is counted and nothing is remembered: both sides are read from the Delta logs, so no event can be lost by a
daemon that was down, a run that died or a cursor that went missing. Logs are read on from where they were left.

A day of a table is behind when an input changed it (or a day that it reads) at a version newer than the one that the
day's commit pinned. Maintenance (`dataChange=false`) is no change.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from lakehouse_assets.platform.catalog import Catalog
from lakehouse_assets.platform.delta import Note, open_table
from lakehouse_assets.platform.journal import Failure, failures
from lakehouse_assets.platform.landing import manifest_path
from lakehouse_assets.platform.plan import Lake, landed_name
from lakehouse_assets.platform.table import DAY_COLUMN, LANDING_LAYER, Ledger, Read, Span, Table, TableKey


@dataclass
class TableLevels:
    """A table's log, read so far: the last version that changed each day, and the note that built it."""

    path: Path
    seen: int = -1
    changed: dict[date, int] = field(default_factory=dict)
    built: dict[date, Note] = field(default_factory=dict)
    newest: Note | None = None

    def read_on(self) -> None:
        """Read the commits that came since. A table that was made anew is read from its beginning."""
        table = open_table(self.path)
        now = -1 if table is None else table.version()
        if now < self.seen:
            self.seen, self.changed, self.built, self.newest = -1, {}, {}, None
        for version in range(self.seen + 1, now + 1):
            self._take(version)
        self.seen = now

    def _take(self, version: int) -> None:
        actions = list(_actions(self.path, version))
        info = next((action["commitInfo"] for action in actions if "commitInfo" in action), {})
        note = Note.load(info.get("userMetadata"))
        days = note.days if note else frozenset(_touched(self.path, actions))
        self.changed |= dict.fromkeys(days, version)
        if note:
            self.built |= dict.fromkeys(days, note)
            self.newest = note


def _actions(path: Path, version: int) -> Iterator[dict[str, dict[str, Any]]]:
    log = path / "_delta_log" / f"{version:020d}.json"
    if log.exists():
        yield from (json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line)


def _touched(path: Path, actions: list[dict[str, dict[str, Any]]]) -> Iterator[date]:
    """Feed days of a commit without a note: of the rows it added, and of the files it removed."""
    for action in actions:
        change = action.get("add") or action.get("remove")
        if not change or not change.get("dataChange", True):
            continue
        file = path / change["path"]
        if file.exists():
            yield from (day for day in pq.read_table(file, columns=[DAY_COLUMN])[DAY_COLUMN].unique().to_pylist())


class Levels:
    """The levels of every table of a lake. Keep one per process: reading on is cheap, reading anew is not."""

    def __init__(self, lake: Lake, catalog: Catalog) -> None:
        self._lake, self._catalog = lake, catalog
        self._tables: dict[TableKey, TableLevels] = {}

    def of(self, key: TableKey) -> TableLevels:
        """A table's levels, as far as they were read."""
        if key not in self._tables:
            landed = key.layer == LANDING_LAYER
            path = manifest_path(self._lake.landing, landed_name(key)) if landed else self._lake.path(key)
            self._tables[key] = TableLevels(path)
        return self._tables[key]

    def read_on(self) -> None:
        """Read every log on."""
        for table in self._catalog.tables:
            for key in (table.key, *(read.table for read in table.reads.values())):
                self.of(key).read_on()

    def behind(self, table: Table) -> frozenset[date]:
        """Days of a table to build again: behind, not blocked by an input, not failed at this very level."""
        stale: dict[date, dict[str, int]] = {}
        for name, read in table.reads.items():
            for day, version in self._behind_input(table, name, read):
                stale.setdefault(day, {})[name] = version
        failed = failures(self._lake.tables, table.key.domain, str(table.key), self._lake.path(table.key))
        blocked = self._blocked_from(table)
        return frozenset(
            day
            for day, wanted in stale.items()
            if not blocked(day) and not (day in failed and _same_level(failed[day], wanted))
        )

    def _behind_input(self, table: Table, name: str, read: Read) -> Iterator[tuple[date, int]]:
        changed, own = self.of(read.table).changed, self.of(table.key)
        last_day = max(changed, default=None)
        for day, version in changed.items():
            for reader in _readers(table, read, day, last_day):
                note = own.newest if isinstance(table.write, Ledger) else own.built.get(reader)
                pin = note.inputs.get(name) if note else None
                if pin is None or pin.version is None or pin.version < version:
                    yield reader, version

    def _blocked_from(self, table: Table):  # type: ignore[no-untyped-def]
        failed: dict[Read, set[date]] = {}
        for read in table.reads.values():
            if read.table.layer != LANDING_LAYER:
                key = read.table
                failed[read] = set(failures(self._lake.tables, key.domain, str(key), self._lake.path(key)))

        def blocked(day: date) -> bool:
            for read, days in failed.items():
                first, last = read.bounds(day, day)
                if any((first is None or first <= bad) and bad <= last for bad in days):
                    return True
            return False

        return blocked


def _same_level(failure: Failure, wanted: Mapping[str, int]) -> bool:
    """Whether the day failed on these versions, or newer ones: trying again would fail again."""
    versions = {name: failure.inputs.get(name) for name in wanted}
    return all(version is not None and version >= wanted[name] for name, version in versions.items())


def _readers(table: Table, read: Read, day: date, last_day: date | None) -> Iterator[date]:
    """Days of the table that read this day of the input. A ledger recomputes all its days from any one of them."""
    match read.span:
        case Span.DAY:
            yield day
        case Span.LAST:
            yield from (day + timedelta(days=n) for n in range(read.days))
        case Span.THROUGH if isinstance(table.write, Ledger):
            yield day
        case Span.THROUGH:
            yield from (day + timedelta(days=n) for n in range(((last_day or day) - day).days + 1))
        case Span.WHOLE:
            yield day
