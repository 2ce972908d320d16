"""The I/O manager of declared tables: it reports what a step made, and loads tables for assets that are not declared.

Dagster's own bookkeeping of a range (every day of it materialized, one check result for all) would be wrong as soon
as one day is bad, and would give all days the same metadata. So the events are written here, one per day.
"""

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster import DagsterEvent, DagsterEventType
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._core.events import DagsterEventBatchMetadata, generate_event_batch_id

from lakehouse_assets.platform.common.days import DAY_COLUMN, DayRange, parse_day
from lakehouse_assets.platform.common.fault_injection import Failpoint, inject_fault
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import Table, TableKey
from lakehouse_assets.platform.orchestration.asset_events import day_events
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.planning.reader import read_table
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.results.step_result import Outcome, Status
from lakehouse_assets.platform.storage.delta_writer import on_days

if TYPE_CHECKING:
    from dagster._core.execution.context.system import StepExecutionContext
    from pyspark.sql import DataFrame

    from lakehouse_assets.platform.orchestration.spark_resource import SparkConnectResource

# Tells Dagster to add no event of its own for an output. Internal to Dagster: used here only, and a test guards it.
EVENTS_ARE_OURS = {SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True}


class DeltaIOManager(dg.IOManager):
    """Reports what a step made of a declared table, and loads declared tables for assets that are not declared."""

    def __init__(self, catalog: Catalog, spark: "SparkConnectResource", lake: Lake) -> None:
        self._catalog = catalog
        self._spark = spark
        self._lake = lake

    def step(self, run: "StepExecutionContext") -> Step:
        """What the step of a run needs. How far it is goes to the run's log."""
        return Step(self._spark.spark_session, self._lake, self._catalog, run.run_id, run.log.info)

    def load_input(self, context: dg.InputContext) -> "DataFrame":
        """The asset's days of the newest version of a declared table."""
        frame = self.read_newest(_key(context.asset_key))
        if not context.has_asset_partitions or DAY_COLUMN not in frame.columns:
            return frame
        return frame.where(on_days(DAY_COLUMN, map(parse_day, context.asset_partition_keys)))

    def read_newest(self, key: TableKey) -> "DataFrame":
        """The newest version of a declared table."""
        return read_table(self._spark.spark_session, self._lake, self._catalog.table(key), self._lake.version(key))

    def handle_output(  # type: ignore[override]  # Dagster takes a generator of events here
        self, context: dg.OutputContext, obj: Outcome
    ) -> Iterator[DagsterEvent]:
        """Yield the events of the days. Raises dagster.Failure when no day could be made."""
        step_context = context.step_context
        yield from self._events(step_context, self._catalog.table(_key(context.asset_key)), obj)
        self._report(step_context, obj)

    def _events(self, step: "StepExecutionContext", table: Table, outcome: Outcome) -> Iterator[DagsterEvent]:
        inject_fault(Failpoint.BEFORE_EVENTS, table.key)
        for events in day_events(step.instance, table, self._lake, outcome, step.run_id):
            batch: str = generate_event_batch_id()  # type: ignore[no-untyped-call]
            for number, event in enumerate(events, 1):
                is_last = DagsterEventBatchMetadata(batch, number == len(events))
                if isinstance(event, dg.AssetMaterialization):
                    yield DagsterEvent.asset_materialization(step, event, is_last)
                    if number == 1:
                        inject_fault(Failpoint.BETWEEN_EVENTS, table.key)
                else:
                    yield _check_evaluation(step, event, is_last)
        inject_fault(Failpoint.AFTER_EVENTS, table.key)

    def _report(self, step: "StepExecutionContext", outcome: Outcome) -> None:
        """Say which days were not made. A run in which no day could be made fails; otherwise the good days go on."""
        bad = [day for day in outcome.days if day.status is not Status.COMMITTED]
        if not bad:
            return
        lines = [f"{outcome.table} {day.day} {day.status.value}: {'; '.join(day.reasons)}" for day in bad]
        if len(bad) == len(outcome.days):
            raise dg.Failure(description="\n".join(lines[:20]), allow_retries=False)
        for line in lines:
            step.log.warning(line)


def _check_evaluation(
    step: "StepExecutionContext", event: dg.AssetCheckEvaluation, batch: DagsterEventBatchMetadata
) -> DagsterEvent:
    """As `DagsterEvent.asset_check_evaluation`, which takes no batch."""
    message = f"{event.check_name} of {event.asset_key.to_user_string()} {event.partition}: "
    return DagsterEvent.from_step(
        DagsterEventType.ASSET_CHECK_EVALUATION,
        step,
        event,
        message
        + ("passed" if event.passed else "did not pass")
        + (f". {event.description}" if event.description else ""),
        batch,
    )


def _key(asset: dg.AssetKey) -> TableKey:
    return TableKey.parse("/".join(asset.path))


def days_of(step: "StepExecutionContext") -> tuple[date, ...]:
    """The days that a run was asked for: its partition, or its range of partitions."""
    if step.has_partition_key:
        return (parse_day(step.partition_key),)
    if step.has_partition_key_range:
        asked = step.partition_key_range
        return tuple(DayRange(parse_day(asked.start), parse_day(asked.end)))
    raise dg.Failure(description="A table is made by days: choose a partition or a range of them.")


def delta_io_manager(catalog: Catalog) -> dg.IOManagerDefinition:
    """The I/O manager of these tables, on the session of resource `spark` and the roots of the settings."""

    @dg.io_manager(required_resource_keys={"spark"})
    def manager(context: Any) -> DeltaIOManager:
        from lakehouse_assets.settings import settings

        here = settings()
        return DeltaIOManager(catalog, context.resources.spark, Lake(here.lake, here.landing))

    return manager
