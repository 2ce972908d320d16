"""Of which columns a table's log keeps the smallest and the greatest value of each file: of none that is personal.

Statistics stay in the log as long as its entries do, whatever becomes of the rows. So only columns have them that
readers select files by and that name nobody: whole numbers, days and times, unless the contract calls them personal.
A text may be a name, wherever it came from, and has none, but for the door by which a row came, which the platform
names. A file without statistics is always read.
"""

from lakehouse_assets.platform.declare.table import Table
from lakehouse_assets.platform.storage.statistics_properties import CHANNEL

_SELECTED_BY = ("tinyint", "smallint", "int", "bigint", "date", "timestamp", "timestamp_ntz")


def stats_columns(table: Table) -> tuple[str, ...]:
    """The columns of a declared table that have statistics, in the contract's order."""
    of = table.compiled
    return tuple(
        column.name
        for column in of.spark_schema
        if (column.dataType.simpleString() in _SELECTED_BY or column.name == CHANNEL) and column.name not in of.personal
    )
