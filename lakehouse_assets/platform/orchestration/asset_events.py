"""What Dagster records of a day: versions, rows, code, in the standard metadata keys; then its check results."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import dagster as dg
from dagster import AssetCheckEvaluation, AssetMaterialization, AssetRecordsFilter, DagsterEventType
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    NULL_EVENT_POINTER,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)

from lakehouse_assets.platform.common.days import DayRange
from lakehouse_assets.platform.declare.scd import Scd
from lakehouse_assets.platform.declare.table import Ledger, Table
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.results.check_results import evaluations
from lakehouse_assets.platform.results.step_result import DayOutcome, Outcome, Status
from lakehouse_assets.platform.storage.location import uri_of


def data_version(version: int | None, digest: str) -> str:
    """The version of a day's data: the table's version and the digest of the day's rows."""
    return f"{version}:{digest}"


def input_tags(table: Table, outcome: Outcome) -> dict[str, str]:
    """The inputs of a day, as Dagster asks for them: without, the UI calls every day of every table unsynced.

    No event is pointed at: what is behind is found by comparing levels (`staleness.py`), not by Dagster's events.
    """
    pinned = {name: input_version.version for name, input_version in outcome.input_versions.items()}
    keys = {dg.AssetKey(read.table.parts): pinned[name] for name, read in table.reads.items() if name in pinned}
    versions = {get_input_data_version_tag(key): str(version) for key, version in keys.items()}
    return versions | {get_input_event_pointer_tag(key): NULL_EVENT_POINTER for key in keys}


def input_versions(table: Table, outcome: Outcome, day: date) -> dict[str, dict[str, Any]]:
    """What a day was made of: `{input: {version, days}}`; a ledger's or state's own version before is an input too."""
    found: dict[str, dict[str, Any]] = {}
    for name, input_version in outcome.input_versions.items():
        if name not in table.reads:  # of a state, the changes it was folded from; or an input of former code
            found[f"{table.key}{name.partition(' ')[0]}" if name.startswith("__") else name] = input_version.as_json()
            continue
        first, last = table.reads[name].bounds(day, day)
        days = input_version.days if last == date.max else str(DayRange(first, last)) if first else f"..{last}"
        found[str(table.reads[name].table)] = {"version": input_version.version, "days": days}
    if isinstance(table.write, Ledger):
        found[str(table.key)] = {"version": outcome.base, "days": "all"}
    return found


def why_no_rows(table: Table) -> str:
    """Why a day has no rows, for people who wonder about a 0."""
    if table.landing is not None or table.stream is not None:
        return "Nothing was delivered for this day."
    return "Its inputs brought no rows on this day."


def materialization(table: Table, lake: Lake, outcome: Outcome, day: DayOutcome) -> AssetMaterialization:
    """The event of one committed day."""
    rows = day.rows.of_the_day()
    return AssetMaterialization(
        asset_key=dg.AssetKey(outcome.table.parts),
        partition=str(day.day),
        metadata={
            "dagster/partition_row_count": rows.kept,
            "dagster/table_name": ".".join(outcome.table.parts),
            "dagster/uri": uri_of(lake.path(table.key)),
            "delta_version": outcome.version if outcome.version is not None else -1,
            "input_versions": dg.MetadataValue.json(input_versions(table, outcome, day.day)),
            "code_version": outcome.code_version,
            "rows_in": rows.rows_in,
            **({} if rows.rows_in else {"no_rows": why_no_rows(table)}),
            "rows_quarantined": day.rows.quarantined,
            "exact_duplicates": day.rows.duplicates,
            "unchanged": day.unchanged,
            **({"ties_broken": day.rows.ties} if isinstance(table.write, Scd) else {}),
        },
        tags={
            DATA_VERSION_TAG: data_version(outcome.version, day.rows.digest),
            DATA_VERSION_IS_USER_PROVIDED_TAG: "true",
            CODE_VERSION_TAG: outcome.code_version,
            **input_tags(table, outcome),
        },
    )


def day_events(
    instance: dg.DagsterInstance, table: Table, lake: Lake, outcome: Outcome, run_id: str
) -> Iterator[Sequence[AssetMaterialization | AssetCheckEvaluation]]:
    """The events of an outcome's days, in the order to record them: a list is stored before the next is asked for."""
    key = dg.AssetKey(outcome.table.parts)
    committed = outcome.with_status(Status.COMMITTED)
    yield [materialization(table, lake, outcome, day) for day in committed]
    ids = instance.event_log_storage.get_latest_storage_id_by_partition(
        key, DagsterEventType.ASSET_MATERIALIZATION, {str(day.day) for day in committed}
    )
    checks: list[AssetCheckEvaluation] = []
    for day in outcome.days:
        if day.status is Status.BLOCKED:
            continue
        target = (
            AssetCheckEvaluationTargetMaterializationData(
                storage_id=ids[str(day.day)], run_id=run_id, timestamp=outcome.finished.timestamp()
            )
            if day.status is Status.COMMITTED
            else standing(instance, key, day.day)
        )
        checks += evaluations(table.compiled, outcome, day, target)
    yield checks


def standing(
    instance: dg.DagsterInstance, key: dg.AssetKey, day: date
) -> AssetCheckEvaluationTargetMaterializationData | None:
    """The materialization that stands of a day, if any: a check that points at no event is not shown on the day."""
    of_day = AssetRecordsFilter(asset_key=key, asset_partitions=[str(day)])
    found = instance.fetch_materializations(of_day, limit=1).records
    if not found:
        return None
    return AssetCheckEvaluationTargetMaterializationData(
        storage_id=found[0].storage_id, run_id=found[0].run_id, timestamp=found[0].timestamp
    )
