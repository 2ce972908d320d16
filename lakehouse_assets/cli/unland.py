"""`lakehouse unland`: take back landed files."""

from datetime import date

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.cli.parameters import DAY
from lakehouse_assets.settings import settings


@click.command()
@click.argument("table")
@click.argument("file", required=False)
@click.option("--day", type=DAY, help="Only files that were landed for this feed day, as 2023-01-31.")
@click.option("--dry-run", is_flag=True, help="Only show what would be taken back.")
@format_option
def unland(table: str, file: str | None, day: date | None, dry_run: bool, output: str) -> None:
    """Take back the landed FILE of TABLE (gmv/purchase), or all files of a --day.

    FILE is the name that `lakehouse land` printed: a file, or a set, which is taken back as one. Its days become stale,
    and the sensors request them again without it. Its parts stay, so that days materialized from it can be replayed; an
    erasure still reaches them. What the file superseded does not come back. To undo, land the file again.
    """
    from lakehouse_assets.cli.land import source_of
    from lakehouse_assets.platform.ingest.take_back import take_back

    if file is None and day is None:
        raise click.UsageError("Name a landed file, or a day with --day.")
    source_of(table)
    done = take_back(settings().landing, table, file, day, dry_run=dry_run)
    state = "would be taken back" if dry_run else "taken back"
    rows = [(one.name, state, one.feed_day, one.rows, done.version) for one in done.entries]
    show(Rows(("file", "state", "feed_day", "rows", "landing_version"), rows), output)
