"""The checks of a table, per day: `contract` and `conservation` block; `freshness`, where it is declared, warns.

`pandera` is evaluated of a sampled day each night (`ops/pandera_job.py`); no run of the table evaluates it.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)

from lakehouse_assets.platform.contracts.compiled import KEY_RULE
from lakehouse_assets.platform.contracts.rules import Action, Rule
from lakehouse_assets.platform.declare.table import Table, TableKey
from lakehouse_assets.platform.results.step_result import DayOutcome, Outcome, Status
from lakehouse_assets.platform.storage.commit_metadata import DayRows
from lakehouse_assets.platform.validation.day_result import Result, RuleResult, percent

if TYPE_CHECKING:
    from lakehouse_assets.platform.contracts.compiled import CompiledContract

CONTRACT, CONSERVATION, FRESHNESS, PANDERA = "contract", "conservation", "freshness", "pandera"
SAMPLE_RULES = 20

DESCRIPTIONS = {
    CONTRACT: "Every rule of the table's contract, by quality dimension. A failure blocks downstream partitions.",
    CONSERVATION: "Rows in = rows passed + rows quarantined + exact duplicates removed. A failure blocks downstream "
    "partitions.",
    FRESHNESS: "The day's data arrived by the declared deadline, and its newest record is as new as declared. "
    "Measured on data arrival, not on run times.",
    PANDERA: "Pandera and the platform find the same broken rules in a day that is sampled at night. Blocks nothing.",
}


def check_specs(table: Table, partitions: dg.PartitionsDefinition) -> list[dg.AssetCheckSpec]:
    """The specs of a table's checks, partitioned as the table is."""
    return [
        dg.AssetCheckSpec(
            name=name,
            asset=dg.AssetKey(table.key.parts),
            description=description,
            blocking=name in (CONTRACT, CONSERVATION),
            partitions_def=partitions,
        )
        for name, description in DESCRIPTIONS.items()
        if name != FRESHNESS or says_freshness(table)
    ]


def says_freshness(table: Table) -> bool:
    """Whether a table has the check `freshness`: it declares how new its records are, or by when its data come."""
    contract = table.compiled
    return table.sla is not None or (contract.event_time is not None and contract.fresh_within is not None)


@dataclass(frozen=True)
class Freshness:
    """Whether a day's data are as new as declared, and what there is."""

    passed: bool
    description: str
    newest: datetime | None
    lag: timedelta | None


def freshness(contract: "CompiledContract", day: date, newest: datetime | None) -> Freshness | None:
    """Compare the newest event time among a day's rows with the end of the day. None: the table declares neither."""
    if contract.event_time is None or contract.fresh_within is None:
        return None
    if newest is None:
        return Freshness(False, f"No record arrived on {day}.", None, None)
    lag = datetime.combine(day + timedelta(days=1), time.min) - newest
    passed = lag <= contract.fresh_within
    return Freshness(passed, f"The newest record is {lag} older than the end of the day.", newest, lag)


def evaluations(
    contract: "CompiledContract",
    outcome: Outcome,
    day: DayOutcome,
    target: AssetCheckEvaluationTargetMaterializationData | None = None,
) -> list[dg.AssetCheckEvaluation]:
    """The day's check results, as Dagster events: `freshness` only of tables that declare how new their records are."""
    rows = day.rows.of_the_day()

    def evaluation(
        name: str, passed: bool, description: str | None, metadata: dict[str, Any], *, blocking: bool = True
    ) -> dg.AssetCheckEvaluation:
        return dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(outcome.table.parts),
            check_name=name,
            passed=passed,
            severity=dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN,
            description=description,
            metadata=metadata,
            blocking=blocking,
            partition=str(day.day),
            target_materialization_data=target,
        )

    follows = all(rule.passed for rule in day.rules) and not (day.status is Status.FAILED and day.reconciled)
    quarantined = f"{rows.quarantined} of {rows.rows_in} rows in quarantine" if rows.quarantined else None
    found = [
        evaluation(
            CONTRACT, follows, "; ".join(day.reasons) or quarantined, _contract_metadata(contract, outcome, day)
        ),
        evaluation(
            CONSERVATION,
            day.reconciled,
            _equation(rows) if rows.rows_in or not day.unchanged else "Nothing came: the day stays as it is.",
            {
                "rows_in": rows.rows_in,
                "kept": rows.kept,
                "quarantined": rows.quarantined,
                "duplicates": rows.duplicates,
            },
        ),
    ]
    if fresh := freshness(contract, day.day, day.rows.newest):
        newest = {"newest": str(fresh.newest)} if fresh.newest else {}
        found.append(evaluation(FRESHNESS, fresh.passed, fresh.description, newest, blocking=False))
    return found


