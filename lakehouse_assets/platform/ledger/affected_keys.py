"""The entities that have records in some days of some tables: looked up without Spark where they are few.

Each Delta table that a Spark query reads is a fifth of a second of planning, whatever it holds; of a new day's records
delta-rs finds the entities in milliseconds.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql.types import DateType, StructField, StructType

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.storage.delta_table import query_rows
from lakehouse_assets.platform.storage.delta_writer import days_predicate, on_days
from lakehouse_assets.platform.storage.location import Location
from lakehouse_assets.platform.storage.log_statistics import most_rows
from lakehouse_assets.platform.storage.pinned_read import read_version

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FEW_ROWS = 20_000  # records that are looked through in this process; their entities travel with the plan


@dataclass(frozen=True)
class Records:
    """The records of some days (at least one) of a table's version."""

    path: Location
    version: int
    days: frozenset[date]


def look_up(spark: "SparkSession", records: Collection[Records], grouping_key: "StructType") -> "DataFrame":
    """Each entity of these records once: columns as in `grouping_key`. Raises StoreError."""
    most = [most_rows(of.path, of.version, DAY_COLUMN, of.days) for of in records]
    if None in most or sum(rows or 0 for rows in most) > FEW_ROWS:
        return reduce(
            lambda one, other: one.union(other), [_read(spark, of, grouping_key) for of in records]
        ).distinct()
    found = [tuple(row.values()) for of in records for row in query_rows(of.path, _query(of, grouping_key), of.version)]
    return spark.createDataFrame(list(dict.fromkeys(found)), grouping_key)


def _query(of: Records, grouping_key: "StructType") -> str:
    columns = ", ".join(f'"{name}"' for name in grouping_key.names)
    return f"SELECT DISTINCT {columns} FROM t WHERE {days_predicate(DAY_COLUMN, of.days)}"  # noqa: S608  (typed values)


def _read(spark: "SparkSession", of: Records, grouping_key: "StructType") -> "DataFrame":
    schema = StructType([*grouping_key, StructField(DAY_COLUMN, DateType())])
    first, last = min(of.days), max(of.days)
    table = read_version(spark, of.path, of.version, schema, lambda file: file.may_hold(DAY_COLUMN, first, last))
    return table.where(on_days(DAY_COLUMN, of.days)).select(*grouping_key.names)
