"""Materialize the days of a table: plan, read, transform, validate, write once, commit, record.

Spark writes all rows of the step in one action, with what the contract says of each (`validated_rows.py`). Their
counts decide which days pass; one commit by delta-rs then names the files of the days that passed. The order is:
quarantine, table, journals; then (in `io_manager.py`) Dagster's events. Killed anywhere in between, the same step run
again ends in the same tables: the table's commit is the one that counts, and it is a compare-and-swap.
"""

from collections.abc import Callable, Collection
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from pyspark.errors import PySparkException
from pyspark.sql import functions as F
from pyspark.sql import types as T

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.common.fault_injection import Failpoint, inject_fault
from lakehouse_assets.platform.declare.scd import Scd
from lakehouse_assets.platform.declare.table import Ledger, ReplaceDays, Span, Table
from lakehouse_assets.platform.fingerprint.code_version import code_version
from lakehouse_assets.platform.ledger import incremental
from lakehouse_assets.platform.ledger.incremental import steps_of
from lakehouse_assets.platform.ledger.ledger import rows_to_append
from lakehouse_assets.platform.planning.contract_change import key_of, nullable_of
from lakehouse_assets.platform.planning.erased_since import lost_to_erasure
from lakehouse_assets.platform.planning.plan import Plan, make_plan
from lakehouse_assets.platform.planning.reader import read_inputs, read_table
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.results import progress
from lakehouse_assets.platform.results.audit_rows import write_records
from lakehouse_assets.platform.results.step_result import DayOutcome, Outcome, Status
from lakehouse_assets.platform.scd.scd_table import change_columns
from lakehouse_assets.platform.storage import delta_writer
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, DayRows
from lakehouse_assets.platform.storage.log_handles import shared_handles
from lakehouse_assets.platform.transform.day_outcomes import day_outcomes
from lakehouse_assets.platform.transform.step_commit import commit_days
from lakehouse_assets.platform.transform.step_write import write_rows
from lakehouse_assets.platform.validation.schema_check import message_of
from lakehouse_assets.platform.validation.validated_rows import ValidatedRows

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

ATTEMPTS = 6

Transform = Callable[[Step, Plan], "DataFrame"]
"""The rows of a plan, from its inputs."""


def transformed(step: Step, plan: Plan, *, whole: bool = False) -> "DataFrame":
    """What the table's function returns for the plan's inputs; of a ledger, the rows to append.

    `whole`: a ledger's figures are computed from all contributions, even where some are enough.
    """
    if not isinstance(plan.table.write, Ledger):
        return plan.table(**read_inputs(step.spark, step.lake, plan, step.catalog))
    published = read_table(step.spark, step.lake, plan.table, plan.base)
    news = incremental.news(step.spark, step.lake, step.catalog, plan, whole=whole)
    figure = plan.table.compiled.spark_schema[plan.table.write.figure].dataType
    return rows_to_append(news, published, plan.table.write, steps_of(plan), figure)


def materialize(
    step: Step,
    table: Table,
    days: Collection[date],
    *,
    plan: Plan | None = None,
    transform: Transform | None = None,
) -> Outcome:
    """Make the days of a table from its inputs' newest versions; after a lost race, from newer ones.

    `plan`: one made before. `transform`: what gives the rows, if not `transformed`. Raises LakehouseError:
    ConcurrentCommit after six attempts, UnexpectedPartition, WriteError, SchemaMismatch.
    """
    for number in range(1, ATTEMPTS):
        with shared_handles():
            planned = (plan if number == 1 else None) or make_plan(step.lake, table, days)
            try:
                with lost_to_erasure(step.lake, planned):
                    return _attempt(step, planned, transform or transformed, number)
            except delta_writer.ConcurrentCommit:
                days = planned.requested
    with shared_handles():
        return _attempt(step, make_plan(step.lake, table, days), transform or transformed, ATTEMPTS)


