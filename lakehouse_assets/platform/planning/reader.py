"""Pinned reads: a table at one version, restricted to the days asked for."""

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.source_files import PART_COLUMNS
from lakehouse_assets.platform.declare.table import LANDING_LAYER, Span, Table, TableKey
from lakehouse_assets.platform.ingest.landing import Part, parts
from lakehouse_assets.platform.planning.plan import Lake, Plan, landed_name
from lakehouse_assets.platform.storage.commit_metadata import InputVersion
from lakehouse_assets.platform.storage.data_files import ActiveFile
from lakehouse_assets.platform.storage.delta_writer import on_days
from lakehouse_assets.platform.storage.location import missing
from lakehouse_assets.platform.storage.pinned_read import read_version

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType


class MissingPart(LakehouseError):
    """A landed file that the manifest names is not there."""


def read_inputs(spark: "SparkSession", lake: Lake, plan: Plan, catalog: Catalog) -> "dict[str, DataFrame]":
    """Every input of the plan's table, pinned and cut to the days it reads."""
    return {name: read_input(spark, lake, plan, name, catalog) for name in plan.table.reads}


def read_input(spark: "SparkSession", lake: Lake, plan: Plan, name: str, catalog: Catalog) -> "DataFrame":
    """One input of the plan's table."""
    key, input_version, window = plan.table.reads[name].table, plan.input_versions[name], plan.window(name)
    if key.layer == LANDING_LAYER:
        return _read_landed(spark, lake, plan, input_version)
    source = catalog.table(key)
    if window is None:
        return read_table(spark, lake, source, None)
    if plan.table.reads[name].span is Span.WHOLE or DAY_COLUMN not in source.compiled.spark_schema.names:
        return read_table(spark, lake, source, input_version.version)
    first, last = window
    frame = read_table(spark, lake, source, input_version.version, lambda file: file.may_hold(DAY_COLUMN, first, last))
    if first is None:
        return frame.where(F.col(DAY_COLUMN) <= F.lit(last))
    if plan.table.reads[name].span is Span.DAY:
        return frame.where(on_days(DAY_COLUMN, plan.days))
    return frame.where(F.col(DAY_COLUMN).between(F.lit(first), F.lit(last)))


def read_table(
    spark: "SparkSession",
    lake: Lake,
    table: Table,
    version: int | None,
    wanted: Callable[[ActiveFile], bool] | None = None,
) -> "DataFrame":
    """A table at a version; None: it does not exist yet, which reads as empty. Files not `wanted` need not be read."""
    if version is None:
        return spark.createDataFrame([], table.compiled.spark_schema)
    return read_version(spark, lake.path(table.key), version, table.compiled.spark_schema, wanted)


def landed_parts(lake: Lake, key: TableKey, days: tuple[date, ...], version: int | None) -> list[Part]:
    """Parts of these days as of a version of the manifest."""
    return parts(lake.landing, landed_name(key), days=days, version=version) if days and version is not None else []


def landed_schema(table: Table) -> "StructType":
    """The columns of a table's landed files: the source's as text, and where each row came from."""
    from pyspark.sql import types as T

    if table.source is None:
        raise LakehouseError(f"{table.key} reads landed files, but declares no source of files.")
    types = dict(zip(PART_COLUMNS, (T.StringType(), T.LongType(), T.DateType(), T.IntegerType()), strict=True))
    text = dict.fromkeys(table.source.columns, T.StringType())
    return T.StructType([T.StructField(name, kind) for name, kind in (text | types).items()])


def _read_landed(spark: "SparkSession", lake: Lake, plan: Plan, input_version: InputVersion) -> "DataFrame":
    schema = landed_schema(plan.table)
    found = landed_parts(lake, plan.table.key, plan.days, input_version.version)
    gone = missing([part.path for part in found])
    if gone:
        first = next(part for part in found if part.path == gone[0])
        raise MissingPart(
            f"{plan.table.key}: {len(gone)} landed files that the manifest names are gone, the first is "
            f"{first.path} ({first.name}, {first.feed_day}). Land {first.name} again with --replace."
        )
    if not found:
        return spark.createDataFrame([], schema)
    return spark.read.schema(schema).parquet(*[str(part.path) for part in found])
