"""`lakehouse forget`: erase a person."""

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.settings import settings


@click.command()
@click.argument("table")
@click.option("--key", required=True, help="The person's identifier, as the source gives it.")
@click.confirmation_option(prompt="This cannot be undone. Erase this person from the whole domain?")
@format_option
def forget(table: str, key: str, output: str) -> None:
    """Erase a person from the landed files and every table of a domain; TABLE as in loyalty/clientes.

    Old versions of these tables are removed too, so run it while no other process reads or writes them, including
    nightly maintenance. Files landed again later are landed without the person.
    """
    from lakehouse_assets.cli.declared import imported_tables
    from lakehouse_assets.ops.forget import forget as forget_person
    from lakehouse_assets.platform.planning.plan import Lake
    from lakehouse_assets.platform.runtime.sessions import close_session, open_session

    here = settings()
    spark = open_session(here, "forget")
    try:
        done = forget_person(spark, Lake(here.lake, here.landing), imported_tables(), table, key)
    finally:
        close_session(spark)
    rows = [(one.table, one.days, one.rows_removed, one.old_files_removed) for one in done]
    show(Rows(("table", "days_made_again", "landed_rows_removed", "old_files_removed"), rows), output)
