"""`lakehouse lineage`: which versions made a day of a table, down to the landed files."""

import click

from lakehouse_assets.settings import settings


@click.command()
@click.argument("table")
@click.option("--day", required=True, help="The feed day, as 2023-01-31.")
@click.option("--format", "output", type=click.Choice(["tree", "json"]), default="tree", show_default=True)
def lineage(table: str, day: str, output: str) -> None:
    """Print what TABLE's DAY was made of: versions of its inputs, theirs, and the landed files with their hashes."""
    import json

    from lakehouse_assets import defs as domains
    from lakehouse_assets.platform.common.days import parse_day
    from lakehouse_assets.platform.declare.catalog import discover
    from lakehouse_assets.platform.declare.table import TableKey
    from lakehouse_assets.platform.lineage.provenance import trace
    from lakehouse_assets.platform.planning.plan import Lake

    here = settings()
    node = trace(Lake(here.lake, here.landing), discover(domains), TableKey.parse(table), parse_day(day))
    if output == "json":
        click.echo(json.dumps(node.as_json(), indent=1))
    else:
        click.echo("\n".join(node.lines()))
