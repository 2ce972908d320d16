"""Reads of a pinned version: the files that the log names, chosen by their statistics, read as Parquet.

Delta's reader in Spark plans each table in 0.13 to 0.2 s, however small it is. It serves tables with features that
plain Parquet does not show (deletion vectors, column mapping), and those with more files than can be named.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from deltalake import DeltaTable

from lakehouse_assets.platform.storage.data_files import ActiveFile, active_files
from lakehouse_assets.platform.storage.delta_table import open_table
from lakehouse_assets.platform.storage.location import Location
from lakehouse_assets.platform.storage.parquet_files import read_parquet
from lakehouse_assets.platform.storage.table_features import Reader, shown_by

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

MOST_FILES = 4_000


def read_version(
    spark: "SparkSession",
    path: Location,
    version: int,
    schema: "StructType",
    wanted: Callable[[ActiveFile], bool] | None = None,
) -> "DataFrame":
    """A version of a table, with the columns of the schema; only files that are `wanted` need be read.

    A column that the table lacks is NULL. Raises StoreError.
    """
    table = open_table(path, version)
    if table is not None and _is_plain(table, path, schema):
        files = [file for file in active_files(table) if wanted is None or wanted(file)]
        if len(files) <= MOST_FILES:
            return read_parquet(spark, [file.at(path) for file in files], schema)
    return _with_columns(read_delta(spark, path, version), schema)


def _with_columns(rows: "DataFrame", schema: "StructType") -> "DataFrame":
    from pyspark.sql import functions as F

    there = set(rows.columns)
    return rows.select(
        *[(F.col(c.name) if c.name in there else F.lit(None).cast(c.dataType)).alias(c.name) for c in schema]
    )


def read_delta(spark: "SparkSession", path: Location, version: int) -> "DataFrame":
    """A version of a table as Delta's reader in Spark shows it, with the table's own columns."""
    return spark.read.format("delta").option("versionAsOf", version).load(str(path))


def _is_plain(table: DeltaTable, path: Location, schema: "StructType") -> bool:
    """Whether the files of a version, read as Parquet, show what Delta shows."""
    partitioned = set(table.metadata().partition_columns) & set(schema.names)  # these columns are not in the files
    return not partitioned and shown_by(Reader.FILES, table, path)
