"""Parquet files through Spark: written once into the folder of an attempt, and read by their names.

Neither goes through Delta's planner. Column order and types are those of the schema that is given, so Spark is not
asked for any.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

from lakehouse_assets.platform.common.file_layout import Parquet
from lakehouse_assets.platform.storage.location import Location

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

WRITING = {"mapreduce.fileoutputcommitter.marksuccessfuljobs": "false"}


def write_parquet(
    frame: "DataFrame", folder: Location, layout: Parquet | None, partition_by: Collection[str] = ()
) -> None:
    """Write the rows in one Spark action; rows of each value of `partition_by` in a folder of their own."""
    options = WRITING | (layout.configuration() if layout else {})
    writer = frame.write.options(**options)
    if layout is not None:
        writer = writer.option("compression", layout.codec)
    writer.partitionBy(*partition_by).parquet(str(folder))


def read_parquet(spark: "SparkSession", files: Collection[Location], schema: "StructType") -> "DataFrame":
    """The rows of these files, with the columns of the schema: one that a file lacks is NULL, others are not read."""
    if not files:
        return spark.createDataFrame([], schema)
    return spark.read.schema(schema).option("__globPaths__", "false").parquet(*map(str, files))
