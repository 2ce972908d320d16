"""Check results and quarantine counts in the warehouse as Dagster assets, kept up with the journal by a sensor."""

from collections.abc import Iterator

import dagster as dg
from dagster._time import get_current_datetime

from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.orchestration.assets import tags_of
from lakehouse_assets.platform.orchestration.evaluations import one_at_a_time
from lakehouse_assets.platform.orchestration.run_records import LEVEL_TAG, assets_under_way, attempts
from lakehouse_assets.serving.quality_tables import QUALITY_TABLES
from lakehouse_assets.serving.warehouse import warehouse_group, warehouse_metadata
from lakehouse_assets.serving.warehouse_tables import warehouse_key

EVERY_SECONDS = 60
"""A run writes a journal; one that publishes it costs a process. A board that is a minute behind is good enough."""
KEYS = [dg.AssetKey(warehouse_key(table).parts) for table in QUALITY_TABLES]
QUALITY_JOB = dg.define_asset_job(
    "ops_warehouse",
    selection=dg.AssetSelection.assets(*KEYS),
    description="Publishes check results and quarantine counts to PostgreSQL.",
)


def quality_assets(catalog: Catalog) -> dg.AssetsDefinition:
    """`ops/warehouse/check_results` and `ops/warehouse/quarantine`. They have no days: each run brings what is new."""
    outs = {
        table.key.name: dg.AssetOut(
            key=key,
            dagster_type=dg.Nothing,
            description=f"{table.compiled.description} In PostgreSQL.",
            group_name=warehouse_group(table.key.domain),
            kinds={"postgres"},
            tags=tags_of(warehouse_key(table)),
            metadata=warehouse_metadata(table, None),
            owners=list(table.compiled.owners),
        )
        for table, key in zip(QUALITY_TABLES, KEYS, strict=True)
    }

    @dg.multi_asset(name="ops__warehouse__quality", outs=outs)
    def publish_all(context: dg.AssetExecutionContext) -> Iterator[dg.Output[None]]:
        from lakehouse_assets.platform.common.errors import LakehouseError
        from lakehouse_assets.serving.publish_quality import publish_quality
        from lakehouse_assets.settings import settings

        try:
            done = publish_quality(settings(), catalog, context.run.run_id)
        except LakehouseError as error:
            raise dg.Failure(description=str(error)) from error
        results, quarantine = (table.key.name for table in QUALITY_TABLES)
        yield dg.Output(None, output_name=results, metadata={"rows_written": done.check_results})
        yield dg.Output(None, output_name=quarantine, metadata={"tables_counted": list(done.quarantines)})

    return publish_all


def quality_sensor() -> dg.SensorDefinition:
    """Asks for a run where the journal has verdicts that the warehouse has not. On by default."""

    @dg.sensor(
        name="quality_warehouse",
        description="Publishes check results and quarantine counts that changed after they were last published.",
        job=QUALITY_JOB,
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    @one_at_a_time
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        from lakehouse_assets.platform.common.errors import LakehouseError
        from lakehouse_assets.serving.publish_quality import stale_days
        from lakehouse_assets.settings import settings

        if assets_under_way(context.instance) & set(KEYS):  # first: what a run that ends meanwhile wrote is seen
            return dg.SkipReason("A run is on its way.")
        try:
            level = stale_days(settings())
        except LakehouseError as error:
            return dg.SkipReason(str(error))
        if level is None:
            return dg.SkipReason("Nothing is behind.")
        if not attempts(context.instance, level).due(get_current_datetime()):
            return dg.SkipReason("It was tried, and waits to be tried again.")
        return dg.SensorResult(run_requests=[dg.RunRequest(asset_selection=KEYS, tags={LEVEL_TAG: level})])

    return sensor
