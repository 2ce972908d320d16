"""Erase a person from a domain: from the landed files, from every table made of them, and from old versions of these.

Killed at any point, the same command again finishes: the list of the erased comes first, and what is already without
the person is left as it is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from math import inf
from typing import TYPE_CHECKING

from lakehouse_assets.platform.common.days import write_days
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.scd import Scd
from lakehouse_assets.platform.declare.table import Read, ReplaceDays, Span, Table, TableKey
from lakehouse_assets.platform.ingest import erasure
from lakehouse_assets.platform.ingest.erasure import Subject
from lakehouse_assets.platform.ingest.landing import manifest_path
from lakehouse_assets.platform.maintenance.maintenance import StoredTable, data_tables
from lakehouse_assets.platform.planning.plan import Lake, landed_name
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.results.step_result import Status
from lakehouse_assets.platform.scd.scd_table import ScdTable, target_of
from lakehouse_assets.platform.storage.commit import ConcurrentCommit, Swap, commit
from lakehouse_assets.platform.storage.commit_actions import log_file
from lakehouse_assets.platform.storage.commit_log import unvalidated
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, Kind
from lakehouse_assets.platform.storage.delta_table import commits, version_of
from lakehouse_assets.platform.storage.location import version_of_file
from lakehouse_assets.platform.storage.log_cleaning import clean_log, keep_statistics, named_files
from lakehouse_assets.platform.storage.sweep import sweep
from lakehouse_assets.platform.storage.target import Target
from lakehouse_assets.platform.transform.materialize import materialize
from lakehouse_assets.platform.transform.quarantine import QUARANTINE

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ATTEMPTS = 6
ERASURE = "erasure"  # in place of the fingerprint of code: no code made the commit


class NoSubject(LakehouseError):
    """The table's files do not say whose their rows are."""


@dataclass(frozen=True)
class Forgotten:
    """What was done to a table."""

    table: str
    days: int
    rows_removed: int
    old_files_removed: int


def forget(spark: "SparkSession", lake: Lake, catalog: Catalog, name: str, subject: str) -> list[Forgotten]:
    """Erase `subject` (the source's identifier) from the whole domain of `name` (`loyalty/clientes`).

    Raises NoSubject, NoKey, and what materializing raises.
    """
    domain = name.split("/")[0]
    whose = {
        table.key: Subject(source.subject, source.subject_form, subject)
        for table in catalog.tables
        if table.key.domain == domain and (source := table.source) and source.subject
    }
    sources = [catalog.table(key) for key in whose]
    if name not in {landed_name(table.key) for table in sources}:
        having = ", ".join(landed_name(table.key) for table in sources) or "none in this domain"
        raise NoSubject(f"The files of {name} do not say whose their rows are. These do: {having}")
    if empty := next((who for who in whose.values() if not who.form.of(subject)), None):
        raise NoSubject(f"{subject!r} names nobody in column {empty.column} ({empty.form.value}). Nothing was erased.")
    erasure.remember(lake.landing, domain, subject, {who.form for who in whose.values()})
    days: dict[TableKey, set[date]] = {}
    removed: dict[TableKey, int] = {}
    for key, who in whose.items():
        folder = manifest_path(lake.landing, landed_name(key)).parent
        removed[key] = sum(part.rows_removed for part in erasure.rewrite_parts(folder, who))
        days[key] = erasure.erased_days(folder) | held_days(lake, key, who)
    step = Step(spark, lake, catalog, f"forget-{domain}")
    done = []
    for table in _downstream(catalog, sources):
        asked = days.get(table.key, set()) | _reached(lake, table, days)
        days[table.key] = asked
        fenced = _fence(step, table, asked)
        if asked and lake.version(table.key) is not None:
            _make_again(step, table, asked)
        if table.key in whose and (left := held_days(lake, table.key, whose[table.key])):
            raise LakehouseError(
                f"{table.key} of {write_days(left)} has rows of the person that no landed file brought: they are still "
                "there. Delete them with the program that wrote them, then run `lakehouse forget` again."
            )
        places = [place for place in data_tables(lake, table) if version_of(place.path) is not None]
        files = sum(_remove_old(place, list(whose.values()), fenced) for place in places)
        done.append(Forgotten(str(table.key), len(asked), removed.get(table.key, 0), files))
    return done


