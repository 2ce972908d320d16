"""`lakehouse store`: what only the store needs."""

from datetime import date
from pathlib import Path

import click

from lakehouse_assets.declare.command import DAY, Rows, format_option, show


@click.group()
def store() -> None:
    """The store: users, products, orders and payments."""


@store.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--day", required=True, type=DAY, help="Feed day of the files, as 2018-10-31.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("feeds/store"), show_default=True)
@format_option
def olist(folder: Path, day: date, out: Path, output: str) -> None:
    """Map the Olist shop's files in FOLDER to the store's: <out>/<day>/users.csv and the others."""
    from lakehouse_assets.defs.store.olist import map_olist

    rows = map_olist(folder, out, day)
    show(Rows(("table", "rows"), list(rows.items())), output, title=f"{out}/{day}")
