"""`lakehouse quarantine`: see what left a table and why, and try it again after a contract or parser was mended."""

from datetime import date

import click

from lakehouse_assets.cli.output import format_option, show
from lakehouse_assets.cli.parameters import DAY
from lakehouse_assets.settings import settings


@click.group()
def quarantine() -> None:
    """Rows that broke a rule of their table's contract: kept whole, with the rules, their file and feed day."""


@quarantine.command("list")
@click.argument("table", required=False)
@click.option("--day", type=DAY, help="Only this feed day, as 2023-01-31.")
@click.option("--rows", "whole", is_flag=True, help="The rows themselves, instead of counts.")
@format_option
def list_(table: str | None, day: date | None, whole: bool, output: str) -> None:
    """Count quarantined rows by table, day and broken rules; with --rows, show them. TABLE as in gmv/silver/purchase.

    A row that broke two rules counts once.
    """
    from lakehouse_assets.ops.quarantine import counts, rows

    found = rows(settings(), table, day) if whole else counts(settings(), table, day)
    show(found, output)
    total = len(found.rows) if whole else sum(row[-1] for row in found.rows)
    click.echo(f"{total} rows in quarantine", err=True)


@quarantine.command()
@click.argument("table")
@click.option("--day", type=DAY, help="Only this feed day; default: every day with quarantined rows.")
@format_option
def retry(table: str, day: date | None, output: str) -> None:
    """Materialize the quarantined days of TABLE again with today's code: what now passes moves into the table."""
    from lakehouse_assets.ops.quarantine import retry as retry_days

    show(retry_days(settings(), table, day), output)
