"""A step's outcome as rows of the journals: the domain's audit and the check results of all tables."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lakehouse_assets.platform.common.fault_injection import Failpoint, inject_fault
from lakehouse_assets.platform.results.audit_log import AUDIT, CHECK_RESULTS, append, append_audit, check_results_path
from lakehouse_assets.platform.results.check_results import CONSERVATION, CONTRACT, FRESHNESS, freshness, listing
from lakehouse_assets.platform.results.step_result import DayOutcome, Outcome, Status
from lakehouse_assets.platform.storage.location import Location

if TYPE_CHECKING:
    from lakehouse_assets.platform.contracts.compiled import CompiledContract


def write_records(lake: Location, contract: "CompiledContract", outcome: Outcome) -> None:
    """Append the outcome to `<domain>/audit` and `ops/check_results`, but for blocked days: nothing was judged."""
    validated = [day for day in outcome.days if day.status is not Status.BLOCKED]
    if not validated:
        return
    inject_fault(Failpoint.BEFORE_METADATA, outcome.table)
    append_audit(lake, outcome.table.domain, _table([_audit(outcome, day) for day in validated], AUDIT))
    inject_fault(Failpoint.BETWEEN_JOURNALS, outcome.table)
    results = [row for day in validated for row in _checks(contract, outcome, day)]
    append(check_results_path(lake), _table(results, CHECK_RESULTS))


def _table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema)


def _audit(outcome: Outcome, day: DayOutcome) -> dict[str, Any]:
    committed = day.status is Status.COMMITTED
    rows = day.rows.of_the_day()
    return {
        "table": str(outcome.table),
        "feed_day": day.day,
        "run_id": outcome.run_id,
        "status": day.status.value,
        "started": outcome.started,
        "finished": outcome.finished,
        "code_version": outcome.code_version,
        "input_versions": json.dumps(
            {name: input_version.as_json() for name, input_version in outcome.input_versions.items()}, sort_keys=True
        ),
        "base_version": -1 if outcome.base is None else outcome.base,
        "output_version": outcome.version if committed else None,
        "rows_in": rows.rows_in,
        "kept": rows.kept if committed else 0,
        "quarantined": day.rows.quarantined,
        "duplicates": day.rows.duplicates,
        "restated": day.rows.kept if committed and outcome.restates else 0,
        "digest": day.rows.digest,
        "ties": day.rows.ties,
        "along": day.status is Status.FAILED
        and bool(day.rules)
        and day.reconciled
        and all(r.passed for r in day.rules),
    }


def _checks(contract: "CompiledContract", outcome: Outcome, day: DayOutcome) -> Iterator[dict[str, Any]]:
    base = {
        "table": str(outcome.table),
        "feed_day": day.day,
        "run_id": outcome.run_id,
        "rows": day.rows.of_the_day().rows_in,
        "samples": "[]",
        "table_version": outcome.version,
        "evaluated_at": outcome.finished,
    }
    rules = {rule.name: rule for rule in contract.rules}
    for result in day.rules:
        yield base | {
            "check": CONTRACT,
            "rule": result.rule,
            "dimension": result.dimension.value,
            "action": result.action.value,
            "rows": result.rows,
            "failed": result.failed,
            "passed": result.passed,
            "blocking": True,
            "sql": listing(outcome.table, rules[result.rule], day) if result.failed else "",
            "samples": json.dumps(day.samples.get(result.rule, []), ensure_ascii=False, default=str),
        }
    unaccounted = day.rows.rows_in - day.rows.kept - day.rows.quarantined - day.rows.duplicates
    yield base | {
        "check": CONSERVATION,
        "rule": CONSERVATION,
        "dimension": "volume",
        "action": "fail",
        "failed": abs(unaccounted),
        "passed": day.reconciled,
        "blocking": True,
        "sql": "",
    }
    fresh = freshness(contract, day.day, day.rows.newest)
    if fresh is None:
        return
    yield base | {
        "check": FRESHNESS,
        "rule": FRESHNESS,
        "dimension": "timeliness",
        "action": "warn",
        "failed": 0 if fresh.passed else 1,
        "passed": fresh.passed,
        "blocking": False,
        "sql": "",
    }
