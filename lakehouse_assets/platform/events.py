"""What Dagster records of a day: versions, rows, code, in the standard metadata keys."""

import dagster as dg
from dagster import AssetMaterialization, DataVersion
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    NULL_EVENT_POINTER,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)

from lakehouse_assets.platform.outcome import DayOutcome, Outcome
from lakehouse_assets.platform.plan import Lake
from lakehouse_assets.platform.table import Table


def data_version(outcome: Outcome, day: DayOutcome) -> DataVersion:
    """The version of a day's data: the table's version and the digest of the day's rows."""
    return DataVersion(f"{outcome.version}:{day.rows.digest}")


def input_tags(table: Table, outcome: Outcome) -> dict[str, str]:
    """The inputs of a day, as Dagster asks for them: without, the UI calls every day of every table unsynced.

    No event is pointed at: what is behind is found by comparing levels (`levels.py`), not by Dagster's events.
    """
    keys = {dg.AssetKey(read.table.parts): outcome.pins[name].version for name, read in table.reads.items()}
    versions = {get_input_data_version_tag(key): str(version) for key, version in keys.items()}
    return versions | {get_input_event_pointer_tag(key): NULL_EVENT_POINTER for key in keys}


def materialization(table: Table, lake: Lake, outcome: Outcome, day: DayOutcome) -> AssetMaterialization:
    """The event of one committed day."""
    return AssetMaterialization(
        asset_key=dg.AssetKey(outcome.table.parts),
        partition=str(day.day),
        metadata={
            "dagster/partition_row_count": day.rows.kept,
            "dagster/table_name": ".".join(outcome.table.parts),
            "dagster/uri": lake.path(table.key).as_uri(),
            "delta_version": outcome.version if outcome.version is not None else -1,
            "input_versions": dg.MetadataValue.json({name: pin.as_json() for name, pin in outcome.pins.items()}),
            "code_version": outcome.code_version,
            "rows_in": day.rows.rows_in,
            "rows_quarantined": day.rows.quarantined,
            "exact_duplicates": day.rows.duplicates,
        },
        tags={
            DATA_VERSION_TAG: data_version(outcome, day).value,
            DATA_VERSION_IS_USER_PROVIDED_TAG: "true",
            CODE_VERSION_TAG: outcome.code_version,
            **input_tags(table, outcome),
        },
    )
