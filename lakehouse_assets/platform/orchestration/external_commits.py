"""Commits that Dagster has not heard of: those of runs killed before they could say so, and those of others.

A run killed between its commit and its events left everything about its days in the commit's note: the journals and
Dagster's events are written from it. What a notebook or a job elsewhere committed is judged by the table's contract
first; until then nothing reads those days (`plan.py`). Days that pass are adopted by a commit without rows, whose
note says so; days that fail stay where they are and block what reads them, as a failed check does.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, date, datetime

from pyspark.errors import PySparkException

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.common.errors import first_line
from lakehouse_assets.platform.declare.table import Ledger, Table
from lakehouse_assets.platform.maintenance.maintenance import data_tables
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.results.audit_log import audited
from lakehouse_assets.platform.results.audit_rows import write_records
from lakehouse_assets.platform.results.step_result import DayOutcome, Outcome, Status
from lakehouse_assets.platform.scd.scd_table import target_of
from lakehouse_assets.platform.storage import delta_writer
from lakehouse_assets.platform.storage.commit import Swap, commit
from lakehouse_assets.platform.storage.commit_log import Entry, read_entry, unvalidated
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, DayRows, Kind
from lakehouse_assets.platform.storage.delta_writer import on_days
from lakehouse_assets.platform.storage.log_cleaning import keep_statistics
from lakehouse_assets.platform.storage.pinned_read import read_delta
from lakehouse_assets.platform.validation import row_validation
from lakehouse_assets.platform.validation.day_result import DayCounts, day_result
from lakehouse_assets.platform.validation.pandera_day_rules import with_day_rules
from lakehouse_assets.platform.validation.schema_check import ContractMismatch
from lakehouse_assets.platform.validation.validated_rows import write_validated

OUTSIDE = "outside Dagster"


def recover(lake: Lake, table: Table, version: int, days: Collection[date]) -> Outcome | None:
    """The outcome of our own commit, from its note; written to the journals if the run did not get that far.

    None when the commit is not ours or the log no longer has it.
    """
    entry = read_entry(lake.path(table.key), version)
    if entry is None or entry.metadata is None or entry.metadata.kind not in (Kind.STEP, Kind.ADOPTION):
        return None
    outcome = _outcome(table, entry, entry.metadata, days)
    known = audited(lake.tables, table.key.domain, str(table.key), entry.metadata.run_id)
    missing = tuple(day for day in outcome.days if day.day not in known)
    write_records(lake.tables, table.compiled, replace(outcome, days=missing))
    return outcome


def _outcome(table: Table, entry: Entry, metadata: CommitMetadata, days: Collection[date]) -> Outcome:
    published = metadata.published is not None and min(metadata.requested, default=date.max) < metadata.published
    return Outcome(
        table=table.key,
        run_id=metadata.run_id,
        code_version=metadata.code_version,
        input_versions=metadata.inputs,
        base=metadata.base,
        version=entry.version,
        days=tuple(_day(table, day, metadata) for day in sorted(metadata.made & set(days)) if day in metadata.rows),
        started=entry.at,
        finished=entry.at,
        restates=isinstance(table.write, Ledger) and published,
    )


def _day(table: Table, day: date, metadata: CommitMetadata) -> DayOutcome:
    rows = metadata.rows[day]
    asked = rows.kept + rows.quarantined + rows.duplicates
    counts = DayCounts(asked, rows.duplicates, rows.quarantined, rows.kept, rows.broken, rows.newest, rows.digest)
    rules = day_result(counts, table.compiled).rules
    return DayOutcome(day, Status.COMMITTED, rows, rules, unchanged=day in metadata.unchanged)


def validate(step: Step, table: Table) -> Outcome | None:
    """Judge every day that was written outside Dagster, and adopt those that pass. None when there is none.

    A row that belongs in quarantine fails its day: nobody may have read it, and nobody but its writer may remove it.
    Raises LakehouseError: ConcurrentCommit when the table moved on meanwhile, WriteError.
    """
    path = step.lake.path(table.key)
    if not unvalidated(path):
        return None
    for place in data_tables(step.lake, table):
        keep_statistics(place.path, place.statistics or ())
    version = step.lake.version(table.key)
    foreign = unvalidated(path)
    if not foreign or version is None:
        return None
    started = datetime.now(UTC)
    days = _validated(step, table, version, foreign)
    metadata = CommitMetadata(
        table=str(table.key),
        run_id=step.run_id,
        attempt=f"{step.run_id}/{table.key}@{version}",
        days=frozenset(day.day for day in days if day.status is Status.COMMITTED),
        code_version=OUTSIDE,
        inputs={},
        rows={day.day: day.rows for day in days if day.status is Status.COMMITTED},
        base=version,
        kind=Kind.ADOPTION,
    )
    outcome = Outcome(
        table.key, step.run_id, OUTSIDE, {}, version, version, days, started=started, finished=datetime.now(UTC)
    )
    # The verdict first: a failed day is blocked from here on, and only then no longer unjudged.
    write_records(step.lake.tables, table.compiled, outcome)
    nothing = Swap([], [], lambda file: True)
    return replace(outcome, version=commit(target_of(step.lake, table), metadata, version, nothing))


def _validated(step: Step, table: Table, version: int, foreign: dict[date, int]) -> tuple[DayOutcome, ...]:
    contract = table.compiled
    rows = read_delta(step.spark, step.lake.path(table.key), version)
    if DAY_COLUMN not in rows.columns:
        return ()
    try:
        marked = row_validation.validate_rows(rows.where(on_days(DAY_COLUMN, foreign)), contract, duplicates_of=None)
        written = write_validated(marked.coalesce(1), target_of(step.lake, table), contract)
    except ContractMismatch as error:
        nothing = DayRows(0, 0, 0, 0, "")
        return tuple(DayOutcome(day, Status.FAILED, nothing, reasons=(str(error),)) for day in sorted(foreign))
    except PySparkException as error:
        raise delta_writer.WriteError(f"{table.key} could not be read: {first_line(error)}") from error
    try:
        counted = written.count()
        bad = sorted({rule for counts in counted.values() for rule, n in counts.broken.items() if n})
        samples = written.samples(bad) if bad else {}
        counted = with_day_rules(step.spark, written, counted, foreign)
    except PySparkException as error:
        raise delta_writer.WriteError(f"{table.key} could not be judged: {first_line(error)}") from error
    finally:
        written.remove_unnamed()
    return tuple(
        _verdict(table, day, foreign[day], counted.get(day), {r: s for (of, r), s in samples.items() if of == day})
        for day in sorted(foreign)
    )


def _verdict(
    table: Table, day: date, version: int, counts: DayCounts | None, samples: dict[str, list[dict[str, object]]]
) -> DayOutcome:
    counts = counts or DayCounts.empty(table.compiled)
    validated = day_result(counts, table.compiled)
    wrong = counts.rows - counts.kept
    reasons = validated.reasons
    if wrong:
        named = ", ".join(sorted(_broken(counts)))
        reasons = (
            *reasons,
            f"{wrong} of {counts.rows} rows, written by version {version}, break the contract: {named}",
        )
    return DayOutcome(
        day=day,
        status=Status.FAILED if reasons else Status.COMMITTED,
        rows=DayRows(counts.rows, counts.kept, wrong, 0, counts.digest, counts.newest, _broken(counts)),
        rules=validated.rules,
        reasons=reasons,
        samples=samples,
    )


def _broken(counts: DayCounts) -> dict[str, int]:
    return {rule: rows for rule, rows in counts.broken.items() if rows}
