"""The checks that every table has, per day: `contract` and `conservation` block, `freshness` warns.

`pandera` is evaluated of a sampled day each night (`ops/pandera_job.py`); no run of the table evaluates it.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)

from lakehouse_assets.platform.contracts.compiled import KEY_RULE
from lakehouse_assets.platform.contracts.rules import Action, Rule
from lakehouse_assets.platform.declare.table import Table, TableKey
from lakehouse_assets.platform.results.step_result import DayOutcome, Outcome, Status
from lakehouse_assets.platform.storage.commit_metadata import DayRows

if TYPE_CHECKING:
    from lakehouse_assets.platform.contracts.compiled import CompiledContract

CONTRACT, CONSERVATION, FRESHNESS, PANDERA = "contract", "conservation", "freshness", "pandera"
SAMPLE_RULES = 20

DESCRIPTIONS = {
    CONTRACT: "Every rule of the table's contract, by quality dimension. Blocks what reads the day.",
    CONSERVATION: "Rows in = rows kept + rows quarantined + exact duplicates removed. Blocks what reads the day.",
    FRESHNESS: "The day's data are there by the deadline declared, and its newest record is as new as declared. "
    "By data, not by run time.",
    PANDERA: "Pandera and the platform say the same of the day's rows. Of a day sampled at night; blocks nothing.",
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
    ]


@dataclass(frozen=True)
class Freshness:
    """Whether a day's data are as new as declared, and what there is."""

    passed: bool
    description: str
    newest: datetime | None
    lag: timedelta | None


def freshness(contract: "CompiledContract", day: date, newest: datetime | None) -> Freshness:
    """Compare the newest event time among a day's rows with the end of the day."""
    if contract.event_time is None or contract.fresh_within is None:
        return Freshness(True, "The table declares no event time.", None, None)
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
    """The day's three check results, as Dagster events."""
    key = dg.AssetKey(outcome.table.parts)
    fresh = freshness(contract, day.day, day.rows.newest)
    rows = day.rows.of_the_day()
    reasons = "; ".join(day.reasons)
    broken = [rule for rule in day.rules if rule.failed]
    contract_metadata: dict[str, dg.MetadataValue] = {
        "rules": _rules_table(day),
        "rows": dg.MetadataValue.int(rows.rows_in),
        "rules_broken": dg.MetadataValue.int(len(broken)),
        "sql": dg.MetadataValue.md(_sql(outcome.table, contract, day)),
    }
    for rule in broken[:SAMPLE_RULES]:
        found = day.samples.get(rule.rule)
        if found:
            contract_metadata[f"samples: {rule.rule}"] = dg.MetadataValue.json(found)
    return [
        dg.AssetCheckEvaluation(
            asset_key=key,
            check_name=CONTRACT,
            passed=all(rule.passed for rule in day.rules) and not (day.status is Status.FAILED and day.reconciled),
            description=reasons
            or (f"{rows.quarantined} of {rows.rows_in} rows in quarantine" if rows.quarantined else None),
            metadata=contract_metadata,
            blocking=True,
            partition=str(day.day),
            target_materialization_data=target,
        ),
        dg.AssetCheckEvaluation(
            asset_key=key,
            check_name=CONSERVATION,
            passed=day.reconciled,
            description=_equation(rows)
            if rows.rows_in or not day.unchanged
            else "Nothing came: the day stays as it is.",
            metadata={
                "rows_in": rows.rows_in,
                "kept": rows.kept,
                "quarantined": rows.quarantined,
                "duplicates": rows.duplicates,
            },
            blocking=True,
            partition=str(day.day),
            target_materialization_data=target,
        ),
        dg.AssetCheckEvaluation(
            asset_key=key,
            check_name=FRESHNESS,
            passed=fresh.passed,
            severity=dg.AssetCheckSeverity.WARN,
            description=fresh.description,
            metadata={"newest": str(fresh.newest)} if fresh.newest else {},
            blocking=False,
            partition=str(day.day),
            target_materialization_data=target,
        ),
    ]


def _equation(rows: DayRows) -> str:
    return f"{rows.rows_in} in = {rows.kept} kept + {rows.quarantined} quarantined + {rows.duplicates} duplicates"


def _rules_table(day: DayOutcome) -> dg.MetadataValue:
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord(
                {
                    "dimension": rule.dimension.value,
                    "rule": rule.rule,
                    "action": rule.action.value,
                    "rows": rule.rows,
                    "failed": rule.failed,
                    "rate": round(rule.rate, 6),
                    "passed": rule.passed,
                }
            )
            for rule in day.rules
        ],
        schema=dg.TableSchema(
            columns=[
                dg.TableColumn("dimension", "string"),
                dg.TableColumn("rule", "string"),
                dg.TableColumn("action", "string"),
                dg.TableColumn("rows", "int"),
                dg.TableColumn("failed", "int"),
                dg.TableColumn("rate", "float"),
                dg.TableColumn("passed", "bool"),
            ]
        ),
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
