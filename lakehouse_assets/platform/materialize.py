"""Make the days of a table: evaluate every rule in one pass, commit the good days, keep what is not good beside them.

The order is: quarantine, table, journals; then (in `io.py`) Dagster's events. Killed anywhere in between, the same
step run again ends in the same tables: the table's commit is the one that counts, and it is a compare-and-swap.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from lakehouse_assets.platform import evaluate, publication, writer
from lakehouse_assets.platform.catalog import Catalog
from lakehouse_assets.platform.code_version import code_version
from lakehouse_assets.platform.delta import DayRows, Note
from lakehouse_assets.platform.erased_since import lost_to_erasure
from lakehouse_assets.platform.errors import LakehouseError
from lakehouse_assets.platform.evolution import key_of, nullable_of
from lakehouse_assets.platform.failpoints import Failpoint, reach
from lakehouse_assets.platform.file_stats import rows_of_days
from lakehouse_assets.platform.history import StateTable, change_columns, target_of
from lakehouse_assets.platform.ledger import rows_to_append
from lakehouse_assets.platform.marked import Marked, marked
from lakehouse_assets.platform.outcome import DayOutcome, Outcome, Status
from lakehouse_assets.platform.plan import Lake, Plan, make_plan
from lakehouse_assets.platform.publication import steps_of
from lakehouse_assets.platform.quarantine import replace_quarantine
from lakehouse_assets.platform.reader import landed_parts, read_inputs, read_table
from lakehouse_assets.platform.records import write_records
from lakehouse_assets.platform.sizes import are_many, is_held
from lakehouse_assets.platform.state import State
from lakehouse_assets.platform.table import DAY_COLUMN, LANDING_LAYER, Ledger, Overwrite, ReplaceDays, Span
from lakehouse_assets.platform.ties import with_ties
from lakehouse_assets.platform.unchanged import unchanged_days

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ATTEMPTS = 6
RECORD_HASH = "record_hash"


class ForeignDay(LakehouseError):
    """A transformation returned rows of days that were not asked for."""


@dataclass(frozen=True)
class Step:
    """Everything a step needs: one session, the lake, the declared tables, and the run it belongs to."""

    spark: "SparkSession"
    lake: Lake
    catalog: Catalog
    run_id: str


def materialize(step: Step, plan: Plan, frame: "DataFrame") -> Outcome:
    """Commit the plan's days from `frame`, the transformation's result; after a lost race, from newer versions.

    Raises LakehouseError: LostRace after six attempts, ForeignDay, WriteError, ForeignTable.
    """
    for number in range(1, ATTEMPTS):
        try:
            with lost_to_erasure(step.lake, plan):
                return _attempt(step, plan, frame, number)
        except writer.LostRace:
            plan = make_plan(step.lake, plan.table, plan.requested)
            frame = plan.table(**read_inputs(step.spark, step.lake, plan, step.catalog))
    return _attempt(step, plan, frame, ATTEMPTS)


def _attempt(step: Step, plan: Plan, frame: "DataFrame", number: int) -> Outcome:
    table, started = plan.table, datetime.now(UTC)
    note = Note(
        table=str(table.key),
        run_id=step.run_id,
        attempt=f"{step.run_id}/{table.key}#{number}",
        days=frozenset(plan.days),
        code_version=code_version(table),
        inputs=plan.pins,
        base=plan.base,
        requested=frozenset(plan.days),
        unjudged=plan.unjudged,
        key=key_of(table),
        nullable=nullable_of(table),
    )
    days, version = tuple[DayOutcome, ...](), plan.base
    reach(Failpoint.BEFORE_WRITE, table.key)
    if plan.days:
        judged = candidate(step, plan, frame, started)
        hold, many = is_held(step.lake, plan), are_many(step.lake, plan)
        try:
            with marked(judged, table.compiled, duplicates_of(plan), hold=hold, many=many) as rows:
                days = _judge(step, plan, rows)
                version, days = _commit(step, plan, rows, note, days)
        except PySparkException as error:
            why = evaluate.said_of(error, judged, table.compiled)
            failed = f"{table.key} could not be computed, its version is still {plan.base}: {why}"
            raise writer.WriteError(failed) from error
    nothing = DayRows(0, 0, 0, 0, "")
    blocked = tuple(DayOutcome(day, Status.BLOCKED, nothing, reasons=(why,)) for day, why in plan.blocked.items())
    outcome = Outcome(
        table=table.key,
        run_id=step.run_id,
        code_version=note.code_version,
        pins=plan.pins,
        base=plan.base,
        version=version,
        days=tuple(sorted(days + blocked, key=lambda outcome: outcome.day)),
        started=started,
        finished=datetime.now(UTC),
        restates=isinstance(table.write, Ledger) and steps_of(plan).restates,
    )
    write_records(step.lake.tables, table.compiled, outcome)
    return outcome


def duplicates_of(plan: Plan) -> tuple[str, ...] | None:
    """Exact duplicates are rows of one feed day with the same hash of all source columns."""
    columns = plan.table.compiled.spark_schema.names
    return (DAY_COLUMN, RECORD_HASH) if RECORD_HASH in columns else None


def candidate(step: Step, plan: Plan, frame: "DataFrame", started: datetime, *, whole: bool = False) -> "DataFrame":
    """The rows to judge: what the function returned, published if it is a ledger, stamped with the run.

    `whole`: a ledger's figures are computed from all contributions, even where some are enough.
    """
    if isinstance(plan.table.write, Ledger):
        ledger = read_table(step.spark, step.lake, plan.table, plan.base)
        news = publication.news(step.spark, step.lake, step.catalog, plan, frame, whole=whole)
        frame = rows_to_append(news, ledger, plan.table.write, steps_of(plan))
    elif isinstance(plan.table.write, ReplaceDays) and any(r.span is not Span.DAY for r in plan.table.reads.values()):
        # What reads more days than it makes knows a row of each: only those asked for are made.
        frame = frame.where(writer.on_days(DAY_COLUMN, plan.days))
    columns = set(frame.columns)
    stamps = {
        "processed_at": F.lit(started).cast("timestamp"),
        "processed_date": F.lit(started.date()),
        "run_id": F.lit(step.run_id),
        DAY_COLUMN: F.lit(plan.days[-1]),
    }
    if isinstance(plan.table.write, State):
        stamps |= change_columns(plan.table.write)
    wanted = [*plan.table.compiled.spark_schema.names, DAY_COLUMN]
    return frame.select(
        "*", *[value.alias(name) for name, value in stamps.items() if name in wanted and name not in columns]
    )


def _judge(step: Step, plan: Plan, rows: Marked) -> tuple[DayOutcome, ...]:
    """Count rows and broken rules per day in one action (beside it, the rows of the input) and judge each day."""
    contract = plan.table.compiled
    with ThreadPoolExecutor(1) as beside:
        came_in = beside.submit(_rows_in, step, plan)
        counted = evaluate.count_per_day(rows.all, contract)
        expected = came_in.result()
    expected_days = publication.days_of(plan, counted)
    foreign = sorted(set(counted) - set(expected_days))
    if foreign:
        raise ForeignDay(
            f"{plan.table.key} returned rows of {foreign[0]}, but was asked for {plan.days[0]}..{plan.days[-1]}: "
            "a transformation must keep the feed day of the rows it reads."
        )
    failing = sorted({r for counts in counted.values() for r, n in counts.broken.items() if n})
    samples = evaluate.samples(rows.bad, contract, failing) if failing else {}
    leaves = any(counts.quarantined for counts in counted.values())
    left = evaluate.quarantined_digests(rows.bad, contract) if leaves else {}
    judged = [_day(day, contract, counted.get(day), expected, samples, left.get(day, "")) for day in expected_days]
    before = publication.rows_before(step.lake, plan, expected_days)
    return tuple(replace(of, rows=replace(of.rows, before=before.get(of.day, 0))) for of in judged)


def _rows_in(step: Step, plan: Plan) -> dict[date, int] | None:
    """Rows per day of the input whose rows must all arrive, counted apart from the transformation."""
    name = plan.table.conserves
    if name is None:
        return None
    if plan.table.reads[name].table.layer == LANDING_LAYER:
        found: dict[date, int] = {}
        for part in landed_parts(step.lake, plan.table.key, plan.days, plan.pins[name].version):
            found[part.feed_day] = found.get(part.feed_day, 0) + part.rows
        return found
    read, version = plan.table.reads[name], plan.pins[name].version
    if read.span is Span.DAY and version is not None:
        counted = rows_of_days(step.lake.path(read.table), version, DAY_COLUMN, plan.days)
        if counted is not None:
            return counted
    source = read_inputs(step.spark, step.lake, plan, step.catalog)[name]
    return {row[0]: row[1] for row in source.groupBy(DAY_COLUMN).count().collect()}


def _day(
    day: date,
    contract: "evaluate.CompiledContract",
    counts: "evaluate.DayCounts | None",
    expected: dict[date, int] | None,
    samples: "Mapping[tuple[date, str], list[dict[str, object]]]",
    quarantined_digest: str,
) -> DayOutcome:
    counts = counts or evaluate.DayCounts.empty(contract)
    verdict = evaluate.verdict(counts, contract)
    rows = DayRows(
        rows_in=counts.rows if expected is None else expected.get(day, 0),
        kept=counts.kept,
        quarantined=counts.quarantined,
        duplicates=counts.duplicates,
        digest=counts.digest,
        newest=counts.newest,
        broken={rule: rows for rule, rows in counts.broken.items() if rows},
        quarantined_digest=quarantined_digest,
        duplicates_digest=counts.duplicates_digest if counts.duplicates else "",
    )
    outcome = DayOutcome(
        day=day,
        status=Status.FAILED if verdict.failed else Status.COMMITTED,
        rows=rows,
        rules=verdict.rules,
        reasons=verdict.reasons,
        samples={rule: found for (of, rule), found in samples.items() if of == day},
    )
    if outcome.conserved:
        return outcome
    lost = (
        f"{rows.rows_in} rows came in, {rows.kept} kept + {rows.quarantined} quarantined + {rows.duplicates} duplicates"
    )
    return replace(outcome, status=Status.FAILED, reasons=(*outcome.reasons, lost))


def _commit(
    step: Step, plan: Plan, rows: Marked, note: Note, days: tuple[DayOutcome, ...]
) -> tuple[int | None, tuple[DayOutcome, ...]]:
    """Commit the good days. A table written anew or a ledger is one whole: one bad day fails all of them.

    Days whose rows are what they were are noted and not written, so that what reads them is not made again.
    """
    table = plan.table
    if isinstance(table.write, Ledger | Overwrite) and any(day.status is Status.FAILED for day in days):
        why = next(day.reasons for day in days if day.status is Status.FAILED)
        return plan.base, tuple(replace(day, status=Status.FAILED, reasons=day.reasons or why) for day in days)
    days = with_ties(days, rows, table.write)
    good = {day.day: day.rows for day in days if day.status is Status.COMMITTED}
    if not good:
        return plan.base, days
    state = StateTable(step.spark, step.lake, table, table.write) if isinstance(table.write, State) else None
    emptied = state.emptied(plan, good) if state else frozenset()
    is_known = state is None or state.is_folded(plan.base)
    same = unchanged_days(step.lake, plan, good, emptied) if is_known else frozenset()
    note = replace(note, days=frozenset(good) - same, unchanged=same, rows=good, emptied=emptied)
    if isinstance(table.write, Ledger):
        note = replace(note, published=steps_of(plan).top)
    version = _write(step, plan, rows, note, state, all_good=len(good) == len(days))
    return version, tuple(replace(day, unchanged=day.day in same) for day in days)


def _write(step: Step, plan: Plan, rows: Marked, note: Note, state: StateTable | None, *, all_good: bool) -> int:
    """Commit the rows of the note's days; none where nothing changed, or nothing is added to a ledger."""
    table, base, written = plan.table, plan.base, [note.rows[day] for day in note.days]
    if base is not None and (not written or (isinstance(table.write, Ledger) and not any(of.kept for of in written))):
        if state:
            return state.note_only(plan, note, base)
        door = table.write.door if isinstance(table.write, ReplaceDays) else None
        return writer.note_only(target_of(step.lake, table), note, base, door)
    target = target_of(step.lake, table)
    all_written = all_good and not note.unchanged
    kept = rows.kept(all_stay=all_good and not any(of.quarantined or of.duplicates for of in note.rows.values()))
    on_days = writer.on_days(DAY_COLUMN, note.days)
    replace_quarantine(step.lake, plan, rows, note)
    match table.write:
        case ReplaceDays(rows_per_file, door):
            files = max(1, -(-sum(of.kept for of in written) // rows_per_file))
            frame = _laid_out(kept if all_written else kept.where(on_days), files, days=len(written))
            return writer.replace_days(frame, target, note, base, DAY_COLUMN, note.days, door)
        case State() as spec:
            withheld = evaluate.withheld(rows.bad, spec.keys)
            assert state is not None
            return state.commit(plan, kept.where(on_days), withheld.where(on_days), note)
        case Ledger():
            return writer.append(kept.coalesce(1), replace(target, append_only=True), note, base)
        case Overwrite():
            return writer.overwrite(kept.coalesce(1), target, note, base)


def _laid_out(frame: "DataFrame", files: int, days: int) -> "DataFrame":
    """Few files, each of days that follow one another. Rows of one day have no order to be brought into."""
    if days == 1:
        return frame.coalesce(files)
    laid_out = frame.coalesce(1) if files == 1 else frame.repartitionByRange(files, DAY_COLUMN)
    return laid_out.sortWithinPartitions(DAY_COLUMN)
