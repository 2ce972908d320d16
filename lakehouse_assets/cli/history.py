"""`lakehouse history`: what happened to the keys of a table."""

from typing import TYPE_CHECKING

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.cli.parameters import TABLE
from lakehouse_assets.settings import settings

if TYPE_CHECKING:
    from lakehouse_assets.platform.declare.table import Table


@click.command()
@click.argument("table", type=TABLE)
@click.option("--key", "key", multiple=True, help="The versions of this key (once for each column of it).")
@format_option
def history(table: "Table", key: tuple[str, ...], output: str) -> None:
    """Inserts, updates and deletes by day of TABLE, for example loyalty/silver/clientes; or the versions of one key."""
    from lakehouse_assets.cli.declared import declared_tables
    from lakehouse_assets.serving.history import changes_per_day, history_table, versions_of

    declared, spec = history_table(declared_tables(), str(table.key))
    found = versions_of(settings(), declared, spec, key) if key else changes_per_day(settings(), declared, spec)
    show(Rows(found.columns, found.rows), output)
