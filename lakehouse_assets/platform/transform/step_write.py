"""The one write of a step: its rows, marked by the contract, in few files, in one Spark action."""

from typing import TYPE_CHECKING

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.contracts.compiled import CompiledContract
from lakehouse_assets.platform.declare.scd import Scd
from lakehouse_assets.platform.declare.table import LANDING_LAYER, ReplaceDays
from lakehouse_assets.platform.planning.plan import Lake, Plan
from lakehouse_assets.platform.planning.reader import landed_parts
from lakehouse_assets.platform.scd.scd_table import files_of
from lakehouse_assets.platform.storage.data_files import remove_folder
from lakehouse_assets.platform.storage.log_statistics import rows_within
from lakehouse_assets.platform.validation.row_validation import MARKS, validate_rows
from lakehouse_assets.platform.validation.validated_rows import PASSED, QUARANTINED, ValidatedRows, write_validated

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

RECORD_HASH = "record_hash"
MANY_ROWS = 500_000
ROWS_PER_FILE = 500_000


def duplicates_of(plan: Plan) -> tuple[str, ...] | None:
    """Exact duplicates are rows of one feed day with the same hash of all source columns."""
    columns = plan.table.compiled.spark_schema.names
    return (DAY_COLUMN, RECORD_HASH) if RECORD_HASH in columns else None


def write_rows(lake: Lake, plan: Plan, rows: "DataFrame", schema: "StructType") -> ValidatedRows:
    """All rows of the step (of this schema) in one action. Of many it is looked afterwards whether one repeats another.

    Mostly none does, and to find out by sorting all of them costs more than the rest of the step; where one does, they
    are written again with the sort.
    """
    contract, (target, extra) = plan.table.compiled, files_of(lake, plan.table)
    expected = rows_read(lake, plan)
    optimistic = expected is not None and expected > MANY_ROWS and _key_tells_duplicates(contract)
    for none_repeats in (True, False) if optimistic else (False,):
        marked = validate_rows(
            rows, contract, duplicates_of=duplicates_of(plan), none_repeats=none_repeats, schema=schema
        )
        laid_out = _laid_out(marked, plan, expected or sum(_rows_of(lake, plan, name) for name in plan.table.reads))
        written = write_validated(laid_out, target, contract, [*schema.names, *MARKS], extra)
        if not none_repeats or not written.repeated(contract.key, (PASSED, QUARANTINED)):
            return written
        remove_folder(written.attempt)
    raise AssertionError("the second write looks for repeated rows itself")


def _key_tells_duplicates(contract: CompiledContract) -> bool:
    """Rows of one hash, which is of all the source's columns (`casting.py`), have one key if it is made of these."""
    return bool(contract.key) and set(contract.key) <= {DAY_COLUMN, *contract.source_columns}


def rows_read(lake: Lake, plan: Plan) -> int | None:
    """At most so many rows come from the input whose rows must all arrive; None: there is no such input."""
    name = plan.table.reconciles
    return None if name is None else _rows_of(lake, plan, name)


def _rows_of(lake: Lake, plan: Plan, name: str) -> int:
    key, version = plan.table.reads[name].table, plan.input_versions[name].version
    if key.layer == LANDING_LAYER:
        return sum(part.rows for part in landed_parts(lake, plan.table.key, plan.days, version))
    first, last = plan.window(name) or (None, plan.days[-1])
    return rows_within(lake.path(key), version, DAY_COLUMN, first, last)


def _laid_out(rows: "DataFrame", plan: Plan, expected: int) -> "DataFrame":
    """Few files, written by as many tasks as that number of rows needs, each of days that follow one another.

    Rows of one day have no order to be brought into.
    """
    write = plan.table.write
    per_file = write.rows_per_file if isinstance(write, ReplaceDays) else ROWS_PER_FILE
    files = max(1, -(-expected // per_file))
    if len(plan.days) == 1 or not isinstance(write, ReplaceDays | Scd):
        return rows.coalesce(files)
    laid_out = rows.coalesce(1) if files == 1 else rows.repartitionByRange(files, DAY_COLUMN)
    return laid_out.sortWithinPartitions(DAY_COLUMN)
