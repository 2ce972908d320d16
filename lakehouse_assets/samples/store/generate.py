"""`lakehouse generate store`."""

from pathlib import Path

import click

from lakehouse_assets.cli.output import Rows, format_option, show


@click.command()
@click.option("--day", "--days", "days", required=True, help="Delivery days, as 2023-01-01 or 2023-01-01..2023-02-28.")
@click.option("--orders", default=200, show_default=True, help="Orders a day.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same files.")
@click.option("--defects", default=0.01, show_default=True, help="Probability of each defect for a record.")
@click.option("--since", help="The shop's first day; default: the first of the days.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("feeds/store"), show_default=True)
@format_option
def store(days: str, orders: int, seed: int, defects: float, since: str | None, out: Path, output: str) -> None:
    """The shop's daily drop: <out>/<day>/{users,products,orders,payments}.csv."""
    from lakehouse_assets.platform.common.days import DayRange, parse_day
    from lakehouse_assets.samples.store.feeds import generate as generate_store

    wanted = DayRange.parse(days)
    opened = parse_day(since) if since else None
    made = generate_store(out, wanted.first, wanted.last, orders, seed, defects, opened)
    rows = [(table, counts.rows, sum(counts.defects.values())) for table, counts in made.items()]
    show(Rows(("table", "rows", "defects"), rows), output, title=f"{out}")
