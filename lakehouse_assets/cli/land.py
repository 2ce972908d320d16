"""`lakehouse land`: take in files of a source."""

from datetime import UTC, date, datetime
from pathlib import Path

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.cli.parameters import DAY
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.source_files import EventFiles
from lakehouse_assets.platform.ingest.delivery_names import (
    FileSet,
    SourceFile,
    canonical,
    files_below,
    listed,
    name_of,
    one,
)
from lakehouse_assets.platform.ingest.file_readers import LandingError
from lakehouse_assets.settings import settings


@click.command()
@click.argument("table")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--day", type=DAY, help="Feed day of every row; default: the day that the source's own column or its path says."
)
@click.option("--replace", is_flag=True, help="Replace the whole day by this delivery, instead of adding to it.")
@click.option("--set", "set_name", help="FILES are one delivery of this name, landed and replaced as one.")
@click.option(
    "--manifest",
    type=click.Path(path_type=Path),
    help="One delivery of the files that this file lists, by name or as sha256sum writes them.",
)
@click.option("--below", type=click.Path(path_type=Path), help="The source's folder: a file is its path below it.")
@click.option(
    "--allow-shrinking", is_flag=True, help="Land a snapshot with far fewer rows than the last, or with none."
)
@click.option("--yes-really", is_flag=True, hidden=True, deprecated="It is now called --allow-shrinking.")
@format_option
def land(
    table: str,
    files: tuple[Path, ...],
    day: date | None,
    replace: bool,
    set_name: str | None,
    manifest: Path | None,
    below: Path | None,
    allow_shrinking: bool,
    yes_really: bool,
    output: str,
) -> None:
    """Land FILES (CSV, JSON lines or Parquet) of TABLE, for example gmv/purchase.

    A file is laid out by feed day and is in the lake whole or not at all. A folder is one delivery of all its files.
    The same name again supersedes all rows of the earlier file; the same bytes again change nothing. A name is the path
    below the source (--below), else the file's name, with its folder where that is a day. A refused file does not stop
    the others. Then materialize the days.
    """
    from lakehouse_assets.platform.common.days import write_days
    from lakehouse_assets.platform.ingest.landing import land as land_delivery

    source = source_of(table)
    deliveries = _deliveries(files, set_name, manifest, below)
    if replace and len(deliveries) > 1:
        raise click.UsageError("--replace takes one delivery: name the files as one with --set.")
    landed_day = day
    today = source.days.today(datetime.now(UTC))
    rows, refused = [], []
    for delivery in deliveries:
        try:
            landed = land_delivery(
                settings().landing,
                table,
                source,
                delivery,
                day=landed_day,
                replace=replace,
                today=today,
                allow_shrinking=allow_shrinking or yes_really,
            )
        except LandingError as error:
            refused.append(str(error))
            continue
        for metadata in (*landed.notes, *landed.stays):
            click.echo(f"{landed.name}: {metadata}", err=True)
        state = "already landed" if landed.already_landed else "landed"
        rows.append((landed.name, state, write_days(landed.days), sum(landed.days.values()), landed.version))
    if rows:
        show(Rows(("file", "state", "feed_days", "rows", "landing_version"), rows), output)
    if refused:
        raise LakehouseError("\n".join(refused))


def _deliveries(
    files: tuple[Path, ...], set_name: str | None, manifest: Path | None, below: Path | None
) -> list[FileSet]:
    """What is named, by delivery. Raises LandingError where two would take each other's place, UsageError."""
    if manifest is not None:
        if files:
            raise click.UsageError("--manifest lists the files itself: name no others.")
        return [FileSet(canonical(set_name or name_of(manifest.absolute().parent, below)), listed(manifest))]
    if not files:
        raise click.UsageError("Name files or a folder, or --manifest.")
    if set_name is not None:
        named = [of_set for file in files for of_set in _files(file, below)]
        return [FileSet(canonical(set_name), tuple(named))]
    found = [
        FileSet(canonical(name_of(file, below)), files_below(file)) if file.is_dir() else one(file, below)
        for file in files
    ]
    FileSet("these files", tuple(SourceFile(one.name, file) for one, file in zip(found, files, strict=True)))
    return found


def _files(file: Path, below: Path | None) -> tuple[SourceFile, ...]:
    return files_below(file) if file.is_dir() else (SourceFile(name_of(file, below), file),)


def source_of(name: str) -> EventFiles:
    """The source whose files are landed by this name. Raises LakehouseError."""
    from lakehouse_assets.cli.declared import declared_tables
    from lakehouse_assets.platform.planning.plan import landed_name

    sources = {landed_name(table.key): table.source for table in declared_tables().tables if table.source}
    if name not in sources:
        raise LakehouseError(f"No files are landed as {name!r}. There are: {', '.join(sorted(sources))}")
    return sources[name]
