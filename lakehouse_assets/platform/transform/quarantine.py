"""The quarantine of a table: the rows that broke a rule, whole, with the rules, beside the table."""

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import date

import pyarrow as pa
from pyspark.sql import types as T

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.table import Ledger
from lakehouse_assets.platform.planning.erased_since import refuse_erased
from lakehouse_assets.platform.planning.plan import Lake, Plan
from lakehouse_assets.platform.storage.commit import Swap, commit
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata
from lakehouse_assets.platform.storage.data_files import active_files, new_attempt, remove_folder, written_files
from lakehouse_assets.platform.storage.delta_table import open_table
from lakehouse_assets.platform.storage.delta_writer import Replaced, replaced_days
from lakehouse_assets.platform.storage.log_statistics import may_hold
from lakehouse_assets.platform.storage.row_copies import RowCopy, copy_rows, is_one_of
from lakehouse_assets.platform.storage.s3 import StoreError
from lakehouse_assets.platform.storage.target import Target
from lakehouse_assets.platform.validation.row_validation import BROKEN
from lakehouse_assets.platform.validation.validated_rows import OF_LANDING, QUARANTINED, WHOLE, ValidatedRows

QUARANTINE = T.StructType(
    [
        T.StructField(DAY_COLUMN, T.DateType(), False, {"comment": "feed day of the row"}),
        T.StructField("rules", T.ArrayType(T.StringType()), False, {"comment": "rules that the row broke"}),
        T.StructField("source_file", T.StringType(), True, {"comment": "landed file it came from"}),
        T.StructField("row_number", T.LongType(), True, {"comment": "row of that file, from 1"}),
        T.StructField("version", T.IntegerType(), True, {"comment": "number of the feed day's landing"}),
        T.StructField("row", T.StringType(), False, {"comment": "the whole row as it came, as JSON"}),
    ]
)
COLUMNS_WRITTEN = dict(zip((DAY_COLUMN, BROKEN, *OF_LANDING, WHOLE), QUARANTINE.names, strict=True))


def rows_on(days: Collection[date]) -> Callable[[pa.RecordBatch], pa.BooleanArray]:
    """Which rows of a batch are of these feed days."""
    wanted = pa.array(sorted(days), pa.date32())
    return lambda rows: is_one_of(rows, DAY_COLUMN, wanted)


def replace_quarantine(lake: Lake, plan: Plan, written: ValidatedRows, metadata: CommitMetadata) -> None:
    """Replace the quarantine of the days that are written; days without bad rows are touched only if they had some.

    A ledger has no quarantine: its figures are our own, and a bad one fails its day. Raises ConcurrentCommit,
    WriteError.
    """
    if isinstance(plan.table.write, Ledger):
        return
    path = lake.quarantine(plan.table.key)
    of_days = {day: metadata.rows[day] for day in metadata.days}
    if not any(of.quarantined for of in of_days.values()) and not may_hold(path, DAY_COLUMN, metadata.days):
        return
    target = Target(path, f"{plan.table.key}__quarantine", QUARANTINE, parquet=plan.table.parquet)
    table = open_table(path)
    refuse_erased(lake, plan)  # after the version: an erasure that comes later moves it
    base = table.version() if table else None
    replaced = replaced_days(active_files(table), DAY_COLUMN, metadata.days) if table else Replaced([])
    attempt = new_attempt(path)
    copy = RowCopy(rows_on(metadata.days), COLUMNS_WRITTEN)
    try:
        copy_rows(written.files(QUARANTINED), attempt / QUARANTINED, copy, plan.table.parquet)
        replaced.carry_over(target, attempt)
        files = written_files(path, attempt, QUARANTINE, target.bounded)
        swap = Swap(files, replaced.files, lambda file: bool(replaced_days([file], DAY_COLUMN, metadata.days).files))
        commit(target, replace(metadata, rows=of_days, unchanged=frozenset(), base=base), base, swap)
    except StoreError:  # whether it was committed is not known
        raise
    except LakehouseError:
        remove_folder(attempt)
        raise
