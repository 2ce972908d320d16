"""A loyalty programme, from daily snapshots of customers and products and from change data of transactions."""

from datetime import date

FIRST_DAY = date(2024, 1, 1)
