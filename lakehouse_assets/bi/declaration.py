"""What a dashboard shows: declared beside a domain's tables and held against their contracts, whoever draws it.

A column that a contract does not have is an error where the chart is declared, so that a renamed one is found at once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.table import Ledger, Table

AS_OF = "as_of"
"""Column of a source with history: the day whose knowledge was asked for, as text."""
WHOLE_WIDTH = 12


class DashboardError(LakehouseError):
    """A chart that shows what its table does not have; raised at import."""


@dataclass(frozen=True)
class Rows:
    """The rows of a table as they are. `day`: the column that a range of days is asked of.

    `currency`: the ISO code of the currency of its decimal columns, where they are amounts of money.
    """

    table: Table
    day: str | None = None
    currency: str = field(default="", kw_only=True)

    @property
    def columns(self) -> frozenset[str]:
        """What a chart may show."""
        return frozenset(self.table.compiled.spark_schema.names)


@dataclass(frozen=True)
class Newest(Rows):
    """Of each group of rows with equal `of` only the newest. `by`: columns that decide, each with ASC or DESC.

    `known_on`: the column that says since when a row is known; with it the rows can be had as known on a day.
    """

    of: tuple[str, ...] = ()
    by: tuple[tuple[str, str], ...] = ()
    known_on: str | None = None

    @property
    def columns(self) -> frozenset[str]:
        """Also the day that was asked for."""
        return super().columns | ({AS_OF} if self.known_on else frozenset())


def as_known(table: Table, day: str | None = None, *, currency: str = "") -> Newest:
    """A table that keeps what was known before, as known on a day: a ledger, or one whose newest row of a key holds."""
    if isinstance(table.write, Ledger):
        newest = (("effective_date", "DESC"), ("version", "DESC"))
        return Newest(table, day, table.write.dimensions, newest, "effective_date", currency=currency)
    return Newest(table, day, table.compiled.key, ((DAY_COLUMN, "DESC"),), DAY_COLUMN, currency=currency)


@dataclass(frozen=True)
class Measure:
    """A figure of a group of rows: SQL over `columns`. `number`: how it is written, as d3 formats numbers."""

    label: str
    sql: str
    columns: tuple[str, ...]
    number: str


def total(label: str, column: str, number: str = ",.2f") -> Measure:
    """The sum of a column."""
    return Measure(label, f'SUM("{column}")', (column,), number)


def distinct(label: str, column: str) -> Measure:
    """How many different values there are."""
    return Measure(label, f'COUNT(DISTINCT "{column}")', (column,), ",d")


def count(label: str) -> Measure:
    """How many rows there are."""
    return Measure(label, "COUNT(*)", (), ",d")


def greatest(label: str, column: str, number: str = "") -> Measure:
    """The greatest value."""
    return Measure(label, f'MAX("{column}")', (column,), number)


def share(label: str, part: str, whole: str) -> Measure:
    """The sum of one column by the sum of another."""
    return Measure(label, f'SUM("{part}")::numeric / NULLIF(SUM("{whole}"), 0)', (part, whole), ".1%")


@dataclass(frozen=True)
class Where:
    """Rows whose column has one of these values, or none of them."""

    column: str
    values: tuple[str | int | bool, ...]
    negated: bool = False


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Something drawn of a source. `width` in twelfths of the page, `height` in rows of 8 pixels."""

    title: str
    source: Rows
    where: tuple[Where, ...] = ()
    about: str = ""
    width: int = 6
    height: int = 40

    def __post_init__(self) -> None:
        known = self.source.columns
        missing = sorted(set(self.used()) - known)
        if missing:
            raise DashboardError(
                f"Chart {self.title!r} shows {', '.join(missing)}, which {self.source.table.key} has not. "
                f"It has {', '.join(sorted(known))}."
            )

    def measures(self) -> tuple[Measure, ...]:
        """Its figures."""
        return ()

    def by(self) -> tuple[str, ...]:
        """The columns that it shows, or groups by."""
        return ()

    def used(self) -> Iterator[str]:
        """Every column it needs."""
        yield from self.by()
        for measure in self.measures():
            yield from measure.columns
        yield from (where.column for where in self.where)
        if self.source.day:
            yield self.source.day


