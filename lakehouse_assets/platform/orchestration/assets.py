"""Declared tables as Dagster assets: everything here follows from the declaration, nothing of a domain is here."""

import warnings
from collections.abc import Collection, Iterator
from datetime import date, timedelta
from typing import Any

import dagster as dg

from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import Read, Span, Table, TableKey
from lakehouse_assets.platform.fingerprint.code_version import code_version
from lakehouse_assets.platform.lineage.columns import column_lineage
from lakehouse_assets.platform.orchestration.io_manager import EVENTS_ARE_OURS, days_of
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.results.check_results import check_specs
from lakehouse_assets.platform.results.step_result import Status
from lakehouse_assets.platform.streams.stream_ingest import drain_available
from lakehouse_assets.platform.transform.materialize import materialize

IO_MANAGER_KEY = "delta"
DOMAIN_TAG, LAYER_TAG = "domain", "layer"


def asset_key(key: TableKey) -> dg.AssetKey:
    """The asset key of a table."""
    return dg.AssetKey(key.parts)


def group_of(key: TableKey) -> str:
    """The group of a table: the UI draws a domain as a box with a box for each of its layers.

    One selection takes the whole domain: `group:"gmv/*"`.
    """
    return f"{key.domain}/{key.layer}"


def tags_of(key: TableKey) -> dict[str, str]:
    """The tags of a table's asset, of its landed files' and of its copy in the warehouse."""
    return {DOMAIN_TAG: key.domain, LAYER_TAG: key.layer}


def freshness_policy(table: Table) -> dg.FreshnessPolicy | None:
    """A day's data come within `sla` after its end, so that a table is never older than a day and its `sla`.

    Dagster's policy takes the newest materialization of any day; the check `freshness` says it of each day.
    """
    return None if table.sla is None else dg.FreshnessPolicy.time_window(fail_window=timedelta(days=1) + table.sla)


def partitions(first_day: date, zone: str = "UTC") -> dg.DailyPartitionsDefinition:
    """Feed days from a domain's first day through the open day, in the time zone of its sources."""
    return dg.DailyPartitionsDefinition(start_date=first_day.isoformat(), timezone=zone, end_offset=1)


def partition_mapping(read: Read) -> dg.PartitionMapping:
    """The days of an input that are made together with a day; what a day reads, the reader knows from the declaration.

    A `cumulative` read is the same day here: Dagster adds to a backfill every day downstream of the days asked
    for, so that a backfill of a past week would publish a ledger through today.
    """
    if read.span is Span.LAST:
        return dg.TimeWindowPartitionMapping(start_offset=1 - read.days, allow_nonexistent_upstream_partitions=True)
    return dg.IdentityPartitionMapping()


def asset_spec(table: Table, days: dg.PartitionsDefinition, catalog: Catalog) -> dg.AssetSpec:
    """The spec of a table's asset: what the catalog of the UI shows."""
    contract = table.compiled
    return dg.AssetSpec(
        key=asset_key(table.key),
        deps=[dg.AssetDep(asset_key(r.table), partition_mapping=partition_mapping(r)) for r in table.reads.values()],
        description=contract.description,
        group_name=group_of(table.key),
        kinds={"deltalake", "pyspark", table.key.layer},
        tags=tags_of(table.key),
        owners=list(contract.owners),
        freshness_policy=freshness_policy(table),
        code_version=code_version(table),
        partitions_def=days,
        metadata={
            "dagster/column_schema": contract.dagster_columns(),
            "dagster/column_lineage": column_lineage(table, catalog),
            "dagster/table_name": ".".join(table.key.parts),
        },
    )


def landing_spec(table: Table, days: dg.PartitionsDefinition) -> dg.AssetSpec | None:
    """The files that a bronze table is made of, as an external asset: `lakehouse land` writes them."""
    if table.landing is None or table.source is None:
        return None
    return dg.AssetSpec(
        key=asset_key(table.landing),
        description=f"Files landed by `lakehouse land {table.key.domain}/{table.key.name} FILE…`, by feed day.",
        group_name=group_of(table.landing),
        kinds={"file"},
        tags=tags_of(table.landing),
        owners=list(table.compiled.owners),
        partitions_def=days,
    )


def build_asset(table: Table, days: dg.PartitionsDefinition, catalog: Catalog) -> dg.AssetsDefinition:
    """The asset of a table; its companions are outputs of the same step."""
    made = (table, *table.co_materialized)
    upstream = {read.table: read for read in reversed([*table.reads.values()])}  # Dagster knows an asset once
    specs = {one.key.name: _without_deps(asset_spec(one, days, catalog)) for one in made}
    checks = [spec for one in made for spec in check_specs(one, days)]

    @dg.multi_asset(
        name="__".join(table.key.parts),
        outs={name: dg.AssetOut.from_spec(spec, io_manager_key=IO_MANAGER_KEY) for name, spec in specs.items()},
        deps=[dg.AssetDep(asset_key(key), partition_mapping=partition_mapping(r)) for key, r in upstream.items()],
        internal_asset_deps={one.key.name: _upstream(one) for one in made},
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=checks,
        required_resource_keys={IO_MANAGER_KEY},
    )
    def compute(context: dg.AssetExecutionContext) -> Iterator[Any]:
        run = context.get_step_execution_context()
        step: Step = getattr(context.resources, IO_MANAGER_KEY).step(run)
        days: Collection[date] = days_of(run)
        for one in made:
            if one.stream is not None:
                for batch in drain_available(step, one, one.stream):
                    context.log.info(f"{one.key}: {batch.records} records drained in version {batch.version}")
            outcome = materialize(step, one, days)
            yield dg.Output(outcome, output_name=one.key.name, metadata=EVENTS_ARE_OURS)
            days = [day.day for day in outcome.with_status(Status.COMMITTED)]  # what its companions follow
        for spec in checks:
            yield dg.Output(None, output_name=spec.get_python_identifier())

    return compute


def _without_deps(spec: dg.AssetSpec) -> dg.AssetSpec:
    return spec.replace_attributes(deps=[])


def _upstream(table: Table) -> set[dg.AssetKey]:
    return {asset_key(read.table) for read in table.reads.values()}


def build_assets(catalog: Catalog, first_days: dict[str, date]) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The assets of all tables and of the files they are made of. `first_days`: the first feed day of each domain."""
    with warnings.catch_warnings():
        # Partitioned checks and mappings before the first day are young in Dagster; tests guard what is used of them.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        warnings.simplefilter("ignore", dg.BetaWarning)
        return _build_assets(
            catalog, {domain: partitions(first, catalog.zone(domain)) for domain, first in first_days.items()}
        )


def _build_assets(
    catalog: Catalog, days: dict[str, dg.DailyPartitionsDefinition]
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    co_materialized = {companion.key for table in catalog.tables for companion in table.co_materialized}
    built: list[dg.AssetsDefinition | dg.AssetSpec] = []
    for table in catalog.tables:
        if table.key in co_materialized:
            continue
        of_domain = days[table.key.domain]
        built.append(build_asset(table, of_domain, catalog))
        landing = landing_spec(table, of_domain)
        if landing is not None:
            built.append(landing)
    return built
