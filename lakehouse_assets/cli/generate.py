"""`lakehouse generate`: feeds to try the lakehouse with, deterministic by seed."""

from pathlib import Path

import click

from lakehouse_assets.cli.output import Rows, format_option, show


@click.group()
def generate() -> None:
    """Write feeds of a source as it would deliver them, good days and bad."""


@generate.command()
@click.option("--days", required=True, help="Delivery days, as 2023-01-01..2023-02-28.")
@click.option("--purchases", default=200, show_default=True, help="Purchases a day.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same files.")
@click.option("--defects", default=0.01, show_default=True, help="Probability of each defect for a record.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("feeds/gmv"), show_default=True)
@format_option
def gmv(days: str, purchases: int, seed: int, defects: float, out: Path, output: str) -> None:
    """The marketplace's three event tables: <out>/<table>/<day>.csv. Land them with `lakehouse land gmv/<table>`."""
    from lakehouse_assets.defs.gmv.generate import generate as generate_gmv
    from lakehouse_assets.platform.common.days import DayRange

    wanted = DayRange.parse(days)
    made = generate_gmv(out, wanted.first, wanted.last, purchases, seed, defects)
    rows = [(table, c.files, c.rows, sum(c.defects.values())) for table, c in made.tables.items()]
    show(Rows(("table", "files", "rows", "defects"), rows), output, title=f"{out}")


@generate.command()
@click.option("--days", required=True, help="Delivery days, as 2024-01-01..2024-03-31.")
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
    days: str,
    customers: int,
    a_day: int,
    seed: int,
    defects: float,
    given: tuple[Path, Path] | None,
    out: Path,
    output: str,
) -> None:
    """Snapshots and change data of a loyalty programme: <out>/<table>/<day>.… for `lakehouse land loyalty/<table>`."""
    from lakehouse_assets.defs.loyalty import generate as feeds
    from lakehouse_assets.platform.common.days import DayRange

    wanted = DayRange.parse(days)
    of = (
        feeds.real_transactions(*given)
        if given
        else feeds.invented_transactions(wanted.first, wanted.last, customers, a_day, seed)
    )
    made = feeds.write_changes(out, of, wanted.first, wanted.last, seed, defects)
    if not given:
        made += feeds.write_snapshots(out, of, wanted.first, wanted.last, seed)
    show(Rows(("table", "files", "rows"), [(m.table, m.files, m.rows) for m in made]), output, title=f"{out}")


@generate.command()
@click.option("--days", required=True, help="Delivery days, as 2023-01-01..2023-02-28.")
@click.option("--lines", default=500, show_default=True, help="Lines a day.")
@click.option("--names", type=click.Choice(["online-retail", "sales-transaction"]), default="online-retail")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same files.")
@click.option("--defects", default=0.01, show_default=True, help="Probability of each defect for a line.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("feeds/orders"), show_default=True)
@format_option
def orders(days: str, lines: int, names: str, seed: int, defects: float, out: Path, output: str) -> None:
    """An online shop's order lines: <out>/<day>.csv. For `lakehouse produce orders` or `lakehouse land`."""
    from lakehouse_assets.defs.orders.generate import generate as generate_orders
    from lakehouse_assets.platform.common.days import DayRange

    wanted = DayRange.parse(days)
    made = generate_orders(out, wanted.first, wanted.last, lines, seed, defects, names)
    show(Rows(("files", "rows", "defects"), [(made.files, made.rows, sum(made.defects.values()))]), output)


@generate.command()
@click.option("--day", "--days", "days", required=True, help="Delivery days, as 2023-01-01 or 2023-01-01..2023-02-28.")
@click.option("--orders", default=200, show_default=True, help="Orders a day.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same files.")
@click.option("--defects", default=0.01, show_default=True, help="Probability of each defect for a record.")
@click.option("--since", help="The shop's first day; default: the first of the days.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("feeds/store"), show_default=True)
@format_option
def store(days: str, orders: int, seed: int, defects: float, since: str | None, out: Path, output: str) -> None:
    """The shop's daily drop: <out>/<day>/{users,products,orders,payments}.csv."""
    from lakehouse_assets.defs.store.generate import generate as generate_store
    from lakehouse_assets.platform.common.days import DayRange, parse_day

    wanted = DayRange.parse(days)
    opened = parse_day(since) if since else None
    made = generate_store(out, wanted.first, wanted.last, orders, seed, defects, opened)
    rows = [(table, counts.rows, sum(counts.defects.values())) for table, counts in made.items()]
    show(Rows(("table", "rows", "defects"), rows), output, title=f"{out}")


@generate.command()
@click.option("--day", "--days", "days", required=True, help="Days of arrival, as 2024-03-01..2024-03-31.")
@click.option("--orders", default=50, show_default=True, help="New orders a day; each leaves about five documents.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same files.")
@click.option("--defects", default=0.01, show_default=True, help="Probability of each defect for a document.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("feeds/marketplace"), show_default=True)
@format_option
def marketplace(days: str, orders: int, seed: int, defects: float, out: Path, output: str) -> None:
    """A marketplace's documents: <out>/<day>/<order>-<nn>.json, for a bucket, or for `lakehouse land`."""
    from lakehouse_assets.defs.marketplace.generate import generate as generate_marketplace
    from lakehouse_assets.platform.common.days import DayRange

    wanted = DayRange.parse(days)
    made = generate_marketplace(out, wanted.first, wanted.last, orders, seed, defects)
    rows = [(made.orders, made.files, sum(made.defects.values()))]
    show(Rows(("orders", "documents", "defects"), rows), output, title=f"{out}")
