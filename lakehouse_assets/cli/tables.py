"""`lakehouse tables`, `versions` and `preview`: which tables there are, their commits and their first rows."""

from datetime import date, timedelta
from typing import TYPE_CHECKING

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.cli.parameters import DAY, TABLE
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.settings import settings

if TYPE_CHECKING:
    from lakehouse_assets.platform.declare.table import Table
    from lakehouse_assets.platform.storage.delta_table import Commit


@click.command()
@click.argument("domain", required=False)
@format_option
def tables(domain: str | None, output: str) -> None:
    """List the declared tables, of DOMAIN or all: days, newest day, newest version, deadline.

    The deadline is how long after a day's end (UTC) its data must be there.
    """
    from lakehouse_assets.cli.declared import declared_tables
    from lakehouse_assets.platform.declare.catalog import Catalog
    from lakehouse_assets.platform.orchestration.staleness import Staleness
    from lakehouse_assets.platform.planning.plan import Lake

    catalog, here = declared_tables(), settings()
    domains = sorted({table.key.domain for table in catalog.tables})
    if domain is not None and domain not in domains:
        raise click.BadParameter(f"{domain!r} is no domain; there are {', '.join(domains)}", param_hint="DOMAIN")
    wanted = [table for table in catalog.tables if domain in (None, table.key.domain)]
    staleness = Staleness(Lake(here.lake, here.landing), Catalog(tuple(wanted)))
    staleness.refresh()
    rows = []
    for table in wanted:
        own = staleness.of(table.key)
        days = own.built.keys() | own.changed.keys()
        version = own.seen if own.seen >= 0 else None
        rows.append((table.key, write_of(table), len(days), max(days, default=None), version, deadline_of(table)))
    show(Rows(("table", "write", "days", "newest_day", "version", "deadline"), rows), output)


def write_of(table: "Table") -> str:
    """The kind of write, in a few words."""
    from lakehouse_assets.platform.declare.scd import Scd
    from lakehouse_assets.platform.declare.table import Ledger, Overwrite

    match table.write:
        case Ledger():
            return "ledger"
        case Overwrite():
            return "overwrite"
        case Scd(history=True):
            return "scd2"
        case Scd():
            return "scd1"
    return "replace days"


def deadline_of(table: "Table") -> str | None:
    """How long after a day's end its data must be there."""
    if table.sla is None:
        return None
    hours = table.sla / timedelta(hours=1)
    return f"{hours:g} h after the day"


@click.command()
@click.argument("table", type=TABLE)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1), help="How many, the newest first.")
@format_option
def versions(table: "Table", limit: int, output: str) -> None:
    """List the versions of TABLE: when each was committed, by what, which days and rows it wrote, by which run."""
    from itertools import islice

    from lakehouse_assets.platform.planning.plan import Lake
    from lakehouse_assets.platform.storage.delta_table import commits

    here = settings()
    path = Lake(here.lake, here.landing).path(table.key)
    found = [_version(commit) for commit in islice(commits(path), limit)]
    if not found:
        raise _not_made(table)
    show(Rows(("version", "committed_at", "kind", "days", "rows", "run_id", "code_version"), found), output)


def _version(commit: "Commit") -> tuple[object, ...]:
    from datetime import UTC, datetime

    from lakehouse_assets.platform.common.days import write_days

    at = datetime.fromtimestamp(commit.timestamp / 1000, UTC)
    metadata = commit.metadata
    if metadata is None:  # maintenance, or somebody else's
        return commit.version, at, commit.operation.lower(), None, None, None, None
    kept = sum(rows.kept for rows in metadata.rows.values())
    return (
        commit.version,
        at,
        metadata.kind.value,
        write_days(metadata.days),
        kept,
        metadata.run_id,
        metadata.code_version,
    )


@click.command()
@click.argument("table", type=TABLE)
@click.option("--day", type=DAY, help="Only rows of this feed day, as 2023-01-31.")
@click.option("--version", type=click.IntRange(min=0), help="Of this Delta version; default: the newest.")
@click.option("--limit", default=10, show_default=True, type=click.IntRange(min=1), help="How many rows.")
@click.option("--personal", is_flag=True, help="Show personal columns too.")
@format_option
def preview(table: "Table", day: date | None, version: int | None, limit: int, personal: bool, output: str) -> None:
    """Show the first rows of TABLE, without its personal columns. Spark is not started."""
    from lakehouse_assets.cli.declared import summary_of
    from lakehouse_assets.platform.common.days import DAY_COLUMN
    from lakehouse_assets.platform.planning.plan import Lake
    from lakehouse_assets.platform.storage.delta_table import open_table
    from lakehouse_assets.serving.query import query

    here = settings()
    stored = open_table(Lake(here.lake, here.landing).path(table.key))
    if stored is None:
        raise _not_made(table)
    if version is not None and version > stored.version():
        raise LakehouseError(f"{table.key} has no version {version}; the newest is {stored.version()}.")
    names = [field.name for field in stored.schema().fields]
    if day is not None and DAY_COLUMN not in names:
        raise LakehouseError(f"{table.key} has no column {DAY_COLUMN}, so its rows belong to no day: leave --day out.")
    hidden = frozenset() if personal else summary_of(table).personal
    columns = ", ".join('"' + name.replace('"', '""') + '"' for name in names if name not in hidden)
    name = ".".join(table.key.parts)
    where = f"WHERE {DAY_COLUMN} = ?" if day else ""
    statement = f"SELECT {columns} FROM {name} {where} LIMIT {limit}"  # noqa: S608  (names of the table's own)
    found = query(here, statement, [day] if day else [], versions={} if version is None else {name: version})
    show(Rows(found.columns, found.rows), output)
    if left_out := sorted(hidden & set(names)):
        click.echo(f"Left out as personal: {', '.join(left_out)}. --personal shows them.", err=True)


def _not_made(table: "Table") -> LakehouseError:
    return LakehouseError(
        f"{table.key} was never materialized, so it has no rows. Run `lakehouse materialize {table.key} --days A..B`."
    )
