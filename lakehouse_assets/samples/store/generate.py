"""`lakehouse generate store`."""

from datetime import date
from pathlib import Path

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.cli.parameters import DAY, DAYS
from lakehouse_assets.platform.common.days import DayRange


@click.command()
@click.option(
    "--day", "--days", "days", required=True, type=DAYS, help="Delivery days, as 2023-01-01 or 2023-01-01..2023-02-28."
)
@click.option("--orders", default=200, show_default=True, help="Orders a day.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same files.")
@click.option("--defects", default=0.01, show_default=True, help="Probability of each defect for a record.")
@click.option("--since", type=DAY, help="The shop's first day; default: the first of the days.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("feeds/store"), show_default=True)
@format_option
def store(days: DayRange, orders: int, seed: int, defects: float, since: date | None, out: Path, output: str) -> None:
    """The shop's daily drop: <out>/<day>/{users,products,orders,payments}.csv."""
    from lakehouse_assets.samples.store.feeds import generate as generate_store

    made = generate_store(out, days.first, days.last, orders, seed, defects, since)
    rows = [(table, counts.rows, sum(counts.defects.values())) for table, counts in made.items()]
    show(Rows(("table", "rows", "defects"), rows), output, title=f"{out}")
