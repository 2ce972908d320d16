"""The Spark + Delta I/O manager: inputs pinned when the step starts, outputs judged before they are committed.

Dagster's own bookkeeping of a range (every day of it materialized, one check result for all) would be wrong as soon
as one day is bad, and would give all days the same metadata. So the events are written here, one per day.
"""

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster import DagsterEvent, DagsterEventType
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._core.definitions.utils import DISALLOWED_NAMES
from dagster._core.events import DagsterEventBatchMetadata, generate_event_batch_id

from lakehouse_assets.platform.catalog import Catalog
from lakehouse_assets.platform.days import DayRange, parse_day
from lakehouse_assets.platform.events import day_events
from lakehouse_assets.platform.failpoints import Failpoint, reach
from lakehouse_assets.platform.materialize import Step, materialize
from lakehouse_assets.platform.outcome import Outcome, Status
from lakehouse_assets.platform.plan import Lake, Plan, make_plan
from lakehouse_assets.platform.reader import read_input, read_inputs, read_table
from lakehouse_assets.platform.stream import drain_available
from lakehouse_assets.platform.table import DAY_COLUMN, Table, TableKey
from lakehouse_assets.platform.writer import on_days

if TYPE_CHECKING:
    from dagster._core.execution.context.system import StepExecutionContext
    from pyspark.sql import DataFrame

    from lakehouse_assets.platform.spark import SparkConnectResource

# Tells Dagster to add no event of its own for an output. Internal to Dagster: used here only, and a test guards it.
EVENTS_ARE_OURS = {SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True}


TABLE_TAG = "lakehouse/table"
"""Tag of the op that makes a declared table."""


class DeltaIOManager(dg.IOManager):
    """Loads pinned inputs and commits outputs of declared tables; other assets may load declared tables through it."""

    def __init__(self, catalog: Catalog, spark: "SparkConnectResource", lake: Lake) -> None:
        self._catalog = catalog
        self._spark = spark
        self._lake = lake
        self._plans: dict[tuple[str, TableKey], Plan] = {}
        self._committed: dict[tuple[str, TableKey], tuple[date, ...]] = {}

    def plan(self, step: "StepExecutionContext", table: Table) -> Plan:
        """The plan of a step, made once."""
        found = self._plans.get((step.step.key, table.key))
        if found is None:
            found = self._plans[step.step.key, table.key] = make_plan(self._lake, table, days_of(step))
        return found

    def load_input(self, context: dg.InputContext) -> "DataFrame":
        """An input of a declared table as its plan pins it; for any other asset, its days of the newest version."""
        step = context.step_context
        declared = step.op_def.tags.get(TABLE_TAG)
        if declared is None:
            frame = self.read_newest(_key(context.asset_key))
            if not context.has_asset_partitions or DAY_COLUMN not in frame.columns:
                return frame
            return frame.where(on_days(DAY_COLUMN, map(parse_day, context.asset_partition_keys)))
        table = self._catalog.table(TableKey.parse(declared))
        return self.input(step, table, next(name for name in table.reads if input_name(name) == context.name))

    def input(self, step: "StepExecutionContext", table: Table, name: str) -> "DataFrame":
        """An input of a declared table, by its name there, as the step's plan pins it."""
        return read_input(self._spark.spark_session, self._lake, self.plan(step, table), name, self._catalog)

    def inputs(self, step: "StepExecutionContext", companion: Table) -> "dict[str, DataFrame]":
        """The inputs of a companion, pinned now, for the days that the table it accompanies has just committed."""
        owner = TableKey.parse(step.op_def.tags[TABLE_TAG])
        plan = make_plan(self._lake, companion, self._committed[step.step.key, owner])
        self._plans[step.step.key, companion.key] = plan
        return read_inputs(self._spark.spark_session, self._lake, plan, self._catalog)

    def read_newest(self, key: TableKey) -> "DataFrame":
        """The newest version of a declared table."""
        return read_table(self._spark.spark_session, self._lake, self._catalog.table(key), self._lake.version(key))

    def handle_output(  # type: ignore[override]  # Dagster takes a generator of events here
        self, context: dg.OutputContext, obj: "DataFrame"
    ) -> Iterator[DagsterEvent]:
        """Judge and commit the days, then yield their events. Raises dagster.Failure when no day could be made."""
        step_context = context.step_context
        table = self._catalog.table(_key(context.asset_key))
        plan = self.plan(step_context, table)
        step = Step(self._spark.spark_session, self._lake, self._catalog, step_context.run_id)
        if table.stream is not None:
            for batch in drain_available(step, table, table.stream):
                step_context.log.info(f"{table.key}: {batch.records} records drained in version {batch.version}")
        outcome = materialize(step, plan, obj)
        committed = tuple(day.day for day in outcome.with_status(Status.COMMITTED))
        self._committed[step_context.step.key, table.key] = committed
        yield from self._events(step_context, table, outcome)
        self._report(step_context, outcome)

    def _events(self, step: "StepExecutionContext", table: Table, outcome: Outcome) -> Iterator[DagsterEvent]:
        reach(Failpoint.BEFORE_EVENTS, table.key)
        for events in day_events(step.instance, table, self._lake, outcome, step.run_id):
            batch: str = generate_event_batch_id()  # type: ignore[no-untyped-call]
            for number, event in enumerate(events, 1):
                is_last = DagsterEventBatchMetadata(batch, number == len(events))
                if isinstance(event, dg.AssetMaterialization):
                    yield DagsterEvent.asset_materialization(step, event, is_last)
                    if number == 1:
                        reach(Failpoint.BETWEEN_EVENTS, table.key)
                else:
                    yield _check_evaluation(step, event, is_last)
        reach(Failpoint.AFTER_EVENTS, table.key)

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


def input_name(name: str) -> str:
    """What Dagster calls an input: some names it keeps to itself, `input`, `type` and `context` among them."""
    return f"{name}__input" if name in DISALLOWED_NAMES else name


def _check_evaluation(
    step: "StepExecutionContext", event: dg.AssetCheckEvaluation, batch: DagsterEventBatchMetadata
) -> DagsterEvent:
    """As `DagsterEvent.asset_check_evaluation`, which takes no batch."""
    said = f"{event.check_name} of {event.asset_key.to_user_string()} {event.partition}: "
    return DagsterEvent.from_step(
        DagsterEventType.ASSET_CHECK_EVALUATION,
        step,
        event,
        said + ("passed" if event.passed else "did not pass") + (f". {event.description}" if event.description else ""),
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
