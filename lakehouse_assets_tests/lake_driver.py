"""Drives declared tables without Dagster around them: land, make days, read back. One lake in one folder."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from lakehouse_assets import defs as domains
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.ingest.landing import Landed, land
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.planning.reader import read_table
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.results.step_result import Outcome
from lakehouse_assets.platform.transform.materialize import materialize

TODAY = date(2026, 1, 1)


@dataclass
class LakeDriver:
    """A lake of the test's own on the shared Spark session."""

    spark: SparkSession
    lake: Lake
    catalog: Catalog
    runs: int = 0

    @classmethod
    def at(cls, spark: SparkSession, folder: Path) -> "LakeDriver":
        return cls(spark, Lake(folder / "lake", folder / "landing"), discover(domains))

    def land(
        self, table: str, file: Path, day: date | None = None, replace: bool = False, allow_shrinking: bool = False
    ) -> Landed:
        """Land a file as `lakehouse land` does."""
        source = self.catalog.table(TableKey.parse(f"{table.split('/')[0]}/bronze/{table.split('/')[1]}")).source
        assert source is not None
        return land(
            self.lake.landing,
            table,
            source,
            file,
            day=day,
            replace=replace,
            today=TODAY,
            allow_shrinking=allow_shrinking,
        )

    def make(self, table: str, days: Collection[date]) -> Outcome:
        """One step: the days of a table, and of its companions."""
        self.runs += 1
        declared = self.catalog.table(TableKey.parse(table))
        step = Step(self.spark, self.lake, self.catalog, f"run-{self.runs}")
        outcomes = []
        for one in (declared, *declared.co_materialized):
            outcomes.append(materialize(step, one, days))
        return outcomes[0]

    def read(self, table: str, version: int | None = None) -> DataFrame:
        """A table at a version, by default the newest."""
        key = TableKey.parse(table)
        return read_table(
            self.spark, self.lake, self.catalog.table(key), self.lake.version(key) if version is None else version
        )

    def rows(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        """Rows of a table, sorted."""
        rows = (tuple(row) for row in self.read(table).select(*columns).toLocalIterator())
        return sorted(rows, key=lambda row: [(value is not None, value) for value in row])
