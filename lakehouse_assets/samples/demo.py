"""A domain's part of `lakehouse demo`: how many days, the files of them, what is asked of the tables."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from importlib import import_module
from pathlib import Path

from lakehouse_assets import samples
from lakehouse_assets.cli.found import folders_with
from lakehouse_assets.cli.output import Rows
from lakehouse_assets.platform.common.days import DayRange
from lakehouse_assets.platform.ingest.delivery_names import FileSet


@dataclass(frozen=True)
class Size:
    """How much is generated: `scale` times the usual rows. `defects`: the probability of each defect for a record."""

    scale: float
    seed: int
    defects: float

    def rows(self, usual: int) -> int:
        """The usual number, scaled; at least one."""
        return max(1, round(usual * self.scale))


@dataclass(frozen=True)
class Feed:
    """A delivery of a source; `day`: its feed day, where its files do not say it."""

    table: str
    files: FileSet
    day: date | None = None


@dataclass(frozen=True)
class Answer:
    """What a question about the tables gives: rows, or lines of text."""

    title: str
    found: Rows | tuple[str, ...]


def _nothing(days: DayRange) -> tuple[Answer, ...]:
    return ()


@dataclass(frozen=True)
class Sample:
    """A domain in the demo: `length` days of it, which `write` puts below a folder.

    `answers` asks when the tables of these days are made. `hint`: a command to try next.
    """

    length: int
    write: Callable[[Path, DayRange, Size], Iterator[Feed]]
    answers: Callable[[DayRange], Iterable[Answer]] = _nothing
    hint: Callable[[DayRange], str] | None = None

    def days(self, until: date, begun: date | None) -> DayRange:
        """The days that end with `until`: from the day on which this home's demo began, where that is not long ago."""
        first = until - timedelta(days=self.length - 1)
        continued = begun is not None and timedelta(0) <= first - begun <= LONGEST_PAUSE
        return DayRange(begun if begun and continued else first, until)


LONGEST_PAUSE = timedelta(days=60)
"""How long after its last run a demo is continued without a gap."""


def samples_of_domains() -> dict[str, Sample]:
    """What each domain with a `demo.py` shows, by the domain's name."""
    return {name: import_module(place).SAMPLE for name, place in folders_with(samples, "demo").items()}
