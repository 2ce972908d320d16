"""The days that a source can have, as its declaration says: bounds, and the time zone of a day."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lakehouse_assets.platform.common.days import ONE_DAY, DayRange, today_in


@dataclass(frozen=True)
class SourceDays:
    """Days from `first` to `last` (None: no end), each a day of the time zone `zone`; of them, none that is
    to come.

    A file is of today at most. A record is of tomorrow at most, because the clock of its producer may be ahead.
    """

    first: date
    last: date | None = None
    zone: str = "UTC"

    def __post_init__(self) -> None:
        """Raises ValueError for bounds that no day lies within, and for a zone that is none."""
        if self.last is not None and self.last < self.first:
            raise ValueError(f"the last day {self.last} is before the first, {self.first}")
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{self.zone!r} is no time zone. Name one as in Pacific/Auckland.") from error

    def today(self, now: datetime) -> date:
        """The day that it is at the source."""
        return today_in(self.zone, now)

    def until(self, newest: date) -> DayRange:
        """Its days until `newest`."""
        return DayRange(self.first, newest if self.last is None else min(self.last, newest))

    def of_records(self, now: datetime | None = None) -> DayRange:
        """The days that its records can be of at a moment (default: now)."""
        return self.until(self.today(now or datetime.now(UTC)) + ONE_DAY)

    def day_of(self, milliseconds: int) -> date | None:
        """The day of a moment, in milliseconds since 1970 UTC; None where no calendar has it."""
        try:
            moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
            return moment.astimezone(ZoneInfo(self.zone)).date()
        except OverflowError:
            return None

    def fault(self, day: date, today: date, ahead: timedelta = timedelta(0)) -> str | None:
        """Why a day is not one of them when it is `today`, or `ahead` of it, at the source; None where it is."""
        if self.last is not None and day > self.last:
            return f"after the last day of this source, {self.last}"
        if day > today + ahead:
            return f"in the future: today is {today}"
        if day < self.first:
            return f"before the first day of this source, {self.first}"
        return None

    def fault_of_record(self, day: date | None, now: datetime | None = None) -> str | None:
        """Why a record of that day (None: of no calendar's) is not one of the source's; None where it is."""
        if day is None:
            return "no calendar has its day"
        fault = self.fault(day, self.today(now or datetime.now(UTC)), ahead=ONE_DAY)
        return fault and f"its day {day} is {fault}"
