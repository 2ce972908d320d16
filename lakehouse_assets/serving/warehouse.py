"""Tables in the warehouse as Dagster assets: `<domain>/warehouse/<table>`, downstream of the table, by the same days.

A sensor compares levels here too: what the warehouse says it holds with what the Delta log says was changed.
"""

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._time import get_current_datetime

from lakehouse_assets.platform.common.days import DayRange, ranges
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import Table, TableKey
from lakehouse_assets.platform.orchestration.assets import DOMAIN_TAG, asset_key, partitions, tags_of
from lakehouse_assets.platform.orchestration.evaluations import one_at_a_time
from lakehouse_assets.platform.orchestration.io_manager import EVENTS_ARE_OURS, days_of
from lakehouse_assets.platform.orchestration.run_records import DAYS_TAG, LEVEL_TAG, assets_under_way, attempts
from lakehouse_assets.platform.orchestration.staleness import Staleness
from lakehouse_assets.platform.orchestration.staleness_sensor import NOTHING, RANGE_END, RANGE_START, TICK_SECONDS
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.serving.warehouse_tables import LAYER, fields_of, place, served, warehouse_key

if TYPE_CHECKING:
    from lakehouse_assets.serving.publish import Published
    from lakehouse_assets.serving.published import Held
    from lakehouse_assets.settings import Settings

CHECK = "equals_delta"
MOST_RANGES = 10  # runs that one tick asks for
LOOK_AGAIN = timedelta(minutes=1)  # at a warehouse that had everything: somebody may have dropped a table of it


def warehouse_assets(catalog: Catalog, first_days: dict[str, date]) -> list[dg.AssetsDefinition]:
    """An asset for every published table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        warnings.simplefilter("ignore", dg.BetaWarning)
        days = {domain: partitions(first, catalog.zone(domain)) for domain, first in first_days.items()}
        return [_asset(table, days[table.key.domain]) for table in served(catalog)]


def warehouse_group(domain: str) -> str:
    """The group of a domain's assets in the warehouse, apart from those of the lake: another system holds them."""
    return f"{LAYER}/{domain}"


def warehouse_job(domain: str, catalog: Catalog) -> UnresolvedAssetJobDefinition:
    """The job `<domain>_warehouse`: publishes tables of the domain, all of them unless a run selects some."""
    tables = [table for table in served(catalog) if table.key.domain == domain]
    return dg.define_asset_job(
        f"{domain}_{LAYER}",
        selection=dg.AssetSelection.assets(*[asset_key(warehouse_key(table)) for table in tables]),
        description=f"Publishes the tables of {domain} to PostgreSQL, for a feed day or a range of them.",
        tags={DOMAIN_TAG: domain},
    )


def warehouse_metadata(table: Table, source: dg.AssetKey | None) -> dict[str, Any]:
    """Name, columns and column lineage in the warehouse: the published columns are those of the table in the lake."""
    published = {field.name for field in fields_of(table)}
    columns = [column for column in table.compiled.dagster_columns().columns if column.name in published]
    found = {"dagster/table_name": ".".join(place(table)), "dagster/column_schema": dg.TableSchema(columns)}
    if source is not None:
        of_source = {column.name: [dg.TableColumnDep(source, column.name)] for column in columns}
        found["dagster/column_lineage"] = dg.TableColumnLineage(of_source)
    return found


