"""`lakehouse demo`: everything once, on one machine, with nothing to configure."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from lakehouse_assets.cli.output import Rows, show
from lakehouse_assets.platform.days import DayRange
from lakehouse_assets.platform.errors import LakehouseError
from lakehouse_assets.platform.pseudonym import ensure_development_key
from lakehouse_assets.settings import settings

DAYS = DayRange(date(2023, 1, 1), date(2023, 2, 14))
AS_OF = date(2023, 1, 10)
MONTH = date(2023, 1, 1)
TABLES = ("product_item", "purchase", "purchase_extra_info")
STEP = re.compile(r"- (STEP_SUCCESS|STEP_FAILURE) -")
SHOWN_DAYS = 8

console = Console()


@click.command()
@click.option("--purchases", default=150, show_default=True, help="Purchases a day.")
@click.option("--seed", default=7, show_default=True)
@click.option("--defects", default=0.01, show_default=True, help="Probability of each defect for a record.")
def demo(purchases: int, seed: int, defects: float) -> None:
    """Generate a marketplace's feeds with every defect, land them, build bronze, silver and gold, and ask questions."""
    ensure_development_key(settings())
    with _progress() as progress:
        _start_server(progress)
        _land(progress, purchases, seed, defects)
        _materialize(progress)
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
    from lakehouse_assets.platform.server import ensure_server

    task = progress.add_task("Spark Connect server", total=1)
    ensure_server(settings())
    progress.advance(task)


def _land(progress: Progress, purchases: int, seed: int, defects: float) -> None:
    from lakehouse_assets import defs as domains
    from lakehouse_assets.defs.gmv.generate import generate
    from lakehouse_assets.platform.catalog import discover
    from lakehouse_assets.platform.landing import land
    from lakehouse_assets.platform.table import TableKey

    feeds = Path(tempfile.mkdtemp(prefix="lakehouse-feeds-"))
    try:
        made = generate(feeds, DAYS.first, DAYS.last, purchases, seed, defects)
        files = [(table, file) for table in TABLES for file in sorted((feeds / table).glob("*.csv"))]
        catalog = discover(domains)
        task = progress.add_task(f"Land {made.rows} events, {sum(made.defects.values())} defects", total=len(files))
        for table, file in files:
            source = catalog.table(TableKey("gmv", "bronze", table)).source
            if source is not None:
                land(settings().landing, f"gmv/{table}", source, file, today=datetime.now(UTC).date())
            progress.advance(task)
    finally:
        shutil.rmtree(feeds)


def _materialize(progress: Progress) -> None:
    """By Dagster's own command line, as a user would: one run over the whole range."""
    command = [
        str(Path(sys.executable).with_name("dagster")), "asset", "materialize", "-m", "lakehouse_assets.definitions",
        "--select", "group:gmv", "--partition-range", f"{DAYS.first}...{DAYS.last}",
    ]  # fmt: skip
    progress.console.print(f"[dim]$ dagster {' '.join(command[1:])}[/dim]")
    task = progress.add_task("Materialize bronze, silver, gold", total=7)
    said: list[str] = []
    with subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        for line in run.stdout or ():
            said.append(line)
            if STEP.search(line):
                progress.advance(task)
    if run.returncode:
        raise LakehouseError(f"The run failed:\n{''.join(said[-30:])}")


def _tell() -> None:
    """Answers from the lake: now, as of an earlier day, what was quarantined, what made a figure."""
    from lakehouse_assets import defs as domains
    from lakehouse_assets.defs.gmv.cli import figures
    from lakehouse_assets.ops.quarantine import counts
    from lakehouse_assets.platform.catalog import discover
    from lakehouse_assets.platform.lineage import trace
    from lakehouse_assets.platform.plan import Lake
    from lakehouse_assets.platform.table import TableKey

    here = settings()
    by = ("subsidiary",)
    _show_some(figures(None, MONTH, by), "GMV of January 2023 by day and subsidiary, as known now")
    _show_some(figures(AS_OF, MONTH, by), f"The same, as known on {AS_OF}: this answer never changes")
    found = counts(here, None, None)
    per_rule: dict[tuple[str, str], int] = {}
    for table, _, rule, rows in found.rows:
        per_rule[table, rule] = per_rule.get((table, rule), 0) + rows
    quarantined = [(table, rule, rows) for (table, rule), rows in sorted(per_rule.items())]
    show(Rows(("table", "rule broken", "rows"), quarantined), "table", "In quarantine, whole, with the reason")
    tree = trace(Lake(here.lake, here.landing), discover(domains), TableKey("gmv", "gold", "gmv"), AS_OF)
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
