"""The days that a source can have, as its declaration says: bounds, and the time zone of a day."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from lakehouse_assets.platform.days import DayRange


@dataclass(frozen=True)
class SourceDays:
    """Days from `first` to `last`, each a day of the time zone `zone`.

    None as `last`: the day after today, because the clock of a producer may be ahead.
    """

    first: date
    last: date | None = None
    zone: str = "UTC"

    def bounds(self, now: datetime | None = None) -> DayRange:
        """First and last day at a moment (default: now)."""
        tomorrow = (now or datetime.now(UTC)).astimezone(ZoneInfo(self.zone)).date() + timedelta(days=1)
        return DayRange(self.first, tomorrow if self.last is None else min(self.last, tomorrow))

    def day_of(self, milliseconds: int) -> date | None:
        """The day of a moment, in milliseconds since 1970 UTC; None where no calendar has it."""
        try:
            moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
            return moment.astimezone(ZoneInfo(self.zone)).date()
        except OverflowError:
            return None

    def fault(self, day: date | None, now: datetime | None = None) -> str | None:
        """Why a day is not one of them; None where it is."""
        bounds = self.bounds(now)
        if day is None:
            return "no calendar has its day"
        if day < bounds.first:
            return f"its day {day} is before the first day of the source, {bounds.first}"
        if day > bounds.last:
            return f"its day {day} is after the last day that the source can have, {bounds.last}"
        return None
