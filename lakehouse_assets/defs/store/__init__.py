"""A shop: users, products, orders and payments from a daily drop of CSV files."""

from datetime import date

FIRST_DAY = date(2016, 1, 1)
DROP_FOLDER = True
