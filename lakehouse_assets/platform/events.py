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

from lakehouse_assets.platform.checks import evaluations
from lakehouse_assets.platform.days import DayRange
from lakehouse_assets.platform.delta import ask
from lakehouse_assets.platform.outcome import DayOutcome, Outcome, Status
from lakehouse_assets.platform.plan import Lake
from lakehouse_assets.platform.store import uri_of
from lakehouse_assets.platform.table import DAY_COLUMN, Ledger, Table


def data_version(version: int | None, digest: str) -> str:
    """The version of a day's data: the table's version and the digest of the day's rows."""
    return f"{version}:{digest}"


def input_tags(table: Table, outcome: Outcome) -> dict[str, str]:
    """The inputs of a day, as Dagster asks for them: without, the UI calls every day of every table unsynced.

    No event is pointed at: what is behind is found by comparing levels (`levels.py`), not by Dagster's events.
    """
    pinned = {name: pin.version for name, pin in outcome.pins.items()}
    keys = {dg.AssetKey(read.table.parts): pinned[name] for name, read in table.reads.items() if name in pinned}
    versions = {get_input_data_version_tag(key): str(version) for key, version in keys.items()}
    return versions | {get_input_event_pointer_tag(key): NULL_EVENT_POINTER for key in keys}


def input_versions(table: Table, outcome: Outcome, day: date) -> dict[str, dict[str, Any]]:
    """What a day was made of: `{input: {version, days}}`; a ledger's or state's own version before is an input too."""
    found: dict[str, dict[str, Any]] = {}
    for name, pin in outcome.pins.items():
        if name not in table.reads:  # of a state, the changes it was folded from; or an input of former code
            found[f"{table.key}{name.partition(' ')[0]}" if name.startswith("__") else name] = pin.as_json()
            continue
        first, last = table.reads[name].bounds(day, day)
        days = pin.days if last == date.max else str(DayRange(first, last)) if first else f"..{last}"
        found[str(table.reads[name].table)] = {"version": pin.version, "days": days}
    if isinstance(table.write, Ledger):
        found[str(table.key)] = {"version": outcome.base, "days": "all"}
    return found


def rows_held(table: Table, lake: Lake, outcome: Outcome, days: Sequence[DayOutcome]) -> dict[date, int]:
    """How many rows the table has of each day. A ledger keeps what it had of a day to which a step adds."""
    if not isinstance(table.write, Ledger) or outcome.version is None or not days:
        return {day.day: day.rows.kept for day in days}
    first, last = (choose(day.day for day in days) for choose in (min, max))
    counted = ask(
        lake.path(table.key),
        f"SELECT {DAY_COLUMN} AS day, count(*) AS rows FROM t "  # noqa: S608  (days, not text)
        f"WHERE {DAY_COLUMN} BETWEEN DATE '{first}' AND DATE '{last}' GROUP BY {DAY_COLUMN}",
        outcome.version,
    )
    found = {row["day"]: row["rows"] for row in counted}
    return {day.day: found.get(day.day, 0) for day in days}


def materialization(table: Table, lake: Lake, outcome: Outcome, day: DayOutcome, held: int) -> AssetMaterialization:
    """The event of one committed day, of which the table has `held` rows."""
    return AssetMaterialization(
        asset_key=dg.AssetKey(outcome.table.parts),
        partition=str(day.day),
        metadata={
            "dagster/partition_row_count": held,
            "dagster/table_name": ".".join(outcome.table.parts),
            "dagster/uri": uri_of(lake.path(table.key)),
            "delta_version": outcome.version if outcome.version is not None else -1,
            "input_versions": dg.MetadataValue.json(input_versions(table, outcome, day.day)),
            "code_version": outcome.code_version,
            "rows_in": day.rows.rows_in,
            "rows_quarantined": day.rows.quarantined,
            "exact_duplicates": day.rows.duplicates,
            "unchanged": day.unchanged,
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
    held = rows_held(table, lake, outcome, committed)
    yield [materialization(table, lake, outcome, day, held[day.day]) for day in committed]
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
