"""Levels: what each day was built from, against what its inputs are now. What is behind must be built again.

Nothing is counted and nothing is remembered: both sides are read from the Delta logs, so no event can be lost by a
daemon that was down, a run that died or a cursor that went missing. Logs are read on from where they were left.

A day of a table is behind when an input changed it (or a day that it reads) at a version newer than the one that the
day's commit pinned. Maintenance (`dataChange=false`) is no change.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from math import inf
from time import monotonic

from lakehouse_assets.platform.catalog import Catalog
from lakehouse_assets.platform.delta import Kind, Note
from lakehouse_assets.platform.delta_log import Entry, known_until, newest_version, read_entry
from lakehouse_assets.platform.journal import Failure, audit_path, failures
from lakehouse_assets.platform.landing import manifest_path
from lakehouse_assets.platform.plan import Lake, landed_name
from lakehouse_assets.platform.store import Location, version_of_file
from lakehouse_assets.platform.table import LANDING_LAYER, Ledger, Read, Span, Table, TableKey
from lakehouse_assets.platform.touched import log_file


@dataclass(frozen=True)
class Change:
    """The newest commit that changed a day."""

    version: int
    at: datetime


@dataclass
class TableLevels:
    """A table's log, read so far: per day the newest change, the note that built it, and the versions of what nobody
    has judged and of what a stream brought.
    """

    path: Location
    landed: bool = False
    seen: int = -1
    changed: dict[date, Change] = field(default_factory=dict)
    built: dict[date, Note] = field(default_factory=dict)
    unjudged: dict[date, int] = field(default_factory=dict)
    streamed: dict[date, int] = field(default_factory=dict)
    newest: Note | None = None
    _identity: tuple[object, int] | None = None

    def read_on(self, deadline: float = inf) -> bool:
        """Read the commits that came since; whether that was all of them before `deadline` (of `monotonic`).

        A table that was made anew is read from its beginning.
        """
        if self.seen >= 0 and self._identity != _identity(self.path, self.seen):
            self.seen, self.newest = -1, None
            for known in (self.changed, self.built, self.unjudged, self.streamed):
                known.clear()
        now = newest_version(self.path, self.seen)
        for version in range(self.seen + 1, -1 if now is None else now + 1):
            entry = read_entry(self.path, version)
            if entry is not None:
                self._take(entry)
            self.seen = version
            if monotonic() > deadline:
                break
        self._identity = _identity(self.path, self.seen)
        return self.seen == (-1 if now is None else now)

    def newest_change(self, first: date | None, last: date) -> int:
        """The newest version that changed one of these days; none: -1."""
        days = self.changed.items()
        return max((c.version for day, c in days if (first is None or day >= first) and day <= last), default=-1)

    def _take(self, entry: Entry) -> None:
        note = entry.note
        if note is None:
            touched = entry.touched if entry.complete else entry.touched | self.changed.keys()
            if self.landed:
                self.changed |= dict.fromkeys(touched, Change(entry.version, entry.at))
            else:
                self.unjudged |= dict.fromkeys(touched, entry.version)
            return
        known = known_until(note, entry.version)
        self.unjudged = {day: at for day, at in self.unjudged.items() if day in note.unjudged or at > known}
        if note.kind is not Kind.ERASURE:
            self.changed |= dict.fromkeys(note.days, Change(entry.version, entry.at))
        if note.kind is Kind.STREAM:
            self.streamed |= dict.fromkeys(note.days, entry.version)
        if note.kind is Kind.STEP:
            self.built |= dict.fromkeys(note.made, note)
            self.newest = note


def _identity(path: Location, version: int) -> tuple[object, int] | None:
    """What tells a log entry from one of the same number in a table that was deleted and made anew."""
    return version_of_file(log_file(path, version))


class Levels:
    """The levels of every table of a lake. Keep one per process: reading on is cheap, reading anew is not."""

    def __init__(self, lake: Lake, catalog: Catalog) -> None:
        self._lake, self._catalog = lake, catalog
        self._tables: dict[TableKey, TableLevels] = {}
        self._failed: dict[TableKey, tuple[tuple[int, int], dict[date, Failure]]] = {}

    def of(self, key: TableKey) -> TableLevels:
        """A table's levels, as far as they were read."""
        if key not in self._tables:
            landed = key.layer == LANDING_LAYER
            path = manifest_path(self._lake.landing, landed_name(key)) if landed else self._lake.path(key)
            self._tables[key] = TableLevels(path, landed)
        return self._tables[key]

    def read_on(self, deadline: float = inf) -> bool:
        """Read every log on; whether all was read before `deadline` (of `monotonic`). Go on where not."""
        keys = {key for table in self._catalog.tables for key in (table.key, *(r.table for r in table.reads.values()))}
        return all(self.of(key).read_on(deadline) for key in sorted(keys))

    def behind(self, table: Table) -> dict[date, datetime]:
        """Days of a table to build again, and since when: not those that an input blocks or that failed at this level.

        Of several changes that leave a day behind, the newest is told.
        """
        stale = self.stale(table)
        if not stale:
            return {}
        failed = self.failures(table.key)
        blocking = [(read, bad) for read in table.reads.values() if (bad := self._not_to_be_read(read))]
        return {
            day: max(change.at for change in wanted.values())
            for day, wanted in stale.items()
            if not _blocked(day, blocking) and not (day in failed and _same_level(failed[day], wanted))
        }

    def stale(self, table: Table) -> dict[date, dict[str, Change]]:
        """Days of a table older than an input, by input its newest change; also those that cannot be made now."""
        found: dict[date, dict[str, Change]] = {}
        for name, read in table.reads.items():
            for day, change in self._behind_input(table, name, read):
                known = found.setdefault(day, {}).get(name)
                if known is None or known.version < change.version:
                    found[day][name] = change
        return found

    def _behind_input(self, table: Table, name: str, read: Read) -> Iterator[tuple[date, Change]]:
        changed, own = self.of(read.table).changed, self.of(table.key)
        seen = self.of(read.table).seen  # a pin beyond it: the input was deleted and made anew
        for reader, change in _changes_read(table, read, changed):
            note = own.newest if isinstance(table.write, Ledger) else own.built.get(reader)
            pin = note.inputs.get(name) if note else None
            if pin is None or pin.version is None or not change.version <= pin.version <= seen:
                yield reader, change

    def _not_to_be_read(self, read: Read) -> set[date]:
        """Days of an input that nobody has judged since somebody else wrote them, or that failed a blocking check.

        What reads the whole of an input reads what there is: a failed day has nothing of it.
        """
        if read.table.layer == LANDING_LAYER:
            return set()
        unjudged = self.of(read.table).unjudged.keys()
        return set(unjudged) if read.span is Span.WHOLE else self.failures(read.table).keys() | unjudged

    def failures(self, key: TableKey) -> dict[date, Failure]:
        """Failed days of a table; asked of the audit again only when that, or the table, has a new version."""
        audit = audit_path(self._lake.tables, key.domain)
        seen, known = self._failed.get(key, ((-1, -1), {}))
        now = (newest_version(audit, max(seen[0], 0)) or 0, self.of(key).seen)
        if now != seen:
            known = failures(self._lake.tables, key.domain, str(key), self._lake.path(key))
            self._failed[key] = now, known
        return known


