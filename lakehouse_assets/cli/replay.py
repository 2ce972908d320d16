"""`lakehouse replay`: prove that a day's rows follow from the versions and the code that made them."""

from datetime import date
from typing import TYPE_CHECKING

import click

from lakehouse_assets.cli.output import format_option, show_record
from lakehouse_assets.cli.parameters import DAY, TABLE
from lakehouse_assets.settings import settings

if TYPE_CHECKING:
    from lakehouse_assets.platform.declare.table import Table


@click.command()
@click.argument("table", type=TABLE)
@click.option("--day", required=True, type=DAY, help="The feed day, as 2023-01-31.")
@click.option("--version", type=int, help="The newest version to look at: an earlier commit of the day is replayed.")
@format_option
@click.pass_context
def replay(ctx: click.Context, table: "Table", day: date, version: int | None, output: str) -> None:
    """Read again the versions that TABLE's DAY was made of, run the code, and compare the rows.

    Nothing is written. Exit code 0: the same rows; 1: other rows; 3: not to be replayed, and why.
    """
    from lakehouse_assets.cli.declared import imported_tables
    from lakehouse_assets.platform.lineage.replay import replay as run
    from lakehouse_assets.platform.planning.plan import Lake
    from lakehouse_assets.platform.planning.step import Step
    from lakehouse_assets.platform.runtime.sessions import close_session, open_session

    here = settings()
    spark = open_session(here, run_id=f"replay of {table.key} {day}")
    try:
        found = run(Step(spark, Lake(here.lake, here.landing), imported_tables(), "replay"), table.key, day, version)
    finally:
        close_session(spark)
    text = f"{found.table} of {found.day}, version {found.version}: {found.answer.value}. {found.message}"
    show_record(found.as_json(), output, text)
    ctx.exit(0 if found.identical else 3 if found.rows is None else 1)
