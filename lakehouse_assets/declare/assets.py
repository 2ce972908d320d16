"""For Dagster's own assets beside declared tables: the resource `lake` reads every declared table without Spark."""

from lakehouse_assets.serving.lake_tables import LakeTables

__all__ = ["LakeTables"]
