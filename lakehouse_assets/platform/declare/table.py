"""What a table is: declared once, as a contract and a function (`domain.py`).

From the declaration follow the Dagster asset, its partition mappings, the pinned inputs, the Delta table, its checks,
quarantine and lineage.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Self

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.common.file_layout import Parquet
from lakehouse_assets.platform.declare.declaration_checks import (
    faults_of_days,
    faults_of_function,
    faults_of_rules,
    faults_of_stream,
)
from lakehouse_assets.platform.declare.scd import Scd, faults
from lakehouse_assets.platform.declare.source_files import EventFiles
from lakehouse_assets.platform.declare.stream_source import StreamSource

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakehouse_assets.platform.contracts.compiled import CompiledContract
    from lakehouse_assets.platform.contracts.contract import Contract

LANDING_LAYER = "landing"
LONGEST_SLA = timedelta(days=6)  # later, and the day is not watched any more (sla.py)
LAYERS = (LANDING_LAYER, "bronze", "silver", "gold")
PUBLISHED_LAYER = "gold"


class DeclarationError(LakehouseError):
    """A table that is declared wrongly; raised at import."""


@dataclass(frozen=True, order=True)
class TableKey:
    """Domain, layer and name: the asset key, the folder below the lake and the SQL name."""

    domain: str
    layer: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """`gmv/silver/purchase`, also with dots. Raises DeclarationError."""
        parts = text.replace(".", "/").split("/")
        if len(parts) != 3 or not all(part.isidentifier() for part in parts):
            raise DeclarationError(f"{text!r} is not a table: write it as gmv/silver/purchase")
        return cls(*parts)

    @property
    def parts(self) -> tuple[str, str, str]:
        return self.domain, self.layer, self.name

    def __str__(self) -> str:
        return "/".join(self.parts)


class Span(Enum):
    """How much of an input a day reads."""

    DAY = "day"
    LAST = "last"
    THROUGH = "through"
    WHOLE = "whole"


@dataclass(frozen=True)
class Read:
    """One input of a table and the days of it that a day reads."""

    table: TableKey
    span: Span
    days: int = 1

    def bounds(self, first: date, last: date) -> tuple[date | None, date]:
        """First (None: the beginning) and last input day that the output days first..last read."""
        match self.span:
            case Span.DAY:
                return first, last
            case Span.LAST:
                return date.fromordinal(first.toordinal() - self.days + 1), last
            case Span.THROUGH:
                return None, last
            case Span.WHOLE:
                return None, date.max


@dataclass(frozen=True)
class IncrementalRefresh:
    """The rows of a minute follow from those of the same minute of the stream alone.

    `column`: the minute in this table; `time`: the time in the stream's table, of which that is the minute.
    """

    column: str
    time: str


@dataclass(frozen=True)
class ReplaceDays:
    """Materializing a day replaces exactly that day; `rows_per_file` bounds the files of one write.

    `channel`: only the rows of that day that came by this way, which the table's column `door` names; others stay.
    `refresh`: the stream that it reads keeps it up to date itself, commit by commit, by the minutes that a commit
    touched.
    """

    rows_per_file: int = 500_000
    channel: str | None = None
    refresh: IncrementalRefresh | None = None


@dataclass(frozen=True)
class Overwrite:
    """The table is one state, overwritten when its input changes."""


@dataclass(frozen=True)
class Ledger:
    """Append-only history of figures. The function returns contributions (see `ledger.py`), the platform publishes.

    A contribution has the columns of `grouping_key`, which identify who contributes (a purchase), and of `dimensions`,
    the key of a figure. `figure` is the ledger's column that sums the contributions' column `amount`; its column
    `count` counts contributions.
    """

    grouping_key: tuple[str, ...]
    dimensions: tuple[str, ...]
    amount: str
    figure: str
    count: str


Write = ReplaceDays | Overwrite | Ledger | Scd


@dataclass(frozen=True)
class Publish:
    """The table is published to the warehouse, where every analyst reads it: so without its personal columns.

    `personal`: those of them that are published all the same.
    """

    personal: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Table:
    """A declared table. Two tables are the same if they are the same object."""

    key: TableKey
    contract: "type[Contract]"
    function: "Callable[..., DataFrame]"
    reads: Mapping[str, Read]
    write: Write = ReplaceDays()
    reconciles: str | None = None
    source: EventFiles | None = None
    co_materialized: "tuple[Table, ...]" = field(default=())
    stream: StreamSource | None = None
    sla: timedelta | None = None
    parquet: Parquet | None = None
    publish: Publish | None = None

    def __post_init__(self) -> None:
        if self.sla is not None and not timedelta(0) <= self.sla < LONGEST_SLA:
            raise DeclarationError(
                f"{self.key}: sla={self.sla} is not from 0 to {LONGEST_SLA} after the end of the day"
            )
        if self.reconciles is not None and self.reconciles not in self.reads:
            raise DeclarationError(
                f"{self.key}: reconciles={self.reconciles!r} is not one of its inputs {list(self.reads)}"
            )
        if self.publish is not None and (unknown := set(self.publish.personal) - self.compiled.pii):
            raise DeclarationError(f"{self.key}: {sorted(unknown)[0]!r} is no personal column, nothing withholds it")
        if not isinstance(self.write, Write):
            raise DeclarationError(
                f"{self.key}: write={self.write!r} is no kind of write; write for example Overwrite()"
            )
        misfits = faults(self.write, self.compiled) if isinstance(self.write, Scd) else []
        if misfits:
            raise DeclarationError(f"{self.key}: {self.contract.__name__} does not fit its write: {'; '.join(misfits)}")
        of_function, of_rules = faults_of_function(self.function, self.reads), faults_of_rules(self.compiled)
        of_stream = (*faults_of_stream(self.source, self.stream), *faults_of_days(self.compiled, self.stream))
        for wrong in (*of_function, *of_rules, *of_stream):
            raise DeclarationError(f"{self.key}: {wrong}")

    @property
    def compiled(self) -> "CompiledContract":
        """The contract, compiled."""
        from lakehouse_assets.platform.contracts.compiled import compile_contract

        return compile_contract(self.contract)

    @property
    def landing(self) -> TableKey | None:
        """The landed files this table is made of, if it is made of files."""
        return next((read.table for read in self.reads.values() if read.table.layer == LANDING_LAYER), None)

    def __call__(self, /, **inputs: "DataFrame") -> "DataFrame":
        return self.function(**inputs)


def _key(source: Table | TableKey) -> TableKey:
    if isinstance(source, Table):
        return source.key
    if isinstance(source, TableKey):
        return source
    given = getattr(source, "__name__", type(source).__name__)
    raise DeclarationError(f"{given} is no table to read; name one, as day(orders.silver)")


def day(source: Table | TableKey) -> Read:
    """The same day of the input."""
    return Read(_key(source), Span.DAY)


def rolling_window(days: int, source: Table | TableKey) -> Read:
    """The day and the `days - 1` before it."""
    if days < 1:
        raise DeclarationError(f"rolling_window({days}): at least one day")
    return Read(_key(source), Span.LAST, days)


def cumulative(source: Table | TableKey) -> Read:
    """Everything up to and including the day."""
    return Read(_key(source), Span.THROUGH)


def full(source: Table | TableKey) -> Read:
    """The whole input, on any day: for a table that is one state."""
    return Read(_key(source), Span.WHOLE)
