"""`lakehouse land`: take in files of a source."""

from datetime import UTC, datetime
from pathlib import Path

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.platform.errors import LakehouseError
from lakehouse_assets.settings import settings


@click.command()
@click.argument("table")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--day", help="Feed day of every row; default: the day that the source's own column says.")
@click.option("--replace", is_flag=True, help="Replace the whole day by this file, instead of adding to it.")
@click.option(
    "--yes-really", "really", is_flag=True, help="Land a snapshot with far fewer rows than the last, or with none."
)
@format_option
def land(table: str, files: tuple[Path, ...], day: str | None, replace: bool, really: bool, output: str) -> None:
    """Land FILES (CSV, JSON lines or Parquet) of TABLE, for example gmv/purchase.

    A file is laid out by feed day and is in the lake whole or not at all. The same name again (folders do not
    count) supersedes that file's part of its days; the same bytes again change nothing. Then materialize the days.
    """
    from lakehouse_assets.platform.days import parse_day, write_days
    from lakehouse_assets.platform.landing import land as land_file

    if replace and len(files) > 1:
        raise click.UsageError("--replace takes one file: land the first with it and the others without.")
    source = _source(table)
    landed_day = parse_day(day) if day else None
    today = datetime.now(UTC).date()
    rows = []
    for file in files:
        landed = land_file(
            settings().landing, table, source, file, day=landed_day, replace=replace, today=today, really=really
        )
        state = "already landed" if landed.already_landed else "landed"
        rows.append((landed.name, state, write_days(landed.days), sum(landed.days.values()), landed.version))
    show(Rows(("file", "state", "feed_days", "rows", "landing_version"), rows), output)


def _source(name: str):  # type: ignore[no-untyped-def]
    from lakehouse_assets import defs as domains
    from lakehouse_assets.platform.catalog import discover
    from lakehouse_assets.platform.plan import landed_name

    sources = {landed_name(table.key): table.source for table in discover(domains).tables if table.source}
    if name not in sources:
        raise LakehouseError(f"No files are landed as {name!r}. There are: {', '.join(sorted(sources))}")
    return sources[name]
