"""The plan of a step: which days it makes, of which pinned versions, and which days it must not touch.

A plan is made once, when the step starts, from Delta logs and journals alone: no Spark, no clock.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date

from lakehouse_assets.platform.common.days import DayRange, write_days
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.scd import Scd
from lakehouse_assets.platform.declare.table import (
    LANDING_LAYER,
    Ledger,
    Overwrite,
    Read,
    ReplaceDays,
    Span,
    Table,
    TableKey,
)
from lakehouse_assets.platform.ingest.landing import manifest_path, manifest_version
from lakehouse_assets.platform.planning.contract_change import refuse_changed_contract
from lakehouse_assets.platform.results.audit_log import committed_days, failed_days
from lakehouse_assets.platform.storage.commit_log import unvalidated
from lakehouse_assets.platform.storage.commit_metadata import InputVersion
from lakehouse_assets.platform.storage.delta_table import (
    Commit,
    commit_at,
    commits,
    last_commit,
    open_table,
    version_of,
)
from lakehouse_assets.platform.storage.location import Location
from lakehouse_assets.platform.storage.table_features import require_writable


class LostInput(LakehouseError):
    """An input, or days of it, that an earlier run read is gone: somebody deleted it."""


@dataclass(frozen=True)
class Lake:
    """The two roots of a lakehouse."""

    tables: Location
    landing: Location

    def path(self, key: TableKey) -> Location:
        """Folder of a table."""
        return self.tables.joinpath(*key.parts)

    def quarantine(self, key: TableKey) -> Location:
        """Folder of a table's quarantine."""
        return self.tables.joinpath(key.domain, key.layer, f"{key.name}__quarantine")

    def changes(self, key: TableKey) -> Location:
        """Folder of the changes that a table with a state is folded from."""
        return self.tables.joinpath(key.domain, key.layer, f"{key.name}__changes")

    def version(self, key: TableKey) -> int | None:
        """Newest version of a table, or of the manifest of landed files."""
        if key.layer == LANDING_LAYER:
            return manifest_version(self.landing, landed_name(key))
        return version_of(self.path(key))

    def log(self, key: TableKey) -> Location:
        """Folder of the Delta table that says what a table has, or what was landed."""
        return manifest_path(self.landing, landed_name(key)) if key.layer == LANDING_LAYER else self.path(key)


def landed_name(key: TableKey) -> str:
    """The name under which files of this table are landed: `gmv/purchase`."""
    return f"{key.domain}/{key.name}"


@dataclass(frozen=True)
class Plan:
    """What one step will do. `base` is the table's own version it starts from, `published` the ledger's newest day.

    `unvalidated`: days of the table itself that somebody else wrote, that the step does not write anew. `table_id`:
    Delta's identifier of the table at `base`.
    """

    table: Table
    requested: tuple[date, ...]
    days: tuple[date, ...]
    blocked: Mapping[date, str]
    base: int | None
    published: date | None
    input_versions: Mapping[str, InputVersion]
    unvalidated: frozenset[date] = frozenset()
    table_id: str | None = None

    def window(self, name: str) -> tuple[date | None, date] | None:
        """First and last day to read of an input; None when no day is left to make."""
        if not self.days:
            return None
        first, last = self.table.reads[name].bounds(self.days[0], self.days[-1])
        return first, max(last, self.published) if self.published else last


def make_plan(lake: Lake, table: Table, requested: Collection[date]) -> Plan:
    """Pin every input now and set aside the days that a failed check upstream blocks.

    Raises SchemaMismatch where the table is not what its contract declares; LostInput: what is gone must not be taken
    for what never came, least of all by a table that only grows.
    """
    days = tuple(sorted(requested))
    base = lake.version(table.key)
    newest = last_commit(lake.path(table.key), base) if base is not None else None
    if base is None:
        _refuse_lost_ledger(lake, table)
    else:
        refuse_changed_contract(lake.path(table.key), table, base, newest.metadata if newest else None)
    _refuse_lost_inputs(lake, table, newest, days)
    published = newest.metadata.published if newest and newest.metadata and isinstance(table.write, Ledger) else None
    # The versions first: what is committed after them is not read, whether it is blocked or not.
    versions = {name: lake.version(read.table) for name, read in table.reads.items()}
    blocked = _blocked(lake, table, days, published)
    ready = tuple(day for day in days if day not in blocked)
    return Plan(
        table=table,
        requested=days,
        days=ready,
        blocked=blocked,
        base=base,
        published=published,
        input_versions={
            name: _input_version(lake, versions[name], read, ready, published) for name, read in table.reads.items()
        },
        unvalidated=_outstanding(lake, table, ready),
        table_id=_id_of(lake, table, base),
    )


