"""GMV of a marketplace, from daily files of change events to figures as they were known on any day."""

from datetime import date

FIRST_DAY = date(2020, 1, 1)
