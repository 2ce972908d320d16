"""Orders of a marketplace: JSON documents in a bucket or a folder, in whatever order they arrive."""

from datetime import date

FIRST_DAY = date(2020, 1, 1)
