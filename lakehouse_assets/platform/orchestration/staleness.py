"""Staleness: the versions that each day was built from, compared with those that its inputs have now.

Nothing is counted and nothing is remembered: both sides are read from the Delta logs, so no event can be lost by a
daemon that was down, a run that died or a cursor that went missing. Logs are read on from where they were left.

A day of a table is stale when an input changed a day that it reads at a version newer than the one that the day's
commit pinned. Maintenance (`dataChange=false`) is no change.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from math import inf
from time import monotonic

from lakehouse_assets.platform.common.days import DayRange
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import LANDING_LAYER, Ledger, Overwrite, Read, Span, Table, TableKey
from lakehouse_assets.platform.fingerprint.code_version import code_version
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.results.audit_log import Failure, audit_path, failures
from lakehouse_assets.platform.storage.commit_actions import log_file
from lakehouse_assets.platform.storage.commit_log import Entry, known_until, newest_version, read_entry
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, InputVersion, Kind
from lakehouse_assets.platform.storage.location import Location, version_of_file


@dataclass(frozen=True)
class Change:
    """The newest commit that changed a day."""

    version: int
    at: datetime


@dataclass(frozen=True)
class Built:
    """A step's commit: its note, its version, and when it was made."""

    metadata: CommitMetadata
    version: int
    at: datetime


@dataclass
class TableVersions:
    """A table's log, read so far: per day the newest change, the step that built it, and the versions of what repaired
    a failed day, of what nobody has judged and of what a stream brought. `created`: when the table was made (None: its
    log does not say any more).
    """

    path: Location
    landed: bool = False
    seen: int = -1
    changed: dict[date, Change] = field(default_factory=dict)
    built: dict[date, Built] = field(default_factory=dict)
    repaired: dict[date, int] = field(default_factory=dict)
    unvalidated: dict[date, int] = field(default_factory=dict)
    streamed: dict[date, int] = field(default_factory=dict)
    newest: Built | None = None
    created: datetime | None = None
    _identity: tuple[object, int] | None = None

    def refresh(self, deadline: float = inf) -> bool:
        """Read the commits that came since; whether that was all of them before `deadline` (of `monotonic`).

        A table that was made anew is read from its beginning.
        """
        if self.seen >= 0 and self._identity != _identity(self.path, self.seen):
            self.seen, self.newest, self.created = -1, None, None
            for known in (self.changed, self.built, self.repaired, self.unvalidated, self.streamed):
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

    def newest_change(self, first: date | None, last: date) -> Change | None:
        """The newest change of one of these days; None where nothing changed them."""
        days = [change for day, change in self.changed.items() if (first is None or day >= first) and day <= last]
        return max(days, key=lambda change: change.version, default=None)

    def made(self, table: Table, day: date) -> bool:
        """Whether the table holds the day. A ledger publishes every day up to the one asked for."""
        if isinstance(table.write, Ledger):
            return self.newest is not None and day <= published(self.newest.metadata)
        return day in self.changed or day in self.built

    def _take(self, entry: Entry) -> None:
        metadata = entry.metadata
        if entry.version == 0:
            self.created = entry.at
        if metadata is None:
            touched = entry.touched if entry.complete else entry.touched | self.changed.keys()
            if self.landed:
                self.changed |= dict.fromkeys(touched, Change(entry.version, entry.at))
            else:
                self.unvalidated |= dict.fromkeys(touched, entry.version)
            return
        known = known_until(metadata, entry.version)
        self.unvalidated = {
            day: at for day, at in self.unvalidated.items() if day in metadata.unvalidated or at > known
        }
        if metadata.kind is not Kind.ERASURE:
            self.changed |= dict.fromkeys(metadata.days, Change(entry.version, entry.at))
        if metadata.kind is Kind.STREAM:
            self.streamed |= dict.fromkeys(metadata.days, entry.version)
        if metadata.kind in (Kind.STEP, Kind.ADOPTION):
            self.repaired |= dict.fromkeys(metadata.made, entry.version)
        if metadata.kind is Kind.STEP:
            self.newest = Built(metadata, entry.version, entry.at)
            self.built |= dict.fromkeys(metadata.made, self.newest)


