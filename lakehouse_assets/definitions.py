"""The code location: every table declared in `defs/`, the I/O manager, Spark, and all else that Dagster finds there.

Dagster loads the folder itself, so that its own assets, checks, jobs, schedules, sensors and components (`defs.yaml`)
stand beside declared tables, in any module or folder of a domain.
"""

from pathlib import Path

import dagster as dg

from lakehouse_assets import defs as domains
from lakehouse_assets.ops.deadline_sensor import deadline_sensor, report_job
from lakehouse_assets.ops.first_days import partition_starts
from lakehouse_assets.ops.maintenance_job import maintenance_job, maintenance_schedule
from lakehouse_assets.ops.pandera_job import pandera_job, pandera_schedule
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.orchestration.assets import IO_MANAGER_KEY, build_assets
from lakehouse_assets.platform.orchestration.domain_job import domain_job
from lakehouse_assets.platform.orchestration.drop_folder import landing_job
from lakehouse_assets.platform.orchestration.drop_folder_sensor import drop_sensor
from lakehouse_assets.platform.orchestration.io_manager import delta_io_manager
from lakehouse_assets.platform.orchestration.spark_resource import SparkConnectResource
from lakehouse_assets.platform.orchestration.staleness_sensor import staleness_sensor, yesterday_schedule
from lakehouse_assets.platform.orchestration.unreported_commits_sensor import (
    external_commits_job,
    unreported_commits_sensor,
)
from lakehouse_assets.serving.lake_tables import LakeTables
from lakehouse_assets.serving.warehouse import warehouse_assets, warehouse_job, warehouse_sensor
from lakehouse_assets.serving.warehouse_quality import QUALITY_JOB, quality_assets, quality_sensor
from lakehouse_assets.serving.warehouse_tables import served
from lakehouse_assets.settings import read_settings

catalog: Catalog = discover(domains)
lake = LakeTables(catalog=catalog)


declared_days = {name: domain.first_day for name, domain in catalog.domains.items()}
days = partition_starts(declared_days, catalog, read_settings())
maintenance, by_pandera = maintenance_job(catalog), pandera_job(catalog)
table_jobs = {domain: domain_job(domain, catalog) for domain in days}
warehouse_jobs = {table.key.domain: warehouse_job(table.key.domain, catalog) for table in served(catalog)}
landing_jobs = {
    name: landing_job(name, catalog, domain.first_day) for name, domain in catalog.domains.items() if domain.drop_folder
}

definitions = dg.Definitions.merge(
    dg.Definitions(
        assets=[*build_assets(catalog, days), *warehouse_assets(catalog, days), quality_assets(catalog)],
        sensors=[
            *[make(domain, catalog) for domain in days for make in (unreported_commits_sensor, deadline_sensor)],
            *[staleness_sensor(domain, catalog, job, days[domain]) for domain, job in table_jobs.items()],
            *[drop_sensor(domain, catalog, job) for domain, job in landing_jobs.items()],
            *[warehouse_sensor(domain, catalog, job) for domain, job in warehouse_jobs.items()],
            quality_sensor(),
        ],
        jobs=[
            *[external_commits_job(catalog), report_job(), maintenance, by_pandera],
            *[QUALITY_JOB, *table_jobs.values()],
            *landing_jobs.values(),
            *warehouse_jobs.values(),
        ],
        schedules=[
            *[yesterday_schedule(domain, catalog, job) for domain, job in table_jobs.items()],
            maintenance_schedule(maintenance),
            pandera_schedule(by_pandera),
        ],
        resources={"spark": SparkConnectResource(), IO_MANAGER_KEY: delta_io_manager(catalog), "lake": lake},
        executor=dg.in_process_executor,
    ),
    dg.load_from_defs_folder(path_within_project=Path(__file__).parent),
)
