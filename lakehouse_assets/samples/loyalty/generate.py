"""`lakehouse generate loyalty`."""

from pathlib import Path

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.cli.parameters import DAYS
from lakehouse_assets.platform.common.days import DayRange


@click.command()
@click.option("--days", required=True, type=DAYS, help="Delivery days, as 2024-01-01..2024-03-31.")
@click.option("--customers", default=200, show_default=True)
@click.option("--transactions", "a_day", default=100, show_default=True, help="Transactions a day.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same files.")
@click.option("--defects", default=0.05, show_default=True, help="Share of changes that are late, re-sent and so on.")
@click.option(
    "--from", "given", nargs=2, type=click.Path(path_type=Path), help="Real transactions (CSV), cart (Parquet)."
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("feeds/loyalty"), show_default=True)
@format_option
def loyalty(
    days: DayRange,
    customers: int,
    a_day: int,
    seed: int,
    defects: float,
    given: tuple[Path, Path] | None,
    out: Path,
    output: str,
) -> None:
    """Snapshots and change data of a loyalty programme: <out>/<table>/<day>.… for `lakehouse land loyalty/<table>`."""
    from lakehouse_assets.samples.loyalty import feeds

    of = (
        feeds.real_transactions(*given)
        if given
        else feeds.invented_transactions(days.first, days.last, customers, a_day, seed)
    )
    made = feeds.write_changes(out, of, days.first, days.last, seed, defects)
    if not given:
        made += feeds.write_snapshots(out, of, days.first, days.last, seed)
    show(Rows(("table", "files", "rows"), [(m.table, m.files, m.rows) for m in made]), output, title=f"{out}")
