"""Pandera's verdict on the days of a step, before the commit: for contracts with rules of a whole day."""

from collections.abc import Collection
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.storage.parquet_files import read_parquet
from lakehouse_assets.platform.validation.day_result import DayCounts
from lakehouse_assets.platform.validation.validated_rows import PASSED, ValidatedRows

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def with_day_rules(
    spark: "SparkSession", written: ValidatedRows, counted: dict[date, DayCounts], days: Collection[date]
) -> dict[date, DayCounts]:
    """The counts with those rules of a whole day that the rows that passed break: each counts once.

    Each rule costs the Spark actions that its check takes; a contract without such rules costs nothing. A day without
    rows is judged too.
    """
    contract = written.contract
    if not contract.of_day:
        return counted
    columns = contract.spark_schema.names
    beside = [] if DAY_COLUMN in columns else [T.StructField(DAY_COLUMN, T.DateType())]
    passed = read_parquet(spark, written.files(PASSED), T.StructType([*contract.spark_schema, *beside]))
    found = dict(counted)
    for day in days:
        rows = passed.where(F.col(DAY_COLUMN) == F.lit(day)).select(*columns)
        counts = counted.get(day) or DayCounts.empty(contract)
        broken = {rule.name: 1 for rule in contract.of_day if rule.passes and not rule.passes(rows)}
        found[day] = replace(counts, broken={**counts.broken, **broken})
    return found