def held_days(lake: Lake, key: TableKey, who: Subject) -> set[date]:
    """Feed days on which a table made of landed files, or its quarantine, has rows of the subject still."""
    path, quarantine = lake.path(key), lake.quarantine(key)
    days = {day for name in named_files(path) for day in who.days(path / name)}
    return days | {day for name in named_files(quarantine) for day in who.days_in_quarantine(quarantine / name)}


def _reached(lake: Lake, table: Table, days: Mapping[TableKey, set[date]]) -> set[date]:
    """The days of a table that read days of its inputs which are made again."""
    found: set[date] = set()
    for read in table.reads.values():
        changed = days.get(read.table, set())
        found |= changed
        if changed and read.span in (Span.LAST, Span.THROUGH) and isinstance(table.write, ReplaceDays):
            made = {day for commit in commits(lake.path(table.key)) if commit.metadata for day in commit.metadata.rows}
            found |= {day for day in made if any(_is_read(read, day, one) for one in changed)}
    return found


def _is_read(read: Read, day: date, changed: date) -> bool:
    first, last = read.bounds(day, day)
    return (first is None or first <= changed) and changed <= last


def _make_again(step: Step, table: Table, asked: set[date]) -> None:
    outcome = materialize(step, table, asked)
    if left := asked - {day.day for day in outcome.with_status(Status.COMMITTED)}:
        raise LakehouseError(
            f"{table.key} of {write_days(left)} could not be made without the person: an input failed a check, "
            "or is not checked yet. Repair those days, then forget again."
        )


def _downstream(catalog: Catalog, sources: list[Table]) -> Iterator[Table]:
    """The sources and every table made of them, upstream first."""
    reached = {table.key for table in sources}
    yield from sources
    own = [table for table in catalog.tables if table.key.domain == sources[0].key.domain]
    left = [table for table in own if table.key not in reached]
    while ready := [
        table
        for table in left
        if any(read.table in reached for read in table.reads.values())
        and not any(read.table in {other.key for other in left if other is not table} for read in table.reads.values())
    ]:
        yield from ready
        reached |= {table.key for table in ready}
        left = [table for table in left if table.key not in reached]


def _fence(step: Step, table: Table, days: set[date]) -> float:
    """Commits of no rows, before the days are made again; returns when they were made, by the clock of the files.

    Their note says which days are erased, so that a replay of what was made before answers so. Whoever has read what
    was there before loses the race to them, by whatever door, also with what it writes beside the table; it then starts
    again.
    """
    path = step.lake.path(table.key)
    if step.lake.version(table.key) is None:
        return inf
    channels = {None, table.write.channel if isinstance(table.write, ReplaceDays) else None}
    channels |= {table.stream.channel} if table.stream else set()
    version = max(
        _say_erased(step, target_of(step.lake, table), days, channel) for channel in sorted(channels, key=str)
    )
    for beside in _beside(step, table):
        if version_of(beside.path) is not None:
            _say_erased(step, beside, days, None)
    made = version_of_file(log_file(path, version))
    return made[1] / 1e9 if made is not None else inf


def _beside(step: Step, table: Table) -> Iterator[Target]:
    yield Target(step.lake.quarantine(table.key), f"{table.key}__quarantine", QUARANTINE)
    if isinstance(table.write, Scd):
        yield ScdTable(step.spark, step.lake, table, table.write).log.target


def _say_erased(step: Step, target: Target, days: set[date], channel: str | None) -> int:
    for _ in range(ATTEMPTS):
        base = version_of(target.path)
        metadata = CommitMetadata(
            table=target.name,
            run_id=step.run_id,
            attempt=f"{step.run_id}/{target.name}:{channel}@{base}",
            days=frozenset(days),
            code_version=ERASURE,
            inputs={},
            base=base,
            unvalidated=frozenset(unvalidated(target.path)),
            kind=Kind.ERASURE,
        )
        try:
            return commit(target, replace(metadata, channel=channel), base, Swap([], [], lambda file: True))
        except ConcurrentCommit:
            continue
    raise LakehouseError(f"{target.name}: others committed first {ATTEMPTS} times. Nothing was lost: forget again.")


def _remove_old(place: StoredTable, whose: list[Subject], fenced: float) -> int:
    """Remove what only old versions of a table need and what attempts left; first, what its log says of either."""
    keep_statistics(place.path, place.statistics or ())
    clean_log(place.path, place.statistics or (), erased=True)
    return sweep(place.path, fenced, lambda file: any(who.is_in(file) for who in whose))