@dataclass(frozen=True, kw_only=True)
class Number(Chart):
    """One figure, large."""

    measure: Measure
    width: int = 3
    height: int = 16

    def measures(self) -> tuple[Measure, ...]:
        return (self.measure,)


class Shape(Enum):
    """How a series is drawn."""

    LINE = "line"
    BAR = "bar"
    AREA = "area"


@dataclass(frozen=True, kw_only=True)
class Series(Chart):
    """Figures along `x`, one series for each value of `split`. `grain`: ISO duration that times are cut to."""

    x: str
    figures: tuple[Measure, ...]
    split: str | None = None
    shape: Shape = Shape.LINE
    grain: str | None = "P1D"
    stacked: bool = False

    def measures(self) -> tuple[Measure, ...]:
        return self.figures

    def by(self) -> tuple[str, ...]:
        return (self.x, *([self.split] if self.split else []))


@dataclass(frozen=True, kw_only=True)
class Listing(Chart):
    """A table: rows as they are, newest first by `newest`; with figures a line a group, the greatest first."""

    shown: tuple[str, ...]
    figures: tuple[Measure, ...] = ()
    newest: str | None = None
    rows: int = 1000

    def measures(self) -> tuple[Measure, ...]:
        return self.figures

    def by(self) -> tuple[str, ...]:
        return (*self.shown, *([self.newest] if self.newest else []))


@dataclass(frozen=True, kw_only=True)
class Parts(Chart):
    """The parts of a whole."""

    of: str
    measure: Measure

    def measures(self) -> tuple[Measure, ...]:
        return (self.measure,)

    def by(self) -> tuple[str, ...]:
        return (self.of,)


@dataclass(frozen=True, kw_only=True)
class Heat(Chart):
    """A state by two columns, as colour: `measure` is its place in `states`, from the best to the worst."""

    x: str
    y: str
    measure: Measure
    states: tuple[str, ...]
    width: int = WHOLE_WIDTH

    def measures(self) -> tuple[Measure, ...]:
        return (self.measure,)

    def by(self) -> tuple[str, ...]:
        return self.x, self.y


@dataclass(frozen=True)
class AsOfDay:
    """Lets a person choose the day whose knowledge is shown; without a choice it is the newest."""

    source: Newest

    def __post_init__(self) -> None:
        if self.source.known_on is None:
            raise DashboardError(f"{self.source.table.key} cannot be had as of a day: nothing says what was known when")


@dataclass(frozen=True)
class Choice:
    """Lets a person choose values of a column, in all charts whose source has it."""

    label: str
    source: Rows
    column: str

    def __post_init__(self) -> None:
        if self.column not in self.source.columns:
            raise DashboardError(f"Filter {self.label!r}: {self.source.table.key} has no column {self.column}")


@dataclass(frozen=True)
class Days:
    """Lets a person choose a range of days, in all charts whose source says which column that is."""

    label: str = "Days"


Filter = AsOfDay | Choice | Days


@dataclass(frozen=True, eq=False)
class Dashboard:
    """Rows of charts with filters above them. `slug`: its word in the URL.

    `names`: what a person reads instead of a column's name; else its words. `filled_by`: the commands that fill charts
    without data.
    """

    slug: str
    title: str
    charts: tuple[tuple[Chart, ...], ...]
    filters: tuple[Filter, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    filled_by: tuple[str, ...] = ("make demo",)

    def __post_init__(self) -> None:
        titles = [chart.title for row in self.charts for chart in row]
        twice = sorted({title for title in titles if titles.count(title) > 1})
        if twice:
            raise DashboardError(f"Dashboard {self.slug}: two charts are called {', '.join(twice)}")
        for row in self.charts:
            if sum(chart.width for chart in row) > WHOLE_WIDTH:
                raise DashboardError(f"Dashboard {self.slug}: {row[0].title!r} and what is beside it is too wide")