def published(metadata: CommitMetadata) -> date:
    """Through which day a ledger's commit publishes."""
    return metadata.published or max(metadata.made, default=date.min)


def _identity(path: Location, version: int) -> tuple[object, int] | None:
    """What tells a log entry from one of the same number in a table that was deleted and made anew."""
    return version_of_file(log_file(path, version))


class Staleness:
    """The levels of every table of a lake. Keep one per process: reading on is cheap, reading anew is not."""

    def __init__(self, lake: Lake, catalog: Catalog) -> None:
        self._lake, self._catalog = lake, catalog
        self._tables: dict[TableKey, TableVersions] = {}
        self._failed: dict[TableKey, tuple[tuple[int, int], dict[date, Failure]]] = {}

    def of(self, key: TableKey) -> TableVersions:
        """A table's levels, as far as they were read."""
        if key not in self._tables:
            self._tables[key] = TableVersions(self._lake.log(key), landed=key.layer == LANDING_LAYER)
        return self._tables[key]

    def refresh(self, deadline: float = inf) -> bool:
        """Read every log on; whether all was read before `deadline` (of `monotonic`). Go on where not."""
        keys = {key for table in self._catalog.tables for key in (table.key, *(r.table for r in table.reads.values()))}
        return all(self.of(key).refresh(deadline) for key in sorted(keys))

    def stale_days(self, table: Table) -> dict[date, datetime]:
        """Days of a table to build again, and since when: not those that an input blocks or that failed at this level.

        Of several changes that leave a day behind, the newest is told.
        """
        wanted = self.to_make(table, self.stale(table))
        return {day: max(change.at for change in changes.values()) for day, changes in wanted.items()}

    def to_make(self, table: Table, stale: Mapping[date, Mapping[str, Change]]) -> dict[date, Mapping[str, Change]]:
        """Those days, of these (with what changed them), that can be made now: no input blocks them, and they have not
        failed on the same bytes with the same code. What a ledger did not publish because a later day was bad, it can.
        """
        if not stale:
            return {}
        failed = self.failures(table.key)
        blocking = [(read, bad) for read in table.reads.values() if (bad := self._not_to_be_read(read))]
        through = self._published(table)
        again = {day for day in stale if day in failed and self._fails_again(table, failed[day], day)}
        if isinstance(table.write, Ledger) and (bad := {day for day in again if not failed[day].along}):
            again -= {day for day in again if through < day < min(bad)}
        return {
            day: changes for day, changes in stale.items() if day not in again and not _blocked(day, through, blocking)
        }

    def stale(self, table: Table) -> dict[date, dict[str, Change]]:
        """Days of a table older than an input, by input its newest change; also those that cannot be made now."""
        found: dict[date, dict[str, Change]] = {}
        for name, read in table.reads.items():
            for day, change in self._stale_by_input(table, name, read):
                known = found.setdefault(day, {}).get(name)
                if known is None or known.version < change.version:
                    found[day][name] = change
        return found

    def _stale_by_input(self, table: Table, name: str, read: Read) -> Iterator[tuple[date, Change]]:
        source, own = self.of(read.table), self.of(table.key)
        for reader, change in _changes_read(table, read, source.changed, own.built):
            if isinstance(table.write, Ledger) or (isinstance(table.write, Overwrite) and read.span is Span.WHOLE):
                # One commit stands for the whole table, once it has the day at all.
                built = own.newest if own.made(table, reader) else None
            else:
                built = own.built.get(reader)
            input_version = built.metadata.inputs.get(name) if built else None
            if built is None or not _has_read(source, change, input_version, built.at):
                yield reader, change

    def _published(self, table: Table) -> date:
        newest = self.of(table.key).newest
        return published(newest.metadata) if newest and isinstance(table.write, Ledger) else date.min

    def _not_to_be_read(self, read: Read) -> set[date]:
        """Days of an input that nobody has judged since somebody else wrote them, or that failed a blocking check.

        What reads the whole of an input reads what there is: a failed day has nothing of it.
        """
        if read.table.layer == LANDING_LAYER:
            return set()
        unvalidated = self.of(read.table).unvalidated.keys()
        return set(unvalidated) if read.span is Span.WHOLE else self.failures(read.table).keys() | unvalidated

    def _fails_again(self, table: Table, failure: Failure, day: date) -> bool:
        """Whether the day failed on all that it would read now, by this code: trying again would fail again.

        Of a table that is one whole it failed with whichever day of its run was bad: any change may mend that.
        """
        if failure.code_version != code_version(table):
            return False
        whole = isinstance(table.write, Ledger | Overwrite)
        for name, read in table.reads.items():
            source = self.of(read.table)
            change = source.newest_change(*((None, date.max) if whole else read.bounds(day, day)))
            if change and not _has_read(source, change, failure.inputs.get(name), failure.at):
                return False
        return True

    def failures(self, key: TableKey) -> dict[date, Failure]:
        """Failed days of a table; asked of the audit again only when that, or the table, has a new version."""
        audit = audit_path(self._lake.tables, key.domain)
        seen, known = self._failed.get(key, ((-1, -1), {}))
        own = self.of(key)
        newest = newest_version(audit, seen[0])
        now = (-1 if newest is None else newest, own.seen)
        if now != seen:
            known = failures(self._lake.tables, key.domain, str(key), own.repaired)
            self._failed[key] = now, known
        return known


