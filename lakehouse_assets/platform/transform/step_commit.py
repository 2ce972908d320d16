"""The commit of a step: the files of the days that passed, in place of what they replace; quarantine before it."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import date

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.declare.scd import Scd
from lakehouse_assets.platform.declare.table import Ledger, Overwrite, ReplaceDays
from lakehouse_assets.platform.ledger.incremental import steps_of
from lakehouse_assets.platform.planning.plan import Plan
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.results.step_result import DayOutcome, Status
from lakehouse_assets.platform.scd.scd_table import ScdTable, target_of
from lakehouse_assets.platform.scd.ties import with_ties
from lakehouse_assets.platform.storage.commit import Swap, commit
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata
from lakehouse_assets.platform.storage.data_files import ActiveFile, list_parquet
from lakehouse_assets.platform.storage.delta_writer import Replaced, commit_files, replaced_days
from lakehouse_assets.platform.storage.location import Location
from lakehouse_assets.platform.storage.row_copies import RowCopy, copy_rows
from lakehouse_assets.platform.storage.target import Target
from lakehouse_assets.platform.transform.quarantine import replace_quarantine, rows_on
from lakehouse_assets.platform.transform.unchanged import unchanged_days
from lakehouse_assets.platform.validation.validated_rows import PASSED, QUARANTINED, ValidatedRows

Days = tuple[DayOutcome, ...]


def commit_days(
    step: Step, plan: Plan, written: ValidatedRows, metadata: CommitMetadata, days: Days
) -> tuple[int | None, Days]:
    """Commit the good days. A table written anew or a ledger is one whole: one bad day fails all of them.

    Days whose rows are what they were are noted and not written, so that what reads them is not made again. Returns the
    table's version and the days as they ended. Raises ConcurrentCommit, WriteError, SchemaMismatch.
    """
    table = plan.table
    if isinstance(table.write, Ledger | Overwrite) and any(day.status is Status.FAILED for day in days):
        why = next(day.reasons for day in days if day.status is Status.FAILED)
        return plan.base, tuple(replace(day, status=Status.FAILED, reasons=day.reasons or why) for day in days)
    days = with_ties(days, written, table.write)
    good = {day.day: day.rows for day in days if day.status is Status.COMMITTED}
    if not good:
        return plan.base, days
    state = ScdTable(step.spark, step.lake, table, table.write) if isinstance(table.write, Scd) else None
    empty_snapshots = state.empty_snapshots(plan, good) if state else frozenset()
    is_known = state is None or state.is_folded(plan.base)
    same = unchanged_days(step.lake, plan, good, empty_snapshots) if is_known else frozenset()
    metadata = replace(
        metadata, days=frozenset(good) - same, unchanged=same, rows=good, empty_snapshots=empty_snapshots
    )
    if isinstance(table.write, Ledger):
        metadata = replace(metadata, published=steps_of(plan).top)
    version = _write(step, plan, written, metadata, state, all_written=len(good) == len(days) and not same)
    return version, tuple(replace(day, unchanged=day.day in same) for day in days)


def _write(
    step: Step,
    plan: Plan,
    written: ValidatedRows,
    metadata: CommitMetadata,
    state: ScdTable | None,
    *,
    all_written: bool,
) -> int:
    """Commit the rows of the note's days; none where nothing changed, or nothing is added to a ledger."""
    table, base = plan.table, plan.base
    target = replace(target_of(step.lake, table), append_only=isinstance(table.write, Ledger), id=plan.table_id)
    of_days = [metadata.rows[day] for day in metadata.days]
    adds_nothing = not of_days or (isinstance(table.write, Ledger) and not any(of.kept for of in of_days))
    if base is not None and adds_nothing and state:
        return state.metadata_only(plan, metadata, base)
    if base is not None and adds_nothing:
        return commit(target, metadata, base, Swap([], [], _meets(plan, metadata), _is_alone(plan)))
    passed, left = written.files(PASSED), written.files(QUARANTINED)
    if not all_written:
        passed = _of_days(passed, written.attempt / "of-written-days", metadata.days, target)
        left = _of_days(left, written.attempt / "left", metadata.days, target) if state else left
    replace_quarantine(step.lake, plan, written, metadata)
    if state:
        return state.commit(plan, written, passed, left, metadata)
    folders = [*dict.fromkeys(file.parent for file in passed)]
    replaced_of, meets = _replaced_of(plan, metadata), _meets(plan, metadata)
    return commit_files(
        target, written.attempt, folders, metadata, base, replaced_of, meets, written.named, _is_alone(plan)
    )


def _replaced_of(plan: Plan, metadata: CommitMetadata) -> Callable[[Sequence[ActiveFile]], Replaced]:
    """The files of the table that a write replaces."""
    match plan.table.write:
        case ReplaceDays(channel=channel):
            return lambda files: replaced_days(files, DAY_COLUMN, metadata.days, channel)
        case Overwrite():
            return Replaced
    return lambda files: Replaced([])


def _is_alone(plan: Plan) -> bool:
    """Whether what a step writes follows from all that its table had before."""
    return not isinstance(plan.table.write, ReplaceDays)


def _meets(plan: Plan, metadata: CommitMetadata) -> Callable[[ActiveFile], bool]:
    """Whether a file that another commit added may hold what this step writes or has read."""
    match plan.table.write:
        case ReplaceDays(channel=channel):
            return lambda file: bool(replaced_days([file], DAY_COLUMN, metadata.made, channel).files)
    return lambda file: True


def _of_days(files: Sequence[Location], folder: Location, days: Collection[date], target: Target) -> list[Location]:
    """Files with the rows of these days alone, in place of files that may hold others as well."""
    copy_rows(files, folder, RowCopy(rows_on(days)), target.parquet)
    return [file for file, _ in list_parquet(folder)]