def _contract_metadata(contract: "CompiledContract", outcome: Outcome, day: DayOutcome) -> dict[str, Any]:
    """How many rules failed, were tolerated and passed; each with its counts, broken ones first; rows and SQL."""
    results = Counter(rule.result for rule in day.rules)
    broken = [rule for rule in broken_first(day.rules) if rule.failed]
    return {
        **{f"rules_{result.value}": results[result] for result in (Result.FAILED, Result.TOLERATED, Result.PASSED)},
        "rows": day.rows.of_the_day().rows_in,
        "rules": _rules_table(day),
        "sql": dg.MetadataValue.md(_sql(outcome.table, contract, day)),
        **{
            f"samples: {rule.rule}": dg.MetadataValue.json(day.samples[rule.rule])
            for rule in broken[:SAMPLE_RULES]
            if day.samples.get(rule.rule)
        },
    }


def broken_first(rules: Iterable[RuleResult]) -> list[RuleResult]:
    """Rules that fail the day, then those whose broken rows are tolerated, then the others; most rows first."""
    order = (Result.FAILED, Result.TOLERATED, Result.PASSED)
    return sorted(rules, key=lambda rule: (order.index(rule.result), -rule.failed))


def _equation(rows: DayRows) -> str:
    return f"{rows.rows_in} in = {rows.kept} kept + {rows.quarantined} quarantined + {rows.duplicates} duplicates"


def _rules_table(day: DayOutcome) -> dg.MetadataValue:
    columns = {"result": "string", "rule": "string", "dimension": "string", "action": "string"}
    columns |= {"rows": "int", "failed": "int", "rate": "string"}
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord(
                {
                    "result": rule.result.value,
                    "rule": rule.rule,
                    "dimension": rule.dimension.value,
                    "action": rule.action.value,
                    "rows": rule.rows,
                    "failed": rule.failed,
                    "rate": percent(rule.failed, rule.rows),
                }
            )
            for rule in broken_first(day.rules)
        ],
        schema=dg.TableSchema([dg.TableColumn(name, kind) for name, kind in columns.items()]),
    )


def listing(table: TableKey, rule: Rule, day: DayOutcome) -> str:
    """The query that lists the rows of a day that broke a rule, for `lakehouse sql`; "" where none was committed."""
    if day.status is not Status.COMMITTED:
        return ""
    name = ".".join(table.parts)
    if rule.action is Action.QUARANTINE:
        source, condition = f"{name}__quarantine", f"AND list_contains(rules, '{rule.name}')"
    else:
        of_row = f"AND ({rule.sql})" if rule.sql else ""  # of a rule of the whole day, all its rows
        source, condition = name, f"QUALIFY {rule.sql}" if rule.name == KEY_RULE else of_row
    return f"SELECT * FROM {source} WHERE feed_day = '{day.day}' {condition}".rstrip()  # noqa: S608  (shown, not run)


def _sql(table: TableKey, contract: "CompiledContract", day: DayOutcome) -> str:
    """For each broken rule, the query that lists its rows."""
    broken = {result.rule for result in day.rules if result.failed}
    if not broken:
        return "No rule was broken."
    if day.status is not Status.COMMITTED:
        return "Nothing of the day was committed: see the samples, and the day's rows in the table's inputs."
    queries = [listing(table, rule, day) for rule in contract.rules if rule.name in broken]
    return "\n".join(f"```sql\n{query}\n```" for query in queries)
