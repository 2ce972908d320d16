"""A Delta table to write, as its declaration says it: where it is, its columns, its properties, its files' layout."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakehouse_assets.platform.common.file_layout import Parquet
from lakehouse_assets.platform.storage.location import Location
from lakehouse_assets.platform.storage.statistics_properties import day_alone, stats_properties

if TYPE_CHECKING:
    from pyspark.sql.types import StructType


@dataclass(frozen=True)
class Target:
    """A Delta table to write.

    `schema` has the columns with their comments. `statistics`: columns whose bounds the log keeps
    (`statistics_columns.py`); None: the feed day alone. `id`: the Delta identifier of the table that was planned; None:
    not known.
    """

    path: Location
    name: str
    schema: "StructType"
    append_only: bool = False
    partition_by: tuple[str, ...] = ()
    parquet: Parquet | None = None
    statistics: tuple[str, ...] | None = None
    id: str | None = None

    def stored_schema(self) -> str:
        """The schema as the log holds it, as JSON: with comments, every column nullable.

        NOT NULL is checked before each commit (`written_files`). Spark's writer does not store it either, and in a log
        of delta-rs 1.6 it would be a feature, `invariants`, that Spark then misses in the protocol.
        """
        from pyspark.sql.types import StructField, StructType

        return StructType([StructField(c.name, c.dataType, True, c.metadata) for c in self.schema]).json()

    @property
    def bounded(self) -> tuple[str, ...]:
        """The columns whose bounds the log keeps."""
        return day_alone(self.schema) if self.statistics is None else self.statistics

    def properties(self) -> dict[str, str]:
        """Delta's properties at creation."""
        return stats_properties(self.bounded) | ({"delta.appendOnly": "true"} if self.append_only else {})