def _attempt(step: Step, plan: Plan, transform: Transform, number: int) -> Outcome:
    table, started = plan.table, datetime.now(UTC)
    metadata = CommitMetadata(
        table=str(table.key),
        run_id=step.run_id,
        attempt=f"{step.run_id}/{table.key}#{number}",
        days=frozenset(plan.days),
        code_version=code_version(table),
        inputs=plan.input_versions,
        base=plan.base,
        requested=frozenset(plan.days),
        unvalidated=plan.unvalidated,
        key=key_of(table),
        nullable=nullable_of(table),
    )
    days, version = tuple[DayOutcome, ...](), plan.base
    if plan.days:
        step.say(progress.begins(table.key, tuple(plan.days)))
    inject_fault(Failpoint.BEFORE_WRITE, table.key)
    if plan.days:
        version, days = _make(step, plan, metadata, *stamped(step, plan, transform(step, plan), started))
    nothing = DayRows(0, 0, 0, 0, "")
    blocked = tuple(DayOutcome(day, Status.BLOCKED, nothing, reasons=(why,)) for day, why in plan.blocked.items())
    outcome = Outcome(
        table=table.key,
        run_id=step.run_id,
        code_version=metadata.code_version,
        input_versions=plan.input_versions,
        base=plan.base,
        version=version,
        days=tuple(sorted(days + blocked, key=lambda outcome: outcome.day)),
        started=started,
        finished=datetime.now(UTC),
        restates=isinstance(table.write, Ledger) and steps_of(plan).restates,
    )
    write_records(step.lake.tables, table.compiled, outcome)
    step.say(progress.ended(outcome))
    return outcome


def _make(
    step: Step, plan: Plan, metadata: CommitMetadata, rows: "DataFrame", schema: T.StructType
) -> tuple[int | None, tuple[DayOutcome, ...]]:
    """Write the rows, decide which days pass, commit these. What no commit names is removed again."""
    written: ValidatedRows | None = None
    try:
        with progress.spark_progress(step.spark, plan.table.key, step.say):
            written = write_rows(step.lake, plan, rows, schema)
        return commit_days(step, plan, written, metadata, day_outcomes(step, plan, written))
    except PySparkException as error:
        why = message_of(error, rows, plan.table.compiled)
        failed = "was not written" if "[TASK_WRITE_FAILED]" in why else "could not be computed"
        raise delta_writer.WriteError(f"{plan.table.key} {failed}, its version is still {plan.base}: {why}") from error
    finally:
        if written is not None:
            written.remove_unnamed()


def stamped(step: Step, plan: Plan, frame: "DataFrame", started: datetime) -> "tuple[DataFrame, T.StructType]":
    """Transformed rows with the columns that the platform fills: run, time, and what a change of a key has.

    Returns the rows and their schema, so that Spark is asked for it once.
    """
    table = plan.table
    if isinstance(table.write, ReplaceDays) and any(read.span is not Span.DAY for read in table.reads.values()):
        # What reads more days than it makes returns rows of each: only those that are made are kept.
        frame = frame.where(delta_writer.on_days(DAY_COLUMN, plan.days))
    schema = frame.schema
    stamps: dict[str, tuple[Column, T.DataType]] = {
        "processed_at": (F.lit(started).cast("timestamp"), T.TimestampType()),
        "processed_date": (F.lit(started.date()), T.DateType()),
        "run_id": (F.lit(step.run_id), T.StringType()),
        DAY_COLUMN: (F.lit(plan.days[-1]), T.DateType()),
    }
    if isinstance(table.write, Scd):
        stamps |= change_columns(table.write, schema)
    wanted = {*table.compiled.spark_schema.names, DAY_COLUMN} - set(schema.names)
    added = {name: stamp for name, stamp in stamps.items() if name in wanted}
    rows = frame.select("*", *[value.alias(name) for name, (value, _) in added.items()])
    return rows, T.StructType([*schema, *[T.StructField(name, kind) for name, (_, kind) in added.items()]])
