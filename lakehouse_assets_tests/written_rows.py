"""Marked rows written as a step writes them, into a folder of their own, and read back."""

import tempfile
from collections.abc import Collection
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from lakehouse_assets.platform.contracts.compiled import CompiledContract
from lakehouse_assets.platform.storage.target import Target
from lakehouse_assets.platform.transform.quarantine import COLUMNS_WRITTEN
from lakehouse_assets.platform.validation.day_result import DayCounts
from lakehouse_assets.platform.validation.validated_rows import QUARANTINED, ValidatedRows, write_validated

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def write(marked: "DataFrame", contract: CompiledContract) -> ValidatedRows:
    """The rows in files of their states."""
    folder = Path(tempfile.mkdtemp(prefix="written-"))
    return write_validated(marked, Target(folder, "t", contract.spark_schema), contract)


def count_per_day(marked: "DataFrame", contract: CompiledContract) -> dict[date, DayCounts]:
    return write(marked, contract).count()


def samples(
    marked: "DataFrame", contract: CompiledContract, rules: Collection[str]
) -> dict[tuple[date, str], list[dict[str, Any]]]:
    return write(marked, contract).samples(rules)


def quarantined(marked: "DataFrame", contract: CompiledContract) -> list[dict[str, Any]]:
    """The rows as the quarantine table has them."""
    files = write(marked, contract).files(QUARANTINED)
    rows = [row for file in files for row in pq.ParquetFile(str(file)).read([*COLUMNS_WRITTEN]).to_pylist()]
    return [{COLUMNS_WRITTEN[name]: value for name, value in row.items()} for row in rows]
