"""The domain of the marketplace."""

from datetime import date

from lakehouse_assets.declare import Domain

MARKETPLACE = Domain("marketplace", first_day=date(2020, 1, 1))
