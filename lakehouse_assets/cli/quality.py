"""`lakehouse quality`: how every table's days are, on the terminal, as rows, or as a page of its own."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.cli.parameters import DAYS
from lakehouse_assets.settings import settings

if TYPE_CHECKING:
    from lakehouse_assets.platform.common.days import DayRange

COLUMNS = (
    "table", "feed_day", "state", "run_id", "check", "rule", "dimension", "action", "rows", "failed", "rate",
    "result", "passed", "blocking", "sql",
)  # fmt: skip


@click.command()
@click.option("--domain", help="Only this domain, as gmv.")
@click.option("--days", "asked", type=DAYS, help="Feed days, as 2023-01-01..2023-02-28; default: the newest 365.")
@click.option("--changes", is_flag=True, help="Only what changed between snapshots: inserts, updates, deletes by day.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page that stands alone.")
@format_option
def quality(domain: str | None, asked: "DayRange | None", changes: bool, html: Path | None, output: str) -> None:
    """Show a heat map of tables and days, the failed and blocked days, and the changes between snapshots.

    Spark is not started. JSON and CSV have a row per table, day and rule (the newest check result, as in Dagster), or
    with --changes a row per table and snapshot.
    """
    from lakehouse_assets.cli.declared import declared_tables
    from lakehouse_assets.cli.heatmap import draw
    from lakehouse_assets.serving.history import changes_between_snapshots
    from lakehouse_assets.serving.quality import read_quality

    catalog = declared_tables()
    found = read_quality(settings(), catalog, domain, asked)
    if changes:
        between = changes_between_snapshots(settings(), catalog, found)
        show(Rows(between.columns, between.rows), output)
        return
    if html is not None:
        from lakehouse_assets.serving.quality_html import write_page

        size = write_page(found, catalog, html)
        click.echo(f"{html}: {size / 1e6:.1f} MB, {len(found.tables)} tables, {found.days}", err=True)
    if output == "table":
        if html is None:
            draw(found)
            between = changes_between_snapshots(settings(), catalog, found)
            if between.rows:
                show(Rows(between.columns, between.rows), output, "Changes between snapshots")
        return
    rows = [
        (
            table, day, found.state(table, day).value, verdict.run_id, rule.check, rule.rule, rule.dimension,
            rule.action, rule.rows, rule.failed, round(rule.rate, 6), rule.result.value,
            rule.passed, rule.blocking, rule.sql,
        )
        for (table, day), verdict in sorted(found.verdicts.items())
        for rule in verdict.rules
    ]  # fmt: skip
    show(Rows(COLUMNS, rows), output)
