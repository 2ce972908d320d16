"""The domain of loyalty."""

from datetime import date

from lakehouse_assets.declare import Domain

LOYALTY = Domain("loyalty", first_day=date(2024, 1, 1))
