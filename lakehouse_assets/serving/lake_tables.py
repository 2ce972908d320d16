"""Declared tables for a user's own Dagster assets and notebooks, without a JVM, through dagster-deltalake."""

from typing import TYPE_CHECKING

import dagster as dg
from deltalake.exceptions import DeltaError

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.storage.delta_table import open_table
from lakehouse_assets.platform.storage.location import Location
from lakehouse_assets.platform.storage.s3 import ANSWER, S3Path, region
from lakehouse_assets.platform.storage.table_features import Reader, require
from lakehouse_assets.settings import settings

if TYPE_CHECKING:
    from dagster_deltalake import DeltaTableResource


class LakeTables(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The declared tables as delta-rs reads them. Tables are written by their declarations alone."""

    catalog: dg.ResourceDependency[Catalog]

    def table(self, name: str, version: int | None = None) -> "DeltaTableResource":
        """A declared table, `gmv.silver.purchase` or `gmv/silver/purchase`, at a version (default: the newest).

        Raises LakehouseError where no such table is declared, made or kept, UnknownFeature where delta-rs would not
        show its rows as Delta does, StoreError where S3 does not answer.
        """
        here = settings()
        key = self.catalog.table(TableKey.parse(name)).key
        path = Lake(here.lake, here.landing).path(key)
        newest = open_table(path)
        if newest is None:
            raise LakehouseError(f"{key} was not made yet: there is no table {path}.")
        try:
            opened = newest if version is None else open_table(path, version)
        except DeltaError:
            opened = None
        if opened is None:
            raise LakehouseError(f"{key} has no version {version}, or not any more; the newest is {newest.version()}.")
        require(Reader.DELTA_RS, opened, path, str(key))
        return _resource(path, version)


def _resource(path: Location, version: int | None) -> "DeltaTableResource":
    """The table at a place. delta-rs takes credentials from the environment, so the resource holds none."""
    from dagster_deltalake import LocalConfig, S3Config
    from dagster_deltalake.config import ClientConfig

    from lakehouse_assets.serving.declared_table import DeclaredTable

    if not isinstance(path, S3Path):
        return DeclaredTable(url=str(path), storage_options=LocalConfig(), version=version)
    hosted = "false" if path.endpoint else None
    storage = S3Config(region=region(), endpoint=path.endpoint, virtual_hosted_style_request=hosted)
    client = ClientConfig(allow_http=(path.endpoint or "").startswith("http://"), timeout=ANSWER)
    return DeclaredTable(url=str(path), storage_options=storage, client_options=client, version=version)
