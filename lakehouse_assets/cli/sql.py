"""`lakehouse sql` and `lakehouse shell`: ask the lake, without and with Spark."""

from datetime import date
from typing import TYPE_CHECKING, TextIO

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.cli.parameters import DAY
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.settings import settings

if TYPE_CHECKING:
    from lakehouse_assets.serving.as_of import AsOf


@click.command()
@click.argument("statement", required=False)
@click.option(
    "-f", "--file", type=click.File(encoding="utf-8"), help="Read the query from this file; - is the standard input."
)
@click.option("--version", "versions", multiple=True, metavar="TABLE=N", help="Read a table as of its Delta version N.")
@click.option(
    "--as-of", type=DAY, help="Read tables with history as they were known at the end of this day, as 2023-03-31."
)
@format_option
def sql(statement: str | None, file: TextIO | None, versions: tuple[str, ...], as_of: date | None, output: str) -> None:
    """Run a query, for example "select * from gmv.silver.purchase limit 5", or that of a FILE. Spark is not started."""
    from lakehouse_assets.serving.query import query

    if (statement is None) == (file is None):
        raise click.UsageError("Write the query, or name its file with -f: one of the two.")

    pinned: dict[str, int] = {}
    for text in versions:
        table, _, version = text.partition("=")
        if not version.isdigit():
            raise click.BadParameter(f"{text!r}: write it as gmv.silver.purchase=3", param_hint="--version")
        pinned[table] = int(version)
    result = query(settings(), _text(file) if file else str(statement), versions=pinned, as_of=_clauses(as_of))
    show(Rows(result.columns, result.rows), output)
    for remark in result.remarks:
        click.echo(remark, err=True)


def _text(file: TextIO) -> str:
    """The one statement of a file. Raises LakehouseError for what is no text."""
    try:
        return file.read().strip().removesuffix(";")
    except UnicodeDecodeError as error:
        raise LakehouseError(f"{file.name}: not UTF-8 text, so no query was run. Save the file as UTF-8.") from error


def _clauses(day: date | None) -> "AsOf | None":
    """What reads tables with history as of a day: the only question for which declarations are needed."""
    from lakehouse_assets.cli.declared import declared_tables
    from lakehouse_assets.serving.as_of import clauses_as_of

    return clauses_as_of(declared_tables(), day) if day else None


@click.command()
@click.option("--command", "-c", help="Run this and exit, instead of reading from the terminal.")
def shell(command: str | None) -> None:
    """Open PySpark, connected: `spark` is the session, `table("gmv/silver/purchase", version=None)` reads a table."""
    import code

    from lakehouse_assets.cli.declared import imported_tables
    from lakehouse_assets.platform.declare.table import TableKey
    from lakehouse_assets.platform.planning.plan import Lake
    from lakehouse_assets.platform.planning.reader import read_table
    from lakehouse_assets.platform.runtime.sessions import close_session, open_session
    from lakehouse_assets.platform.storage.s3 import S3Path

    here = settings()
    lake, catalog = Lake(here.lake, here.landing), imported_tables()
    spark = open_session(here, "shell")

    def table(name: str, version: int | None = None):  # type: ignore[no-untyped-def]
        """A table, by default its newest version."""
        key = TableKey.parse(name)
        return read_table(spark, lake, catalog.table(key), lake.version(key) if version is None else version)

    names = {"spark": spark, "table": table}
    try:
        if command:
            exec(compile(command, "<command>", "exec"), names)
        else:
            banner = 'PySpark, connected: spark, table("gmv/silver/purchase")'
            if isinstance(here.lake, S3Path):
                banner += "\nTables in a bucket are read here, not written: docs/own-s3.md"
            code.interact(banner, local=names, exitmsg="")
    finally:
        close_session(spark)
