"""Feed days: sets of calendar days, written as contiguous ranges (`2023-01-20..2023-07-16`)."""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Self
from zoneinfo import ZoneInfo

from lakehouse_assets.platform.common.errors import LakehouseError

ONE_DAY = timedelta(days=1)
DAY_COLUMN = "feed_day"
"""The column of every table that says the feed day of a row."""


class DayError(LakehouseError):
    """A text that is not a day or a range of days."""


@dataclass(frozen=True, order=True)
class DayRange:
    """All days from `first` to `last`, both included."""

    first: date
    last: date

    @classmethod
    def parse(cls, text: str) -> Self:
        """`2023-01-20` or `2023-01-20..2023-02-28`. Raises DayError."""
        first, _, last = text.partition("..")
        days = cls(parse_day(first), parse_day(last or first))
        if days.last < days.first:
            raise DayError(f"{text!r}: the range ends before it begins")
        return days

    def __iter__(self) -> Iterator[date]:
        return (self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1))

    def halves(self) -> "tuple[DayRange, ...]":
        """Its earlier and its later half; none of a single day."""
        if self.first == self.last:
            return ()
        middle = self.first + (self.last - self.first) // 2
        return DayRange(self.first, middle), DayRange(middle + ONE_DAY, self.last)

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}..{self.last}"


def parse_day(text: str) -> date:
    """An ISO day. Raises DayError."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise DayError(f"{text!r} is not a day: write it as 2023-01-31") from error


def today_in(zone: str, now: datetime) -> date:
    """The day that it is in a time zone, which is the open day of a source there. `now` has a zone of its own."""
    return now.astimezone(ZoneInfo(zone)).date()


def parse_month(text: str) -> date:
    """The first day of an ISO month. Raises DayError."""
    try:
        if re.fullmatch(r"\d{4}-\d{2}", text, re.ASCII):
            return date.fromisoformat(f"{text}-01")
    except ValueError:
        pass  # a month that no year has
    raise DayError(f"{text!r} is not a month: write it as 2023-01")


def ranges(days: Iterable[date]) -> tuple[DayRange, ...]:
    """The fewest contiguous ranges that hold exactly these days."""
    found: list[DayRange] = []
    for day in sorted(set(days)):
        if found and day - found[-1].last == ONE_DAY:
            found[-1] = DayRange(found[-1].first, day)
        else:
            found.append(DayRange(day, day))
    return tuple(found)


def write_days(days: Collection[date]) -> str:
    """Days as text: `2023-01-20..2023-01-22,2023-02-01`."""
    return ",".join(str(part) for part in ranges(days))


def read_days(text: str) -> frozenset[date]:
    """The days that `write_days` wrote."""
    return frozenset(day for part in text.split(",") if part for day in DayRange.parse(part))
