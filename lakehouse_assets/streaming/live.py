"""Tables that a stream keeps up to date itself, after each of its commits: `ReplaceDays(live=True)`.

The days that a commit touched are made anew, whole, so a live figure is at every moment what a computation from scratch
would say. The price: it costs what the open day costs, which bounds how many events a day may have.
"""

from lakehouse_assets.platform.catalog import Catalog
from lakehouse_assets.platform.levels import Levels
from lakehouse_assets.platform.materialize import Step, materialize
from lakehouse_assets.platform.plan import make_plan
from lakehouse_assets.platform.reader import read_inputs
from lakehouse_assets.platform.table import ReplaceDays, Table, TableKey


def live_tables(catalog: Catalog, source: TableKey) -> tuple[Table, ...]:
    """Tables that the stream of `source` keeps itself."""
    return tuple(
        table
        for table in catalog.tables
        if isinstance(table.write, ReplaceDays)
        and table.write.live
        and any(read.table == source for read in table.reads.values())
    )


def keep(step: Step, levels: Levels, table: Table) -> None:
    """Make what is behind of a live table."""
    levels.read_on()
    days = sorted(levels.behind(table))
    if days:
        plan = make_plan(step.lake, table, days)
        materialize(step, plan, table(**read_inputs(step.spark, step.lake, plan, step.catalog)))
