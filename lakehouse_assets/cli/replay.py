"""`lakehouse replay`: prove that a day's rows follow from the versions and the code that made them."""

import json

import click

from lakehouse_assets.settings import settings


@click.command()
@click.argument("table")
@click.option("--day", required=True, help="The feed day, as 2023-01-31.")
@click.option("--version", type=int, help="The newest version to look at: an earlier commit of the day is replayed.")
@click.option("--format", "output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def replay(ctx: click.Context, table: str, day: str, version: int | None, output: str) -> None:
    """Read again the versions that TABLE's DAY was made of, run the code, and compare the rows.

    Nothing is written. Exit code 0: the same rows; 1: other rows; 3: not to be replayed, and why.
    """
    from lakehouse_assets import defs as domains
    from lakehouse_assets.platform.common.days import parse_day
    from lakehouse_assets.platform.declare.catalog import discover
    from lakehouse_assets.platform.declare.table import TableKey
    from lakehouse_assets.platform.lineage.replay import replay as run
    from lakehouse_assets.platform.planning.plan import Lake
    from lakehouse_assets.platform.planning.step import Step
    from lakehouse_assets.platform.runtime.sessions import close_session, open_session

    here = settings()
    key, of = TableKey.parse(table), parse_day(day)
    spark = open_session(here, run_id=f"replay of {key} {of}")
    try:
        found = run(Step(spark, Lake(here.lake, here.landing), discover(domains), "replay"), key, of, version)
    finally:
        close_session(spark)
    if output == "json":
        click.echo(json.dumps(found.as_json()))
    else:
        click.echo(f"{found.table} of {found.day}, version {found.version}: {found.answer.value}. {found.message}")
    ctx.exit(0 if found.identical else 3 if found.rows is None else 1)
