"""`lakehouse demo`: everything once, on one machine, with nothing to configure."""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from lakehouse_assets.cli.output import Rows, show
from lakehouse_assets.platform.common.days import DayRange
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.catalog import Catalog, discover
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.ingest.pseudonyms import ensure_development_key
from lakehouse_assets.platform.orchestration.staleness import Staleness
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.settings import settings

DAYS = DayRange(date(2023, 1, 1), date(2023, 2, 14))
AS_OF = date(2023, 1, 10)
MONTH = date(2023, 1, 1)
STORE_DAYS = DayRange(date(2023, 2, 8), date(2023, 2, 14))
RECONCILED = """
    select state, count(*) as orders, sum(due) as due, sum(paid) as paid
    from (select *, row_number() over (partition by order_id order by feed_day desc) as newest
          from store.gold.payment_reconciliation)
    where newest = 1 group by state order by state
"""
STEP = re.compile(r" - (?P<said>(?P<table>\w+/\w+/\w+): .+)")
"""What a step says of itself: how far it is, and at its end how many rows are kept."""
SHOWN_DAYS = 8

console = Console()


@dataclass(frozen=True)
class Feed:
    """A file of a bronze table; `day`: its feed day, where its events do not say it."""

    key: TableKey
    file: Path
    day: date | None = None


@click.command()
@click.option("--purchases", default=150, show_default=True, help="Purchases of the marketplace a day.")
@click.option("--orders", default=400, show_default=True, help="Orders of the store a day.")
@click.option("--seed", default=7, show_default=True)
@click.option("--defects", default=0.01, show_default=True, help="Probability of each defect for a record.")
def demo(purchases: int, orders: int, seed: int, defects: float) -> None:
    """Generate the feeds of a marketplace and of a store with every defect, land them, build all tables, ask."""
    ensure_development_key(settings())
    with _progress() as progress:
        _start_server(progress)
        with tempfile.TemporaryDirectory(prefix="lakehouse-feeds-") as feeds:
            _land(progress, _purchases(Path(feeds), purchases, seed, defects))
            _land(progress, _drops(Path(feeds), orders, seed, defects))
        _materialize(progress, "gmv", DAYS)
        _materialize(progress, "store", STORE_DAYS)
    _tell()


@contextmanager
def _progress() -> Iterator[Progress]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        yield progress


def _start_server(progress: Progress) -> None:
    from lakehouse_assets.platform.runtime.spark_server import ensure_server

    task = progress.add_task("Spark Connect server", total=1)
    ensure_server(settings())
    progress.advance(task)


def _purchases(feeds: Path, purchases: int, seed: int, defects: float) -> list[Feed]:
    from lakehouse_assets.defs.gmv.generate import generate

    generate(feeds / "gmv", DAYS.first, DAYS.last, purchases, seed, defects)
    return [Feed(TableKey("gmv", "bronze", file.parent.name), file) for file in sorted((feeds / "gmv").glob("*/*.csv"))]


def _drops(feeds: Path, orders: int, seed: int, defects: float) -> list[Feed]:
    from lakehouse_assets.defs.store.generate import generate

    generate(feeds / "drop", STORE_DAYS.first, STORE_DAYS.last, orders, seed, defects)
    return [
        Feed(TableKey("store", "bronze", file.stem), file, date.fromisoformat(file.parent.name))
        for file in sorted((feeds / "drop").glob("*/*.csv"))
    ]


def _land(progress: Progress, feeds: list[Feed]) -> None:
    """Land the files of one domain."""
    from lakehouse_assets.platform.ingest.landing import land

    catalog, domain = _catalog(), feeds[0].key.domain
    task = progress.add_task(f"Land the files of {domain}", total=len(feeds))
    for feed in feeds:
        source = catalog.table(feed.key).source
        assert source is not None, f"{feed.key} is made of files"
        name, today = f"{domain}/{feed.key.name}", source.days.today(datetime.now(UTC))
        land(settings().landing, name, source, feed.file, day=feed.day, today=today)
        progress.advance(task)


def _catalog() -> Catalog:
    from lakehouse_assets import defs as domains

    return discover(domains)


def _materialize(progress: Progress, domain: str, days: DayRange) -> None:
    """By Dagster's own command line, as a user would: one run over the whole range, where anything of it is behind."""
    tables = [table for table in _catalog().tables if table.key.domain == domain]
    staleness = Staleness(Lake(settings().lake, settings().landing), Catalog(tuple(tables)))
    staleness.refresh()
    if not any(staleness.stale_days(table) for table in tables):
        progress.console.print(f"Every day of {domain} is made of these files already.")
        return
    command = [
        str(Path(sys.executable).with_name("dagster")), "asset", "materialize", "-m", "lakehouse_assets.definitions",
        "--select", f'group:"{domain}/*"', "--partition-range", f"{days.first}...{days.last}",
    ]  # fmt: skip
    progress.console.print(f"[dim]$ dagster {shlex.join(command[1:])}[/dim]")
    task = progress.add_task(f"Materialize bronze, silver, gold of {domain}", total=len(tables))
    message: list[str] = []
    with subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        for line in run.stdout or ():
            message.append(line)
            if of_step := STEP.search(line):
                progress.update(task, description=of_step["said"], advance=int("rows kept" in of_step["said"]))
    progress.update(task, description=f"Materialize bronze, silver, gold of {domain}")
    if run.returncode:
        raise LakehouseError(f"The run failed:\n{''.join(message[-30:])}")


def _tell() -> None:
    """Answers from the lake: now, as of an earlier day, what was quarantined, what made a figure."""
    from lakehouse_assets.defs.gmv.cli import figures
    from lakehouse_assets.ops.quarantine import counts
    from lakehouse_assets.platform.lineage.provenance import trace
    from lakehouse_assets.serving.query import query

    here = settings()
    by = ("subsidiary",)
    _show_some(figures(None, MONTH, by), "GMV of January 2023 by day and subsidiary, as known now")
    _show_some(figures(AS_OF, MONTH, by), f"The same, as known on {AS_OF}: this answer never changes")
    reconciled = query(here, RECONCILED)
    show(Rows(reconciled.columns, reconciled.rows), "table", "Orders of the store by what was paid")
    found = counts(here, None, None)
    per_rule: dict[tuple[str, str], int] = {}
    for table, _, rule, rows in found.rows:
        per_rule[table, rule] = per_rule.get((table, rule), 0) + rows
    quarantined = [(table, rule, rows) for (table, rule), rows in sorted(per_rule.items())]
    show(Rows(("table", "rule broken", "rows"), quarantined), "table", "In quarantine, whole, with the reason")
    tree = trace(Lake(here.lake, here.landing), _catalog(), TableKey("gmv", "gold", "gmv"), AS_OF)
    console.print("What the figures of that day were made of", style="italic")
    click.echo("\n".join(tree.lines()))
    console.print("\nOpen the UI: [bold]make dev[/bold], then http://127.0.0.1:3000 · Dashboards: [bold]make bi[/bold]")
    console.print(
        "Ask: [bold].venv/bin/lakehouse gmv --as-of 2023-01-10 --month 2023-01[/bold] · [bold]lakehouse --help[/bold]"
    )


def _show_some(result: Rows, title: str) -> None:
    more = len(result.rows) - SHOWN_DAYS
    show(Rows(result.columns, result.rows[:SHOWN_DAYS]), "table", title)
    if more > 0:
        console.print(f"… and {more} more rows", style="dim")
