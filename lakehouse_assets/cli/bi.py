"""`lakehouse bi start|stop|status|export`: the dashboards of this home, in Superset."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lakehouse_assets.cli.output import format_option, show_record
from lakehouse_assets.cli.servers import commands_of
from lakehouse_assets.settings import settings

if TYPE_CHECKING:
    from lakehouse_assets.bi.declaration import Dashboard
    from lakehouse_assets.platform.runtime.dev_server import HomeServer


def _boards() -> "tuple[Dashboard, ...]":
    from lakehouse_assets import defs as domains
    from lakehouse_assets.bi.discover import dashboards

    return dashboards(domains)


def _server() -> "HomeServer":
    from lakehouse_assets.bi.server import SERVER

    return SERVER


bi = commands_of("bi", _server, "Dashboards over the warehouse: Superset, on this machine's loopback.")


@bi.command()
@format_option
def start(output: str) -> None:
    """Start Superset with the declared dashboards, or bring the one that runs up to date. Installs it on first use.

    What the warehouse lacks is published first, as its sensors would.
    """
    from lakehouse_assets.bi import server
    from lakehouse_assets.cli.declared import imported_tables
    from lakehouse_assets.serving.catch_up import catch_up

    boards = _boards()
    catch_up(
        settings(), imported_tables(), lambda table, days: click.echo(f"Publishing {table}: {days} days", err=True)
    )
    found = server.start(settings(), boards, lambda text: click.echo(text, err=True))
    url, password = f"http://127.0.0.1:{found.port}", server.password_file(settings())
    record = {"running": True, "port": found.port, "pid": found.process.pid, "url": url}
    lines = [f"{board.title:<34} {url}/superset/dashboard/{board.slug}/" for board in boards]
    lines.append(f"Log in as {server.ADMIN}; the password is in {password}")
    show_record(record | {"user": server.ADMIN, "password_file": str(password)}, output, "\n".join(lines))


@bi.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def export(folder: Path) -> None:
    """Write the dashboards as files that any Superset 6 imports: databases, datasets, charts, dashboards."""
    from lakehouse_assets.bi.files import write_files

    click.echo(f"{write_files(_boards(), folder)} files in {folder}", err=True)
