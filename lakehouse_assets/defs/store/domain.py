"""The domain of the store."""

from datetime import date

from lakehouse_assets.declare import Domain

STORE = Domain("store", first_day=date(2016, 1, 1), drop_folder=True)
