"""GMV of a marketplace, from daily files of change events to figures as they were known on any day."""

from datetime import date, timedelta

FIRST_DAY = date(2020, 1, 1)
FIRST_GMV_DAY = date(2010, 1, 1)
"""No payment was released before: an older date is none, as some systems write 1900-01-01."""
LONGEST_RELEASE = timedelta(days=366)
"""How long after it is told a payment may be released: a later date is none, as some systems write 9999-12-31."""
