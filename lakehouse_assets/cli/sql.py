"""`lakehouse sql` and `lakehouse shell`: ask the lake, without and with Spark."""

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.settings import settings


@click.command()
@click.argument("statement")
@click.option("--version", "versions", multiple=True, metavar="TABLE=N", help="Read a table as of its Delta version N.")
@click.option("--as-of", help="Read tables with history as they were known at the end of this day, as 2023-03-31.")
@format_option
def sql(statement: str, versions: tuple[str, ...], as_of: str | None, output: str) -> None:
    """Run a query, for example "select * from gmv.silver.purchase limit 5". Spark is not started."""
    from lakehouse_assets import defs as domains
    from lakehouse_assets.platform.common.days import parse_day
    from lakehouse_assets.platform.declare.catalog import discover
    from lakehouse_assets.serving.as_of import clauses_as_of
    from lakehouse_assets.serving.query import query

    pinned: dict[str, int] = {}
    for text in versions:
        table, _, version = text.partition("=")
        if not version.isdigit():
            raise click.BadParameter(f"{text!r}: write it as gmv.silver.purchase=3", param_hint="--version")
        pinned[table] = int(version)
    known = clauses_as_of(discover(domains), parse_day(as_of)) if as_of else None
    result = query(settings(), statement, versions=pinned, as_of=known)
    show(Rows(result.columns, result.rows), output)
    for remark in result.remarks:
        click.echo(remark, err=True)


@click.command()
@click.option("--command", "-c", help="Run this and exit, instead of reading from the terminal.")
def shell(command: str | None) -> None:
    """Open PySpark, connected: `spark` is the session, `table("gmv/silver/purchase", version=None)` reads a table."""
    import code

    from lakehouse_assets import defs as domains
    from lakehouse_assets.platform.declare.catalog import discover
    from lakehouse_assets.platform.declare.table import TableKey
    from lakehouse_assets.platform.planning.plan import Lake
    from lakehouse_assets.platform.planning.reader import read_table
    from lakehouse_assets.platform.runtime.sessions import close_session, open_session
    from lakehouse_assets.platform.storage.s3 import S3Path

    here = settings()
    lake, catalog = Lake(here.lake, here.landing), discover(domains)
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
