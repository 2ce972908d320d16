"""The properties by which a Delta log keeps the smallest and the greatest value of some columns of each file."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from lakehouse_assets.platform.common.days import DAY_COLUMN

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

PROPERTY = "delta.dataSkippingStatsColumns"
NONE_AT_ALL = "delta.dataSkippingNumIndexedCols"
CHANNEL = "door"
"""Column that says by which way a row came, in a table that has several."""


def day_alone(schema: "StructType") -> tuple[str, ...]:
    """The feed day, if there is one: for tables of whole rows as text, of which nobody knows what they hold."""
    return tuple(name for name in schema.names if name == DAY_COLUMN)


def stats_properties(columns: Collection[str]) -> dict[str, str]:
    """The properties by which every Delta writer keeps statistics of these columns and of no other."""
    return {PROPERTY: ",".join(columns)} if columns else {NONE_AT_ALL: "0"}
