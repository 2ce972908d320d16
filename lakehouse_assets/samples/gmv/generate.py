"""`lakehouse generate gmv`."""

from pathlib import Path

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.cli.parameters import DAYS
from lakehouse_assets.platform.common.days import DayRange


@click.command()
@click.option("--days", required=True, type=DAYS, help="Delivery days, as 2023-01-01..2023-02-28.")
@click.option("--purchases", default=200, show_default=True, help="Purchases a day.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same files.")
@click.option("--defects", default=0.01, show_default=True, help="Probability of each defect for a record.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("feeds/gmv"), show_default=True)
@format_option
def gmv(days: DayRange, purchases: int, seed: int, defects: float, out: Path, output: str) -> None:
    """The marketplace's three event tables: <out>/<table>/<day>.csv. Land them with `lakehouse land gmv/<table>`."""
    from lakehouse_assets.samples.gmv.feeds import generate as generate_gmv

    made = generate_gmv(out, days.first, days.last, purchases, seed, defects)
    rows = [(table, c.files, c.rows, sum(c.defects.values())) for table, c in made.tables.items()]
    show(Rows(("table", "files", "rows", "defects"), rows), output, title=f"{out}")