def _id_of(lake: Lake, table: Table, base: int | None) -> str | None:
    """Delta's identifier of the table, to which a commit of delta-rs can keep. Raises UnknownFeature."""
    found = open_table(lake.path(table.key), base) if base is not None else None
    if found is None:
        return None
    require_writable(found, lake.path(table.key), str(table.key))
    return str(found.metadata().id)


def _outstanding(lake: Lake, table: Table, ready: tuple[date, ...]) -> frozenset[date]:
    """What stays unjudged of what somebody else wrote into the table, when these days are replaced."""
    if isinstance(table.write, Overwrite | Scd):
        return frozenset()
    foreign = unvalidated(lake.path(table.key)).keys()
    replaced = isinstance(table.write, ReplaceDays) and table.write.channel is None
    return frozenset(foreign - set(ready) if replaced else foreign)


def _input_version(
    lake: Lake, version: int | None, read: Read, days: tuple[date, ...], published: date | None
) -> InputVersion:
    commit = commit_at(lake.log(read.table), version) if version is not None else None
    return InputVersion(version, _days_read(read, days, published), commit.timestamp if commit else None)


def _days_read(read: Read, days: tuple[date, ...], published: date | None) -> str:
    if not days:
        return ""
    first, last = read.bounds(days[0], days[-1])
    last = max(last, published) if published else last
    if read.span is Span.DAY:
        return write_days(days)
    if read.span is Span.WHOLE:
        return "all"
    return str(DayRange(first, last)) if first else f"..{last}"


def _blocked(lake: Lake, table: Table, days: tuple[date, ...], published: date | None) -> dict[date, str]:
    blocked: dict[date, str] = {}
    for read in table.reads.values():
        if read.table.layer == LANDING_LAYER:
            continue
        key = read.table
        # In this order: a day is failed first and judged then, so that it is never in neither.
        bad = {"was written outside Dagster and is not checked yet": frozenset(unvalidated(lake.path(key)))}
        if read.span is not Span.WHOLE:
            bad["failed a blocking check"] = failed_days(lake.tables, key.domain, str(key), lake.path(key))
        for day in days:
            first, last = read.bounds(day, day)
            last = max(last, published) if published else last
            for why, bad_days in bad.items():
                found = [one for one in bad_days if (first is None or one >= first) and one <= last]
                if found:
                    blocked[day] = f"{key} of {write_days(found)} {why}"
    return blocked


def _refuse_lost_ledger(lake: Lake, table: Table) -> None:
    """A ledger published anew would say of closed days what is known now."""
    known = committed_days(lake.tables, table.key.domain, str(table.key)) if isinstance(table.write, Ledger) else ()
    if known:
        raise LostInput(
            f"{table.key} is gone, which was published up to {max(known)}: published anew, closed days would have "
            "other figures. Nothing was written. Restore its folder."
        )


def _refuse_lost_inputs(lake: Lake, table: Table, newest: Commit | None, days: tuple[date, ...]) -> None:
    """Compare the inputs with what the table's newest commit read. Logs alone are read, as a rule two entries."""
    if newest is None or newest.metadata is None or not days:
        return
    for name, read in table.reads.items():
        input_version = newest.metadata.inputs.get(name)
        if input_version is None or input_version.version is None:
            continue
        if lake.version(read.table) is None:
            raise LostInput(
                f"{read.table} is gone: {table.key} was made from its version {input_version.version}. Nothing was "
                "written. Restore its folder, or make all its days again."
            )
        source = open_table(lake.path(read.table)) if read.table.layer != LANDING_LAYER else None
        if source is None or (source.metadata().created_time or 0) <= newest.timestamp:
            continue
        # It was deleted and made anew since: it must hold again what it once held.
        first, last = read.bounds(days[0], days[-1])
        made = {day for commit in commits(lake.path(read.table)) if commit.metadata for day in commit.metadata.made}
        once = committed_days(lake.tables, read.table.domain, str(read.table))
        lost = [day for day in once - made if (first is None or day >= first) and day <= last]
        if lost:
            raise LostInput(
                f"{read.table} was deleted and made anew, without {write_days(lost)}. {table.key} was not written. "
                f"Materialize these days of {read.table} first."
            )
