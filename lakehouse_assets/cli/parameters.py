"""What commands take: a table, a day, a range of days. A value that is none of these is a usage error: exit code 2."""

from datetime import date
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from lakehouse_assets.platform.common.days import DayError, DayRange, parse_day

if TYPE_CHECKING:
    from lakehouse_assets.platform.declare.table import Table


class DayType(click.ParamType[date, Any]):
    """A day, as 2023-01-31."""

    name = "DAY"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """The day. Fails for what is no ISO day."""
        try:
            return value if isinstance(value, date) else parse_day(value)
        except DayError as error:
            self.fail(str(error), param, ctx)


class DaysType(click.ParamType[DayRange, Any]):
    """A day or a range of days, as 2023-01-01..2023-02-28."""

    name = "DAYS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> DayRange:
        """The range. Fails for what is none."""
        try:
            return value if isinstance(value, DayRange) else DayRange.parse(value)
        except DayError as error:
            self.fail(str(error), param, ctx)


class TableType(click.ParamType["Table", Any]):
    """A declared table, as gmv/silver/purchase or gmv.silver.purchase. Shells complete it."""

    name = "TABLE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "Table":
        """The declared table. Fails for what no domain declares."""
        from difflib import get_close_matches

        from lakehouse_assets.cli.declared import declared_tables
        from lakehouse_assets.platform.declare.table import DeclarationError, Table, TableKey

        if isinstance(value, Table):
            return value
        try:
            name = str(TableKey.parse(str(value)))
        except DeclarationError as error:
            self.fail(str(error), param, ctx)
        declared = {str(table.key): table for table in declared_tables().tables}
        if name not in declared:
            meant = get_close_matches(name, declared, 1)
            hint = f"is {meant[0]} meant?" if meant else "`lakehouse tables` lists those there are."
            self.fail(f"no domain declares a table {value!r}; {hint}", param, ctx)
        return declared[name]

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Declared tables that begin so."""
        from lakehouse_assets.cli.declared import declared_tables

        names = (str(table.key) for table in declared_tables().tables)
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


DAY, DAYS, TABLE = DayType(), DaysType(), TableType()
