"""Where a table's stream comes from: a source says what the table does not have yet, the platform commits it.

A source reads and never writes (`stream_ingest.py` does), and knows nothing of runs or other tables.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol

from lakehouse_assets.platform.common.source_days import SourceDays
from lakehouse_assets.platform.storage.location import Location

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


OUTSIDE, UNREADABLE, TOO_LARGE = "day_is_of_the_source", "document_is_readable", "document_is_not_too_large"
UNNAMED = "header_names_are_text"
"""Rules that a record breaks which no commit of a stream may hold."""


@dataclass(frozen=True)
class SetAside:
    """A record: where it came from, the rule that it broke, why, and what it holds as far as it can be read.

    `source_file`, `row_number` and `etag` identify it: topic, partition and offset, or an object and its hash.
    """

    source_file: str
    row_number: int
    etag: str
    rule: str
    reason: str
    row: str = ""
    feed_day: date | None = None

    @property
    def identity(self) -> tuple[str, int, str]:
        return self.source_file, self.row_number, self.etag


@dataclass(frozen=True)
class Fresh:
    """What comes next: rows of the table's columns, how far the source is read with them, what is left after them.

    `rows` None: there is nothing to commit. `set_aside`: records that no commit may hold. `one_by_one`: reads the same
    again where Spark cannot read it at once or finds a record that no commit may hold, and sets that one aside.
    """

    rows: "DataFrame | None"
    position: Mapping[str, Any]
    lag: int
    set_aside: Sequence[SetAside] = ()
    one_by_one: "Callable[[], Fresh] | None" = None


class StreamSource(Protocol):
    """A source of rows. `channel` names this way in, in the table's column `door`.

    `path` is the folder of the table, whose commits say how far the source was read.
    """

    @property
    def channel(self) -> str: ...

    @property
    def days(self) -> SourceDays | None:
        """The days that its rows can be of; None: it declares none, and the domain's hold."""

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
