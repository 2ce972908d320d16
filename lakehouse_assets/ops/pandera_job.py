"""The nightly run in which Pandera judges a sampled day of each table: its asset check `pandera`."""

import dagster as dg
from dagster._time import get_current_datetime
from deltalake.exceptions import DeltaError
from pydantic import Field
from pyspark.errors import PySparkException

from lakehouse_assets.platform.common.days import parse_day
from lakehouse_assets.platform.common.errors import LakehouseError, first_line
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.maintenance.sampled_day import Agreement, draw, validate
from lakehouse_assets.platform.orchestration.asset_events import standing
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.results.check_results import PANDERA
from lakehouse_assets.settings import settings

JOB = "validate_by_pandera"


class Sampling(dg.Config):
    """Which tables, and the date that the sampled days follow from."""

    only: str | None = Field(None, description="a table, gmv/silver/purchase; not given: all tables")
    on: str | None = Field(None, description="date that decides which day of a table is taken; not given: today")


def pandera_job(catalog: Catalog) -> dg.JobDefinition:
    """The job that validates a sampled day of each table. It changes nothing, so it may run beside everything else."""

    @dg.op(required_resource_keys={"spark"}, description="Validates a sampled day of each table by Pandera.")
    def validate_sampled_days(context: dg.OpExecutionContext, config: Sampling) -> None:
        here = settings()
        lake = Lake(here.lake, here.landing)
        on = parse_day(config.on) if config.on else get_current_datetime().date()
        failed = {}
        for table in [catalog.table(TableKey.parse(config.only))] if config.only else catalog.tables:
            try:
                sample = draw(lake, table, on)
                done = validate(context.resources.spark.spark_session, lake, sample) if sample else None
            except (LakehouseError, PySparkException, DeltaError) as error:
                failed[str(table.key)] = first_line(error)
                context.log.error(f"{table.key}: {failed[str(table.key)]}")
                continue
            if done is None:
                context.log.info(f"{table.key}: there is no day to compare.")
                continue
            context.log_event(_evaluation(context.instance, done))  # type: ignore[arg-type]  # takes check results too
            message = "; ".join(done.differences) or "Pandera agrees"
            context.log.info(f"{table.key} {done.sample.day}: {done.rows} rows, {message}")
        if failed:
            raise dg.Failure(f"{len(failed)} tables were not validated: {failed}")

    @dg.job(
        name=JOB,
        description="Validates a sampled day of each table by Pandera and compares it with the commit.",
    )
    def job() -> None:
        validate_sampled_days()

    return job


def pandera_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Every night, after the tables were maintained."""
    return dg.ScheduleDefinition(
        name=f"{JOB}_nightly",
        description="Validates a sampled day of each table by Pandera. Changes and blocks nothing.",
        cron_schedule="45 5 * * *",
        execution_timezone="UTC",
        job=job,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def _evaluation(instance: dg.DagsterInstance, done: Agreement) -> dg.AssetCheckEvaluation:
    key = dg.AssetKey(done.sample.table.key.parts)
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=PANDERA,
        passed=not done.differences,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(done.differences) or f"Pandera and the platform agree on {done.rows} rows.",
        metadata={
            "rows": done.rows,
            "delta_version": done.sample.version,
            "broken": dg.MetadataValue.json(dict(done.findings.broken)),
            "differences": dg.MetadataValue.json(list(done.differences)),
        },
        blocking=False,
        partition=str(done.sample.day),
        target_materialization_data=standing(instance, key, done.sample.day),
    )
