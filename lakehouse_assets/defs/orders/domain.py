"""The domain of orders."""

from datetime import date

from lakehouse_assets.declare import Domain

ORDERS = Domain("orders", first_day=date(2009, 1, 1))
