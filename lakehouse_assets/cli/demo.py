"""`lakehouse demo`: everything once, on one machine, with nothing to configure."""

import tempfile
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from lakehouse_assets.cli.declared import imported_tables
from lakehouse_assets.cli.materialize import progress_on, raise_failed, run_with_progress, terminal
from lakehouse_assets.cli.output import Rows, show
from lakehouse_assets.cli.parameters import DAY
from lakehouse_assets.ops.first_days import chosen_first_days, write_first_days
from lakehouse_assets.platform.common.days import ONE_DAY, DayRange
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.ingest.pseudonyms import ensure_development_key
from lakehouse_assets.platform.orchestration.staleness import Staleness
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.samples.demo import Answer, Feed, Sample, Size, samples_of_domains
from lakehouse_assets.settings import settings

SHOWN_ROWS = 8

console = Console()


@click.command()
@click.option("--until", type=DAY, help="The last day of the data, as 2024-02-29; default: yesterday (UTC).")
@click.option("--scale", default=1.0, show_default=True, help="Size of the feeds: 2 generates twice the rows.")
@click.option("--seed", default=7, show_default=True, help="The same seed gives the same data of a day.")
@click.option("--defects", default=0.01, show_default=True, help="Probability of each defect for a record.")
def demo(until: date | None, scale: float, seed: int, defects: float) -> None:
    """Generate feeds of all domains with every defect, land them, build all tables, query them.

    The data end yesterday. The partitions of each domain begin where its data begin: the file first_days of the home
    says so. A second time the demo goes on where it ended. A domain whose days begin later than the data is left out.
    """
    ensure_development_key(settings())
    last, begun, size = until or yesterday(datetime.now(UTC)), chosen_first_days(settings()), Size(scale, seed, defects)
    samples = samples_with_days_until(last)
    days = {domain: sample.days(last, begun.get(domain)) for domain, sample in samples.items()}
    write_first_days(settings(), {domain: of_domain.first for domain, of_domain in days.items()})
    with progress_on(terminal()) as progress:
        _start_server(progress)
        for domain, sample in samples.items():
            with tempfile.TemporaryDirectory(prefix="lakehouse-feeds-") as folder:
                _land(progress, domain, list(sample.write(Path(folder), days[domain], size)))
            _materialize(progress, domain, days[domain])
    for domain, sample in samples.items():
        _show_answers(sample.answers(days[domain]))
    _show_quarantined()
    hints = [f"[bold].venv/bin/{sample.hint(days[domain])}[/bold]" for domain, sample in samples.items() if sample.hint]
    console.print("\nOpen the UI: [bold]make dev[/bold], then http://127.0.0.1:3000 · Dashboards: [bold]make bi[/bold]")
    console.print(f"Query: {' · '.join([*hints, '[bold]lakehouse --help[/bold]'])}")


def yesterday(now: datetime) -> date:
    """The last day that is over everywhere that the samples are from: their days are UTC's."""
    return now.date() - ONE_DAY


def samples_with_days_until(last: date) -> dict[str, Sample]:
    """The samples of domains that have all days of the demo. Raises click.BadParameter where there is none."""
    fitting, domains = {}, imported_tables().domains
    for domain, sample in samples_of_domains().items():
        if domain not in domains:
            continue  # somebody removed it, and left its sample
        earliest = domains[domain].first_day + (sample.length - 1) * ONE_DAY
        if last >= earliest:
            fitting[domain] = sample
        else:
            click.echo(f"{domain} is left out: its demo needs --until {earliest} or later.", err=True)
    if not fitting:
        raise click.BadParameter("no domain has data of these days; choose a later day", param_hint="--until")
    return fitting


def _start_server(progress: Progress) -> None:
    from lakehouse_assets.platform.runtime.spark_server import ensure_server

    task = progress.add_task("Spark Connect server", total=1)
    ensure_server(settings())
    progress.advance(task)


def _land(progress: Progress, domain: str, feeds: list[Feed]) -> None:
    """Land the files of one domain."""
    from lakehouse_assets.platform.ingest.landing import land

    catalog = imported_tables()
    task = progress.add_task(f"Land the files of {domain}", total=len(feeds))
    for feed in feeds:
        source = catalog.table(TableKey(domain, "bronze", feed.table)).source
        assert source is not None, f"{domain}/{feed.table} is made of files"
        name, today = f"{domain}/{feed.table}", source.days.today(datetime.now(UTC))
        land(settings().landing, name, source, feed.files, day=feed.day, today=today)
        progress.advance(task)


def _materialize(progress: Progress, domain: str, days: DayRange) -> None:
    """In one run over the whole range, as `lakehouse materialize` does, where anything of the domain is stale."""
    tables = [table for table in imported_tables().tables if table.key.domain == domain]
    staleness = Staleness(Lake(settings().lake, settings().landing), Catalog(tuple(tables)))
    staleness.refresh()
    if not any(staleness.stale_days(table) for table in tables):
        click.echo(f"Every day of {domain} is made of these files already.")
        return
    raise_failed(run_with_progress(progress, domain, days, f"Materialize bronze, silver, gold of {domain}"))


def _show_answers(answers: Iterable[Answer]) -> None:
    for answer in answers:
        if isinstance(answer.found, Rows):
            _show_some(answer.found, answer.title)
        else:
            console.print(answer.title, style="italic")
            click.echo("\n".join(answer.found))


def _show_some(result: Rows, title: str) -> None:
    more = len(result.rows) - SHOWN_ROWS
    show(Rows(result.columns, result.rows[:SHOWN_ROWS]), "table", title)
    if more > 0:
        console.print(f"… and {more} more rows", style="dim")


def _show_quarantined() -> None:
    from lakehouse_assets.ops.quarantine import counts

    per_rule: dict[tuple[str, str], int] = {}
    for table, _, rule, rows in counts(settings(), None, None).rows:
        per_rule[table, rule] = per_rule.get((table, rule), 0) + rows
    quarantined = [(table, rule, rows) for (table, rule), rows in sorted(per_rule.items())]
    show(Rows(("table", "rule broken", "rows"), quarantined), "table", "In quarantine, whole, with the reason")
