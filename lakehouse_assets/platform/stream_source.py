"""Where a table's stream comes from: a source says what the table does not have yet, the platform commits it.

A source reads and never writes (`stream.py` does), and knows nothing of runs or other tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lakehouse_assets.platform.store import Location

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class Fresh:
    """What comes next: rows of the table's columns, how far the source is read with them, what is left after them."""

    rows: "DataFrame"
    position: Mapping[str, Any]
    lag: int


class StreamSource(Protocol):
    """A source of rows. `door` names this way in, in the table's column `door`.

    `path` is the folder of the table, whose commits say how far the source was read.
    """

    @property
    def door(self) -> str: ...

    @property
    def permanent(self) -> tuple[type[Exception], ...]:
        """Errors that another try cannot mend."""

    def next(
        self, spark: "SparkSession", path: Location, version: int | None, upto: object | None = None
    ) -> Fresh | None:
        """The batch after what this version of the table holds (None: there is no table yet).

        `upto`: what `end` has said; without it the source goes as far as it goes now. None: nothing is left before it.
        """

    def end(self, path: Location) -> object | None:
        """How far the source goes now; None: it is not there. Raises where it was read and is gone."""

    def lag(self, path: Location) -> int:
        """Records of the source that the table does not have."""
