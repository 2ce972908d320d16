"""The domain of GMV and the days that its figures can have."""

from datetime import date, timedelta

from lakehouse_assets.declare import Domain

GMV = Domain("gmv", first_day=date(2020, 1, 1))
FIRST_GMV_DAY = date(2010, 1, 1)
"""No payment was released before: an older date is none, as some systems write 1900-01-01."""
LONGEST_RELEASE = timedelta(days=366)
"""How long after it is told a payment may be released: a later date is none, as some systems write 9999-12-31."""
