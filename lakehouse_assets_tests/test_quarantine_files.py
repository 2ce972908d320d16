"""Rows on their way to quarantine, without Spark: all of a large day leave, in bounded memory."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse_assets import defs as domains
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.planning.plan import Lake, Plan
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, DayRows
from lakehouse_assets.platform.storage.data_files import new_attempt
from lakehouse_assets.platform.storage.delta_table import query_rows
from lakehouse_assets.platform.transform.quarantine import replace_quarantine
from lakehouse_assets.platform.validation.validated_rows import QUARANTINED, STATE, ValidatedRows

DAY = date(2023, 2, 1)
ROWS, BATCH, MIB = 2_000_000, 100_000, 2**20
KEY = TableKey("gmv", "silver", "product_item")


def quarantined(attempt: Path, rows: int) -> None:
    """Files of rows that all broke a rule, as a step writes them."""
    folder = attempt / f"{STATE}={QUARANTINED}"
    folder.mkdir(parents=True)
    writer: pq.ParquetWriter | None = None
    for first in range(0, rows, BATCH):
        numbers = range(first, first + BATCH)
        batch = pa.table(
            {
                "feed_day": pa.array([DAY] * BATCH, pa.date32()),
                "_broken": pa.array([["item_quantity"]] * BATCH, pa.list_(pa.string())),
                "_source_file": ["items.csv"] * BATCH,
                "_row_number": pa.array(numbers, pa.int64()),
                "_version": pa.array([1] * BATCH, pa.int32()),
                "_row": [f'{{"purchase_id": "{number:0200}"}}' for number in numbers],
            }
        )
        writer = writer or pq.ParquetWriter(folder / "part-00000.parquet", batch.schema)
        writer.write_table(batch)
    if writer is not None:
        writer.close()


def test_a_day_of_two_million_rows_that_all_leave_is_kept_in_bounded_memory(tmp_path: Path) -> None:
    table, lake = discover(domains).table(KEY), Lake(tmp_path / "lake", tmp_path / "landing")
    attempt = new_attempt(lake.path(KEY))
    assert isinstance(attempt, Path)
    quarantined(attempt, ROWS)
    rows = {DAY: DayRows(ROWS, 0, ROWS, 0, "", broken={"item_quantity": ROWS})}
    metadata = CommitMetadata(str(KEY), "run", "run#1", frozenset([DAY]), "code", {}, rows=rows)
    pool, before = pa.proxy_memory_pool(pa.default_memory_pool()), pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        plan = Plan(table, (DAY,), (DAY,), {}, None, None, {})
        replace_quarantine(lake, plan, ValidatedRows(table.compiled, attempt), metadata)
    finally:
        pa.set_memory_pool(before)
    query = 'SELECT count(*) AS n, count(DISTINCT row_number) AS numbers, min("row") AS first FROM t'
    assert query_rows(lake.quarantine(KEY), query) == [
        {"n": ROWS, "numbers": ROWS, "first": f'{{"purchase_id": "{0:0200}"}}'}
    ]
    assert MIB < pool.max_memory() < 256 * MIB
