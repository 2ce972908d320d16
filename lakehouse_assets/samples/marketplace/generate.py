"""`lakehouse generate marketplace`."""

from pathlib import Path

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.cli.parameters import DAYS
from lakehouse_assets.platform.common.days import DayRange


@click.command()
@click.option("--day", "--days", "days", required=True, type=DAYS, help="Days of arrival, as 2024-03-01..2024-03-31.")
@click.option("--orders", default=50, show_default=True, help="New orders a day; each leaves about five documents.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same files.")
@click.option("--defects", default=0.01, show_default=True, help="Probability of each defect for a document.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("feeds/marketplace"), show_default=True)
@format_option
def marketplace(days: DayRange, orders: int, seed: int, defects: float, out: Path, output: str) -> None:
    """A marketplace's documents: <out>/<day>/<order>-<nn>.json, for a bucket, or for `lakehouse land`."""
    from lakehouse_assets.samples.marketplace.feeds import generate as generate_marketplace

    made = generate_marketplace(out, days.first, days.last, orders, seed, defects)
    rows = [(made.orders, made.files, sum(made.defects.values()))]
    show(Rows(("orders", "documents", "defects"), rows), output, title=f"{out}")
