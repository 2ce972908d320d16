"""The nightly run that keeps tables fast: what `lakehouse maintain` does, in Dagster."""

import dagster as dg
from deltalake.exceptions import DeltaError
from pydantic import Field

from lakehouse_assets.platform.common.errors import LakehouseError, first_line
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.maintenance.maintenance import maintain, stored_tables, survey
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.settings import settings

MAINTAIN = "maintain"
COLUMNS = (("table", "string"), ("before", "int"), ("after", "int"), ("removed", "int"), ("remark", "string"))


class Scope(dg.Config):
    """Which tables."""

    only: str | None = Field(None, description="A table (gmv/silver/purchase) or a domain (gmv); not given: all tables")


def maintenance_job(catalog: Catalog) -> dg.JobDefinition:
    """The job that compacts and vacuums; it may run while others write."""

    @dg.op(description="Compacts small files; removes what no kept version needs.")
    def compact_and_vacuum(context: dg.OpExecutionContext, config: Scope) -> None:
        here = settings()
        found = stored_tables(Lake(here.lake, here.landing), catalog, config.only)
        rows = []
        failed = {}
        for number, place in enumerate(found, 1):
            try:
                done = maintain(survey(place))
            except (LakehouseError, DeltaError, OSError) as error:
                failed[place.name] = first_line(error)
                context.log.error(f"{number} of {len(found)}, {place.name}: {failed[place.name]}")
                continue
            files = {"before": done.before.files, "after": done.files, "removed": done.removed}
            context.log.info(f"{number} of {len(found)}, {place.name}: files {files} {done.message}")
            rows.append(dg.TableRecord({"table": place.name, **files, "remark": done.message}))
        columns = [dg.TableColumn(name, kind) for name, kind in COLUMNS]
        done_of = dg.TableMetadataValue(rows, dg.TableSchema(columns))
        if failed:
            raise dg.Failure(f"{len(failed)} tables were not maintained: {failed}", {"files": done_of})
        context.add_output_metadata({"files": done_of})

    @dg.job(
        name=MAINTAIN,
        description="Compacts every table and removes files that no kept version needs.",
    )
    def job() -> None:
        compact_and_vacuum()

    return job


def maintenance_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Every night, after yesterday was made."""
    return dg.ScheduleDefinition(
        name=f"{MAINTAIN}_nightly",
        description="Compacts every table and removes files that no kept version needs. No row changes.",
        cron_schedule="45 4 * * *",
        execution_timezone="UTC",
        job=job,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
