"""`lakehouse warehouse`: what PostgreSQL holds, how to reach it, publish by hand."""

from typing import TYPE_CHECKING

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.cli.parameters import DAYS, TABLE
from lakehouse_assets.settings import settings

if TYPE_CHECKING:
    from lakehouse_assets.platform.common.days import DayRange
    from lakehouse_assets.platform.declare.table import Table


@click.group()
def warehouse() -> None:
    """PostgreSQL, to which gold is published: your own by LAKEHOUSE_WAREHOUSE_URL, else one embedded in the home."""


@warehouse.command()
@format_option
def status(output: str) -> None:
    """Show every published table: days, rows, the newest day, the Delta version that it comes from."""
    from lakehouse_assets.cli.declared import imported_tables
    from lakehouse_assets.serving.postgres import where
    from lakehouse_assets.serving.published import held_of
    from lakehouse_assets.serving.warehouse_tables import place, served

    rows, tables = [], served(imported_tables())
    held_by_table = held_of(settings(), [str(table.key) for table in tables])
    for table in tables:
        there = held_by_table[str(table.key)]
        days = [day for day in there if day]
        rows.append(
            (
                ".".join(place(table)), len(days) or None, sum(held.rows for held in there.values()),
                max(days, default=None), max((held.version for held in there.values()), default=None),
            )
        )  # fmt: skip
    show(Rows(("table", "days", "rows", "newest_day", "delta_version"), rows), output, title=where(settings()))


@warehouse.command()
def url() -> None:
    """Start the embedded server, leave it running, and print its URL: for psql or a dashboard on this machine."""
    from lakehouse_assets.serving.postgres import url as embedded_url

    click.echo(embedded_url(settings()))


@warehouse.command()
@click.argument("table", type=TABLE)
@click.option("--days", required=True, type=DAYS, help="Feed days, as 2023-01-01..2023-02-28.")
@format_option
def publish(table: "Table", days: "DayRange", output: str) -> None:
    """Publish days of TABLE, as gmv/gold/gmv, now. Skips days that the warehouse has already."""
    from lakehouse_assets.cli.declared import imported_tables
    from lakehouse_assets.serving.publish import publish as publish_days

    declared = imported_tables().table(table.key)
    done = publish_days(settings(), declared, list(days), "by hand")
    rows = [(day.day, day.rows, day.version, day.changed) for day in done]
    show(Rows(("feed_day", "rows", "delta_version", "written"), rows), output)


@warehouse.command(name="catch-up")
def catch_up() -> None:
    """Publish everything that the warehouse lacks, check results and quarantine counts too, now: as the sensors do."""
    from lakehouse_assets.cli.declared import imported_tables
    from lakehouse_assets.serving.catch_up import catch_up as publish_all

    done = publish_all(settings(), imported_tables(), lambda table, days: click.echo(f"{table}: {days} days", err=True))
    click.echo(f"{done} days written")


@warehouse.command()
def stop() -> None:
    """Stop the embedded server. It starts again when it is needed."""
    from lakehouse_assets.serving.postgres import stop as stop_server

    click.echo("Stopped." if stop_server(settings()) else "No embedded server was running.")
