"""`lakehouse history`: what happened to the keys of a table."""

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.settings import settings


@click.command()
@click.argument("table")
@click.option("--key", "key", multiple=True, help="The versions of this key (once for each column of it).")
@format_option
def history(table: str, key: tuple[str, ...], output: str) -> None:
    """Inserts, updates and deletes by day of TABLE, for example loyalty/silver/clientes; or the versions of one key."""
    from lakehouse_assets import defs as domains
    from lakehouse_assets.platform.declare.catalog import discover
    from lakehouse_assets.serving.history import changes_per_day, history_table, versions_of

    declared, spec = history_table(discover(domains), table)
    found = versions_of(settings(), declared, spec, key) if key else changes_per_day(settings(), declared, spec)
    show(Rows(found.columns, found.rows), output)
