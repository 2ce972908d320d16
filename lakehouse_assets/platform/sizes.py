"""How many rows a step reads, by the statistics of what it reads; and what follows for how it is computed."""

from lakehouse_assets.platform.file_stats import rows_within
from lakehouse_assets.platform.plan import Lake, Plan
from lakehouse_assets.platform.reader import landed_parts
from lakehouse_assets.platform.table import DAY_COLUMN, LANDING_LAYER, Ledger, Overwrite, ReplaceDays

HELD_CELLS = 5_000_000  # rows times columns
MANY_ROWS = 500_000


def is_held(lake: Lake, plan: Plan) -> bool:
    """Whether the judged rows are kept in memory between counting and writing.

    That saves computing them again; but of millions of wide rows the cache costs more than reading them twice does. Of
    landed rows, which take little computing, it always does.
    """
    write = plan.table.write
    if isinstance(write, Ledger | Overwrite) or (isinstance(write, ReplaceDays) and write.live):
        return True  # figures: few rows, dear to compute
    if plan.table.landing is not None:
        return False
    rows = sum(_rows_read(lake, plan, name) for name in plan.table.reads)
    return rows * len(plan.table.compiled.spark_schema) <= HELD_CELLS


def are_many(lake: Lake, plan: Plan) -> bool:
    """Whether so many rows come that it is worth a look whether one repeats. Of figures nobody knows how many."""
    name = plan.table.conserves
    return name is not None and _rows_read(lake, plan, name) > MANY_ROWS


def _rows_read(lake: Lake, plan: Plan, name: str) -> int:
    key, version = plan.table.reads[name].table, plan.pins[name].version
    if key.layer == LANDING_LAYER:
        return sum(part.rows for part in landed_parts(lake, plan.table.key, plan.days, version))
    first, last = plan.window(name) or (None, plan.days[-1])
    return rows_within(lake.path(key), version, DAY_COLUMN, first, last)