def _has_read(source: TableVersions, change: Change, input_version: InputVersion | None, ended: datetime) -> bool:
    """Whether who read this version of an input, and ended at that time, read a change of it.

    Not where the input was deleted and made anew since that version, also while who read it was at work: then the
    version is one of another table.
    """
    if input_version is None or input_version.version is None:
        return False
    read = ended if input_version.at is None else datetime.fromtimestamp(input_version.at / 1000, UTC)
    anew = source.created is not None and source.created > read
    return change.version <= input_version.version <= source.seen and not anew


def _blocked(day: date, through: date, blocking: list[tuple[Read, set[date]]]) -> bool:
    """Whether the day reads bad days. A ledger reads through what it has published."""
    for read, bad_days in blocking:
        first, last = read.bounds(day, day)
        last = max(last, through)
        if any((first is None or first <= bad) and bad <= last for bad in bad_days):
            return True
    return False


def _changes_read(
    table: Table, read: Read, changed: Mapping[date, Change], built: Collection[date]
) -> Iterator[tuple[date, Change]]:
    """Days of the table that read changed days of an input, and what changed them; of several that one reads, at least
    the newest. `built`: the days that the table has.

    A ledger recomputes all its days from any one of them.
    """
    match read.span:
        case Span.LAST:
            for day, change in changed.items():
                last = min(day.toordinal() + read.days - 1, date.max.toordinal())
                yield from ((date.fromordinal(n), change) for n in range(day.toordinal(), last + 1))
        case Span.THROUGH if changed and not isinstance(table.write, Ledger):
            first, last_day = min(changed), max(changed)
            newest = changed[first]
            for day in sorted({*DayRange(first, last_day), *(one for one in built if one > last_day)}):
                newest = max(newest, changed.get(day, newest), key=_version)
                yield day, newest
        case Span.WHOLE if changed and not isinstance(table.write, Overwrite | Ledger):
            yield from changed.items()
            newest = max(changed.values(), key=_version)
            yield from ((day, newest) for day in built)
        case _:
            yield from changed.items()


def _version(change: Change) -> int:
    return change.version
