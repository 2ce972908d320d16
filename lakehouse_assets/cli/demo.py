"""`lakehouse demo`: everything once, on one machine, with nothing to configure."""

import tempfile
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from lakehouse_assets.cli.materialize import progress_on, raise_failed, run_with_progress, terminal
from lakehouse_assets.cli.output import Rows, show
from lakehouse_assets.platform.common.days import DayRange
from lakehouse_assets.platform.declare.catalog import Catalog, discover
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.ingest.pseudonyms import ensure_development_key
from lakehouse_assets.platform.orchestration.staleness import Staleness
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.samples.demo import Feed, Sample, Size, samples_of_domains
from lakehouse_assets.settings import settings

UNTIL = date(2023, 2, 14)
SHOWN_ROWS = 8

console = Console()


@click.command()
@click.option("--scale", default=1.0, show_default=True, help="Size of the feeds: 2 generates twice the rows.")
@click.option("--seed", default=7, show_default=True)
@click.option("--defects", default=0.01, show_default=True, help="Probability of each defect for a record.")
def demo(scale: float, seed: int, defects: float) -> None:
    """Generate feeds with every defect, land them, build all tables, ask. Nothing has to be configured."""
    ensure_development_key(settings())
    shown, size = samples_of_domains(), Size(scale, seed, defects)
    with progress_on(terminal()) as progress:
        _start_server(progress)
        for domain, sample in shown.items():
            with tempfile.TemporaryDirectory(prefix="lakehouse-feeds-") as folder:
                _land(progress, domain, list(sample.write(Path(folder), sample.days(UNTIL), size)))
            _materialize(progress, domain, sample.days(UNTIL))
    _show_answers(shown.values())


def _start_server(progress: Progress) -> None:
    from lakehouse_assets.platform.runtime.spark_server import ensure_server

    task = progress.add_task("Spark Connect server", total=1)
    ensure_server(settings())
    progress.advance(task)


def _land(progress: Progress, domain: str, feeds: list[Feed]) -> None:
    """Land the files of one domain."""
    from lakehouse_assets.platform.ingest.landing import land

    catalog = _catalog()
    task = progress.add_task(f"Land the files of {domain}", total=len(feeds))
    for feed in feeds:
        source = catalog.table(TableKey(domain, "bronze", feed.table)).source
        assert source is not None, f"{domain}/{feed.table} is made of files"
        name, today = f"{domain}/{feed.table}", source.days.today(datetime.now(UTC))
        land(settings().landing, name, source, feed.files, day=feed.day, today=today)
        progress.advance(task)


def _catalog() -> Catalog:
    from lakehouse_assets import defs as domains

    return discover(domains)


def _materialize(progress: Progress, domain: str, days: DayRange) -> None:
    """In one run over the whole range, as `lakehouse materialize` does, where anything of the domain is stale."""
    tables = [table for table in _catalog().tables if table.key.domain == domain]
    staleness = Staleness(Lake(settings().lake, settings().landing), Catalog(tuple(tables)))
    staleness.refresh()
    if not any(staleness.stale_days(table) for table in tables):
        progress.console.print(f"Every day of {domain} is made of these files already.")
        return
    raise_failed(run_with_progress(progress, domain, days, f"Materialize bronze, silver, gold of {domain}"))


def _show_answers(shown: Iterable[Sample]) -> None:
    """Answers from the lake, and what was quarantined."""
    from lakehouse_assets.ops.quarantine import counts

    hints = []
    for sample in shown:
        days = sample.days(UNTIL)
        for answer in sample.answers(days):
            if isinstance(answer.found, Rows):
                _show_some(answer.found, answer.title)
            else:
                console.print(answer.title, style="italic")
                click.echo("\n".join(answer.found))
        if sample.hint:
            hints.append(f"[bold].venv/bin/{sample.hint(days)}[/bold]")
    per_rule: dict[tuple[str, str], int] = {}
    for table, _, rule, rows in counts(settings(), None, None).rows:
        per_rule[table, rule] = per_rule.get((table, rule), 0) + rows
    quarantined = [(table, rule, rows) for (table, rule), rows in sorted(per_rule.items())]
    show(Rows(("table", "rule broken", "rows"), quarantined), "table", "In quarantine, whole, with the reason")
    console.print("\nOpen the UI: [bold]make dev[/bold], then http://127.0.0.1:3000 · Dashboards: [bold]make bi[/bold]")
    console.print(f"Query: {' · '.join([*hints, '[bold]lakehouse --help[/bold]'])}")


def _show_some(result: Rows, title: str) -> None:
    more = len(result.rows) - SHOWN_ROWS
    show(Rows(result.columns, result.rows[:SHOWN_ROWS]), "table", title)
    if more > 0:
        console.print(f"… and {more} more rows", style="dim")
