"""What became of each day of a step: its rows counted, its rules decided, nothing lost."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.contracts.compiled import CompiledContract
from lakehouse_assets.platform.declare.table import LANDING_LAYER
from lakehouse_assets.platform.ledger.incremental import days_of, rows_before
from lakehouse_assets.platform.planning.plan import Plan
from lakehouse_assets.platform.planning.reader import landed_parts, read_inputs
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.results.step_result import DayOutcome, Status
from lakehouse_assets.platform.storage.commit_metadata import DayRows
from lakehouse_assets.platform.storage.log_statistics import rows_of_days
from lakehouse_assets.platform.validation.day_result import DayCounts, day_result
from lakehouse_assets.platform.validation.pandera_day_rules import with_day_rules
from lakehouse_assets.platform.validation.validated_rows import ValidatedRows


class UnexpectedPartition(LakehouseError):
    """A transformation returned rows of days that were not asked for."""


def day_outcomes(step: Step, plan: Plan, written: ValidatedRows) -> tuple[DayOutcome, ...]:
    """Count rows and broken rules per day and decide each day. Raises UnexpectedPartition, MissingDay."""
    contract = plan.table.compiled
    counted = written.count()
    expected = _rows_in(step, plan)
    days = days_of(plan, counted)
    foreign = sorted(set(counted) - set(days))
    if foreign:
        raise UnexpectedPartition(
            f"{plan.table.key} returned rows of {foreign[0]}, but was asked for {plan.days[0]}..{plan.days[-1]}: "
            "a transformation must keep the feed day of the rows it reads."
        )
    failing = sorted({rule for counts in counted.values() for rule, rows in counts.broken.items() if rows})
    samples = written.samples(failing) if failing else {}
    counted = with_day_rules(step.spark, written, counted, days)
    before = rows_before(step.lake, plan, days)
    found = [_day(day, contract, counted.get(day), expected, samples) for day in days]
    return tuple(replace(of, rows=replace(of.rows, before=before.get(of.day, 0))) for of in found)


def _rows_in(step: Step, plan: Plan) -> dict[date, int] | None:
    """Rows per day of the input whose rows must all arrive, counted apart from the transformation."""
    name = plan.table.reconciles
    if name is None:
        return None
    read, version = plan.table.reads[name], plan.input_versions[name].version
    if read.table.layer == LANDING_LAYER:
        found: dict[date, int] = {}
        for part in landed_parts(step.lake, plan.table.key, plan.days, version):
            found[part.feed_day] = found.get(part.feed_day, 0) + part.rows
        return found
    if version is None:
        return {}
    counted = rows_of_days(step.lake.path(read.table), version, DAY_COLUMN, plan.days)
    if counted is not None:
        return counted
    source = read_inputs(step.spark, step.lake, plan, step.catalog)[name]
    return {row[0]: row[1] for row in source.groupBy(DAY_COLUMN).count().collect()}


def _day(
    day: date,
    contract: CompiledContract,
    counts: DayCounts | None,
    expected: dict[date, int] | None,
    samples: Mapping[tuple[date, str], list[dict[str, object]]],
) -> DayOutcome:
    counts = counts or DayCounts.empty(contract)
    decided = day_result(counts, contract)
    rows = DayRows(
        rows_in=counts.rows if expected is None else expected.get(day, 0),
        kept=counts.kept,
        quarantined=counts.quarantined,
        duplicates=counts.duplicates,
        digest=counts.digest,
        newest=counts.newest,
        broken={rule: rows for rule, rows in counts.broken.items() if rows},
        quarantined_digest=counts.quarantined_digest,
        duplicates_digest=counts.duplicates_digest,
    )
    outcome = DayOutcome(
        day=day,
        status=Status.FAILED if decided.failed else Status.COMMITTED,
        rows=rows,
        rules=decided.rules,
        reasons=decided.reasons,
        samples={rule: found for (of, rule), found in samples.items() if of == day},
    )
    if outcome.reconciled:
        return outcome
    lost = (
        f"{rows.rows_in} rows came in, {rows.kept} kept + {rows.quarantined} quarantined + {rows.duplicates} duplicates"
    )
    return replace(outcome, status=Status.FAILED, reasons=(*outcome.reasons, lost))
