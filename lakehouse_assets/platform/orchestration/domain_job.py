"""The job of a domain: all its tables, under one name in the timeline, in the list of runs and on the command line."""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.orchestration.assets import DOMAIN_TAG, asset_key


def domain_job(domain: str, catalog: Catalog) -> UnresolvedAssetJobDefinition:
    """The job `<domain>`: materializes tables of the domain, all of them unless a run selects some."""
    return dg.define_asset_job(
        domain,
        selection=dg.AssetSelection.assets(*[asset_key(t.key) for t in catalog.tables if t.key.domain == domain]),
        description=f"Materializes the tables of {domain}, bronze to gold, for a feed day or a range of them.",
        tags={DOMAIN_TAG: domain},
    )
