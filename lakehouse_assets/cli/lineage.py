"""`lakehouse lineage`: which versions made a day of a table, down to the landed files."""

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.cli.parameters import DAY, TABLE
from lakehouse_assets.settings import settings

if TYPE_CHECKING:
    from lakehouse_assets.platform.declare.table import Table
    from lakehouse_assets.platform.lineage.provenance import Node


@click.command()
@click.argument("table", type=TABLE)
@click.option("--day", required=True, type=DAY, help="The feed day, as 2023-01-31.")
@format_option
def lineage(table: "Table", day: date, output: str) -> None:
    """Print what TABLE's DAY was made of: versions of its inputs, theirs, and the landed files with their hashes.

    The format `table` is a tree; `csv` has a row for each of its nodes, with its depth.
    """
    import json

    from lakehouse_assets.cli.declared import declared_tables
    from lakehouse_assets.platform.lineage.provenance import trace
    from lakehouse_assets.platform.planning.plan import Lake

    here = settings()
    node = trace(Lake(here.lake, here.landing), declared_tables(), table.key, day)
    if output == "json":
        click.echo(json.dumps(node.as_json(), indent=1))
    elif output == "csv":
        show(Rows(("depth", "name", "detail"), [*_nodes(node, 0)]), output)
    else:
        click.echo("\n".join(node.lines()))


def _nodes(node: "Node", depth: int) -> Iterator[tuple[int, str, str]]:
    yield depth, node.name, node.detail
    for one in node.inputs:
        yield from _nodes(one, depth + 1)