def _asset(table: Table, days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    key = asset_key(warehouse_key(table))
    check = dg.AssetCheckSpec(
        CHECK,
        asset=key,
        partitions_def=days,
        description="Row count and checksum of the day in PostgreSQL are those of Delta. Compared before the commit.",
    )

    @dg.multi_asset(
        name="__".join(warehouse_key(table).parts),
        outs={
            table.key.name: dg.AssetOut(
                key=key,
                dagster_type=dg.Nothing,
                description=f"{table.compiled.description} In PostgreSQL.",
                group_name=warehouse_group(table.key.domain),
                kinds={"postgres"},
                tags=tags_of(warehouse_key(table)),
                owners=list(table.compiled.owners),
                metadata=warehouse_metadata(table, asset_key(table.key)),
            )
        },
        deps=[dg.AssetDep(asset_key(table.key), partition_mapping=dg.IdentityPartitionMapping())],
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[check],
    )
    def publish_days(context: dg.AssetExecutionContext) -> Iterator[Any]:
        from lakehouse_assets.platform.common.errors import LakehouseError
        from lakehouse_assets.serving.publish import publish
        from lakehouse_assets.settings import settings

        asked = days_of(context.get_step_execution_context())
        made: dict[str, dict[str, dg.MetadataValue]] = {}

        def record(published: "Published") -> None:
            for day in asked if published.day is None else [published.day]:
                made[str(day)] = _metadata(published)
                context.log_event(dg.AssetMaterialization(key, partition=str(day), metadata=made[str(day)]))

        failed: LakehouseError | None = None
        try:
            publish(settings(), table, asked, context.run.run_id, record)
        except LakehouseError as error:
            failed = error
        # Dagster stores what was logged when something is yielded: also the days before one that failed.
        yield dg.Output(None, output_name=table.key.name, metadata=EVENTS_ARE_OURS)
        ids = context.instance.event_log_storage.get_latest_storage_id_by_partition(
            key, dg.DagsterEventType.ASSET_MATERIALIZATION, set(made)
        )
        for partition, metadata in made.items():
            context.log_event(_passed(key, partition, metadata, ids[partition], context.run.run_id))
        if failed:
            raise dg.Failure(description=str(failed)) from failed
        yield dg.Output(None, output_name=check.get_python_identifier())

    return publish_days


def _metadata(published: "Published") -> dict[str, dg.MetadataValue]:
    return {
        "dagster/partition_row_count": dg.MetadataValue.int(published.rows),
        "delta_version": dg.MetadataValue.int(published.version),
        "checksum": dg.MetadataValue.text(str(published.checksum)),
        "written": dg.MetadataValue.bool(published.changed),
    }


def _passed(
    key: dg.AssetKey, partition: str, metadata: dict[str, dg.MetadataValue], materialization: int, run_id: str
) -> AssetCheckEvaluation:
    """A day that was published was compared: the check of it, pointing at its materialization as Dagster wants."""
    target = AssetCheckEvaluationTargetMaterializationData(
        storage_id=materialization, run_id=run_id, timestamp=datetime.now(UTC).timestamp()
    )
    return AssetCheckEvaluation(
        asset_key=key,
        check_name=CHECK,
        passed=True,
        metadata=metadata,
        partition=partition,
        target_materialization_data=target,
    )


def warehouse_sensor(domain: str, catalog: Catalog, job: UnresolvedAssetJobDefinition) -> dg.SensorDefinition:
    """Asks for the days of a domain of which the warehouse holds another version than Delta. On by default."""
    tables = [table for table in served(catalog) if table.key.domain == domain]
    looks: dict[Lake, Looks] = {}

    @dg.sensor(
        name=f"{domain}_warehouse",
        description="Compares the versions in the warehouse with those in Delta, and publishes the stale days.",
        job=job,
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    @one_at_a_time
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        from lakehouse_assets.platform.common.errors import LakehouseError
        from lakehouse_assets.settings import settings

        here, now = settings(), get_current_datetime()
        lake = Lake(here.lake, here.landing)
        known = looks.setdefault(lake, Looks(Staleness(lake, Catalog(tuple(tables)))))
        busy = assets_under_way(context.instance)  # first: what a run that ends meanwhile published is seen
        free = [table for table in tables if not busy & {asset_key(table.key), asset_key(warehouse_key(table))}]
        try:
            stale_days = known.stale_days(here, free, now)
        except LakehouseError as error:
            return dg.SkipReason(str(error))
        wanted = requests_to_publish(stale_days)
        due = [one for one in wanted if attempts(context.instance, one.tags[LEVEL_TAG]).due(now)]
        if due:
            return dg.SensorResult(run_requests=due[:MOST_RANGES])
        return dg.SkipReason(f"{len(wanted)} ranges were tried and wait to be tried again." if wanted else NOTHING)

    return sensor


@dataclass
class Looks:
    """What a sensor knows of Delta, and at which version of a table, and when, the warehouse was seen to have it all.

    So a warehouse that has everything is asked once a minute, by one connection for all tables.
    """

    staleness: Staleness
    complete: dict[TableKey, tuple[int, datetime]] = field(default_factory=dict)

    def stale_days(self, settings: "Settings", tables: list[Table], now: datetime) -> dict[Table, dict[date, int]]:
        """By table the days that are behind, and the version of their newest change. Raises WarehouseError."""
        from lakehouse_assets.serving.published import held_of

        for table in tables:
            self.staleness.of(table.key).refresh()
        there = [table for table in tables if self.staleness.of(table.key).changed]
        if all(self._is_complete(table, now) for table in there):
            return {}
        held = held_of(settings, [str(table.key) for table in there])
        found = {table: behind_of(settings, table, self.staleness, held[str(table.key)]) for table in there}
        self.complete = {table.key: (self.staleness.of(table.key).seen, now) for table in there if not found[table]}
        return {table: days for table, days in found.items() if days}

    def _is_complete(self, table: Table, now: datetime) -> bool:
        seen, at = self.complete.get(table.key, (-1, now))
        return seen == self.staleness.of(table.key).seen and abs(now - at) < LOOK_AGAIN


def behind_in_warehouse(settings: "Settings", table: Table, staleness: Staleness) -> dict[date, int]:
    """Days of a table whose newest change the warehouse has not, and the version of that change."""
    from lakehouse_assets.serving.published import held_of

    name = str(table.key)
    return behind_of(settings, table, staleness, held_of(settings, [name])[name])


def behind_of(
    settings: "Settings", table: Table, staleness: Staleness, there: "Mapping[date | None, Held]"
) -> dict[date, int]:
    """Days of a table whose newest change is not among what the warehouse holds of it, and its version."""
    from lakehouse_assets.platform.storage.delta_table import open_table
    from lakehouse_assets.serving.publish import by_day, source_of

    delta = open_table(settings.lake.joinpath(*table.key.parts))
    if delta is None:
        return {}
    source = source_of(delta, table)
    changed = {day: change.version for day, change in staleness.of(table.key).changed.items()}
    if not by_day(table):
        newest = max(changed, key=lambda day: (changed[day], day))
        changed = {newest: changed[newest]}
        there = {newest: there[None]} if None in there else {}
    held = {day: what.version for day, what in there.items() if what.source == source}
    return {day: version for day, version in changed.items() if held.get(day, -1) < version}


def requests_to_publish(stale_days: Mapping[Table, Mapping[date, int]]) -> list[dg.RunRequest]:
    """A run for each range of days, of all tables that are behind on it; newest days first."""
    tables: dict[DayRange, list[Table]] = {}
    for table, days in stale_days.items():
        for part in ranges(days):
            tables.setdefault(part, []).append(table)
    return [
        _request(part, tables[part], stale_days) for part in sorted(tables, key=lambda days: days.last, reverse=True)
    ]


def _request(part: DayRange, tables: list[Table], stale_days: Mapping[Table, Mapping[date, int]]) -> dg.RunRequest:
    level = [(str(table.key), str(part), [stale_days[table][day] for day in part]) for table in tables]
    return dg.RunRequest(
        asset_selection=[asset_key(warehouse_key(table)) for table in tables],
        tags={
            DAYS_TAG: str(part),
            RANGE_START: str(part.first),
            RANGE_END: str(part.last),
            LEVEL_TAG: hashlib.sha256(repr(level).encode()).hexdigest()[:16],
        },
    )