def _blocked(day: date, blocking: list[tuple[Read, set[date]]]) -> bool:
    for read, bad_days in blocking:
        first, last = read.bounds(day, day)
        if any((first is None or first <= bad) and bad <= last for bad in bad_days):
            return True
    return False


def _same_level(failure: Failure, wanted: Mapping[str, Change]) -> bool:
    """Whether the day failed on these versions, or newer ones: trying again would fail again."""
    versions = {name: failure.inputs.get(name) for name in wanted}
    return all(version is not None and version >= wanted[name].version for name, version in versions.items())


def _changes_read(table: Table, read: Read, changed: Mapping[date, Change]) -> Iterator[tuple[date, Change]]:
    """Days of the table that read changed days of an input, and what changed them; of all days before, the newest.

    A ledger recomputes all its days from any one of them.
    """
    match read.span:
        case Span.LAST:
            for day, change in changed.items():
                yield from ((day + timedelta(days=n), change) for n in range(read.days))
        case Span.THROUGH if changed and not isinstance(table.write, Ledger):
            first, last = min(changed), max(changed)
            newest = changed[first]
            for day in (first + timedelta(days=n) for n in range((last - first).days + 1)):
                newest = max(newest, changed.get(day, newest), key=lambda change: change.version)
                yield day, newest
        case _:
            yield from changed.items()
