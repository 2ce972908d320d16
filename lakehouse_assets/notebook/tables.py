"""`table("gmv/silver/purchase")`: a declared table in a notebook, as pandas, Arrow, polars or Spark."""

from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import TYPE_CHECKING

from lakehouse_assets import defs as domains
from lakehouse_assets.platform.common.days import parse_day
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.serving.as_of import clauses_as_of
from lakehouse_assets.serving.query import open_tables
from lakehouse_assets.settings import settings

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class TableReader:
    """A table of this lakehouse. Spark starts only where `spark` is called.

    `as_of` is a day, or its text as 2024-01-31: a table with history is read as it was known at the end of that day.
    `version` is a Delta version. Without them the newest version is read.
    """

    key: TableKey

    def to_arrow(self, as_of: date | str | None = None, version: int | None = None) -> "pa.Table":
        """The rows as an Arrow table. Raises QueryError for a table that does not exist or has no history."""
        day = parse_day(as_of) if isinstance(as_of, str) else as_of
        name = ".".join(self.key.parts)
        known = clauses_as_of(_catalog(), day) if day else None
        with open_tables(settings(), {name: version}, known) as connection:
            return connection.sql(f"SELECT * FROM {name}").to_arrow_table()  # noqa: S608  (a key is three words)

    def to_pandas(self, as_of: date | str | None = None, version: int | None = None) -> "pd.DataFrame":
        """The rows as a pandas DataFrame; days are dates, decimals are exact."""
        frame: pd.DataFrame = self.to_arrow(as_of, version).to_pandas()
        return frame

    def to_polars(self, as_of: date | str | None = None, version: int | None = None) -> "pl.DataFrame":
        """The rows as a polars DataFrame."""
        import polars as pl

        frame = pl.from_arrow(self.to_arrow(as_of, version))
        assert isinstance(frame, pl.DataFrame), "a table has columns"
        return frame

    def spark(self, version: int | None = None) -> "DataFrame":
        """The table as a Spark DataFrame."""
        from lakehouse_assets.platform.planning.plan import Lake
        from lakehouse_assets.platform.planning.reader import read_table

        lake = Lake(settings().lake, settings().landing)
        wanted = lake.version(self.key) if version is None else version
        return read_table(_session(), lake, _catalog().table(self.key), wanted)


def table(name: str) -> TableReader:
    """A declared table by its key, as gmv/silver/purchase. Raises LakehouseError with the tables there are."""
    return TableReader(_catalog().table(TableKey.parse(name)).key)


@cache
def _catalog() -> Catalog:
    return discover(domains)


@cache
def _session() -> "SparkSession":
    """One Spark session of this process, on the shared server."""
    from lakehouse_assets.platform.runtime.sessions import open_session

    return open_session(settings(), "notebook")
