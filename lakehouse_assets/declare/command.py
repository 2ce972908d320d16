"""For a domain's own command: a click command in its `cli.py`, called as the domain."""

from datetime import date
from typing import Any

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.cli.parameters import DAY, DAYS, TABLE
from lakehouse_assets.platform.common.days import parse_month

__all__ = ["DAY", "DAYS", "TABLE", "Rows", "as_of_remark", "format_option", "parse_month", "query", "show"]


def query(statement: str, parameters: list[Any] | None = None) -> Rows:
    """The answer of the lake to a SQL statement."""
    from lakehouse_assets.serving.query import query as ask
    from lakehouse_assets.settings import settings

    found = ask(settings(), statement, parameters or [])
    return Rows(found.columns, found.rows)


def as_of_remark(table: str, day: date) -> str:
    """What is to be said of a table as known on a day, as that the day is still open; or nothing."""
    from lakehouse_assets.serving.as_of import AsOf
    from lakehouse_assets.serving.query import remark_as_of
    from lakehouse_assets.settings import settings

    return remark_as_of(settings(), table, AsOf(day, {table: ()}))
