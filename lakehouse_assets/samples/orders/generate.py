"""`lakehouse generate orders`."""

from pathlib import Path

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.cli.parameters import DAYS
from lakehouse_assets.platform.common.days import DayRange


@click.command()
@click.option("--days", required=True, type=DAYS, help="Delivery days, as 2023-01-01..2023-02-28.")
@click.option("--lines", default=500, show_default=True, help="Lines a day.")
@click.option("--names", type=click.Choice(["online-retail", "sales-transaction"]), default="online-retail")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same files.")
@click.option("--defects", default=0.01, show_default=True, help="Probability of each defect for a line.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("feeds/orders"), show_default=True)
@format_option
def orders(days: DayRange, lines: int, names: str, seed: int, defects: float, out: Path, output: str) -> None:
    """An online shop's order lines: <out>/<day>.csv. For `lakehouse produce orders` or `lakehouse land`."""
    from lakehouse_assets.samples.orders.feeds import generate as generate_orders

    made = generate_orders(out, days.first, days.last, lines, seed, defects, names)
    show(Rows(("files", "rows", "defects"), [(made.files, made.rows, sum(made.defects.values()))]), output)
