"""The heat map of quality on a terminal: a glyph a day, readable without colour; weeks or months if days do not fit."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from rich.console import Console
from rich.text import Text

from lakehouse_assets.cli.output import WIDE
from lakehouse_assets.platform.common.days import DayRange, ranges
from lakehouse_assets.serving.day_state import State
from lakehouse_assets.serving.quality import Quality

STYLES = {
    State.NONE: "dim",
    State.EMPTY: "dim green",
    State.PASSED: "green",
    State.WARNED: "blue",
    State.QUARANTINED: "yellow",
    State.LATE: "cyan",
    State.WAITING: "magenta",
    State.FAILED: "bold white on red",
}
SHOWN = 20


@dataclass(frozen=True)
class Grid:
    """Days as columns: each column's days, how wide it is, and what a column is called."""

    unit: str
    columns: tuple[DayRange, ...]
    width: int


def draw(quality: Quality) -> None:
    """Print the map, what its glyphs mean, and what needs a look."""
    console = Console(width=None if sys.stdout.isatty() else WIDE, highlight=False)
    names = max(len(table) for table in quality.tables) + 1
    grid = fit(quality.days, console.width - names)
    message = "" if grid.unit == "day" else f", a {grid.unit} a column (its worst day); fewer days: --days A..B"
    console.print(f"{quality.days}{message}; as of {quality.as_of:%Y-%m-%d %H:%M} UTC\n")
    for line in _header(grid):
        console.print(" " * names + line.rstrip(), style="dim")
    for table in quality.tables:
        console.print(Text(table.ljust(names)).append_text(_row(quality, table, grid)), no_wrap=True, crop=True)
    console.print()
    _legend(console, quality)
    _attention(console, quality)


def fit(days: DayRange, room: int) -> Grid:
    """The finest columns that fit into so many characters: days, weeks from Monday, months."""
    every = tuple(DayRange(day, day) for day in days)
    for unit, columns, widths in (
        ("day", every, (3, 2, 1)),
        ("week", tuple(_together(days, lambda day: day - timedelta(days=day.weekday()))), (2, 1)),
        ("month", tuple(_together(days, lambda day: day.replace(day=1))), (4, 1)),
    ):
        width = next((width for width in widths if len(columns) * width <= room), None)
        if width:
            return Grid(unit, columns, width)
    return Grid("month", columns, 1)


def _together(days: DayRange, first_of) -> Iterator[DayRange]:  # type: ignore[no-untyped-def]
    """Neighbouring days of which `first_of` says the same."""
    start = before = days.first
    for day in days:
        if first_of(day) != first_of(start):
            yield DayRange(start, before)
            start = day
        before = day
    yield DayRange(start, before)


def _header(grid: Grid) -> list[str]:
    """Months above the columns; below them days, where columns are days."""
    length = len(grid.columns) * grid.width + 8
    months, numbers = [" "] * length, [" "] * length
    free = free_number = 0
    for place, column in enumerate(grid.columns):
        at, day = place * grid.width, column.first
        starts = place == 0 or (day.year, day.month) != _month(grid.columns[place - 1].first)
        label = f"{day:%Y-%m}" if grid.unit == "day" else f"{day:%b}"
        if starts and at >= free:
            months[at : at + len(label)] = label
            free = at + len(label) + 1
        if grid.unit == "day" and at >= free_number and (grid.width > 1 or day.day % 7 == 1):
            numbers[at : at + 2] = f"{day:%d}"
            free_number = at + 3
    return ["".join(line) for line in (months, numbers) if "".join(line).strip()]


def _month(day: date) -> tuple[int, int]:
    return day.year, day.month


def _row(quality: Quality, table: str, grid: Grid) -> Text:
    line = Text()
    for column in grid.columns:
        state = State.worst(quality.state(table, day) for day in column)
        line.append(state.glyph, STYLES[state]).append(" " * (grid.width - 1))
    return line


def _legend(console: Console, quality: Quality) -> None:
    counts: dict[State, int] = {}
    for table in quality.tables:
        for day in quality.days:
            state = quality.state(table, day)
            counts[state] = counts.get(state, 0) + 1
    for state in reversed([state for state in State if counts.get(state)]):
        line = Text(" ").append(state.glyph, STYLES[state])
        console.print(line.append(f"  {counts.get(state, 0):>6} {state.value}: {state.meaning}"))


def _attention(console: Console, quality: Quality) -> None:
    """Failed days one by one, newest first, and what waits for them. First of all days of which nothing is left."""
    empty_snapshots: list[tuple[date, str]] = []
    failed: list[tuple[date, str]] = []
    waiting = []
    for table in quality.tables:
        states = {day: quality.state(table, day) for day in quality.days}
        for day in (day for day, state in states.items() if state is State.FAILED):
            message = f"{State.FAILED.glyph} {table} {day}  {'; '.join(quality.why(table, day)[:3])}"
            (empty_snapshots if quality.verdicts[table, day].nothing_left else failed).append((day, message))
        for part in ranges(day for day, state in states.items() if state is State.WAITING):
            waiting.append((part.last, f"{State.WAITING.glyph} {table} {part}  {quality.why(table, part.last)[0]}"))
    lines = [line for days in (empty_snapshots, failed, waiting) for _, line in sorted(days, reverse=True)]
    if not lines:
        return
    console.print("\nNeeds a look", style="bold")
    for line in lines[:SHOWN]:
        console.print(f" {line}", markup=False, no_wrap=True, overflow="ellipsis", crop=True)
    if len(lines) > SHOWN:
        console.print(f" … and {len(lines) - SHOWN} more: --html FILE shows all", style="dim")
