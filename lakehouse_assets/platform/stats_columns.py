"""Of which columns a table's log keeps the smallest and the greatest value of each file: of none that is personal.

Statistics stay in the log as long as its entries do, whatever becomes of the rows. So only columns have them that
readers select files by and that name nobody: whole numbers, days and times, unless the contract calls them personal.
A text may be a name, wherever it came from, and has none, but for the door by which a row came, which the platform
names. A file without statistics is always read.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

from lakehouse_assets.platform.table import DAY_COLUMN, Table

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

PROPERTY = "delta.dataSkippingStatsColumns"
NONE_AT_ALL = "delta.dataSkippingNumIndexedCols"
DOOR = "door"
"""Column that says by which way a row came, in a table that has several."""
_SELECTED_BY = ("tinyint", "smallint", "int", "bigint", "date", "timestamp", "timestamp_ntz")


def stats_columns(table: Table) -> tuple[str, ...]:
    """The columns of a declared table that have statistics, in the contract's order."""
    of = table.compiled
    return tuple(
        column.name
        for column in of.spark_schema
        if (column.dataType.simpleString() in _SELECTED_BY or column.name == DOOR) and column.name not in of.personal
    )


def day_alone(schema: "StructType") -> tuple[str, ...]:
    """The feed day, if there is one: for tables of whole rows as text, of which nobody knows what they hold."""
    return tuple(name for name in schema.names if name == DAY_COLUMN)


def stats_properties(columns: Collection[str]) -> dict[str, str]:
    """The properties by which every Delta writer keeps statistics of these columns and of no other."""
    return {PROPERTY: ",".join(columns)} if columns else {NONE_AT_ALL: "0"}
