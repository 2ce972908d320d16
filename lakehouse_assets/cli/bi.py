"""`lakehouse bi start|stop|status|export`: the dashboards of this home, in Superset."""

import json
from pathlib import Path

import click

from lakehouse_assets.bi.declaration import Dashboard
from lakehouse_assets.cli.servers import FORMAT, commands_of
from lakehouse_assets.settings import settings


def _boards() -> tuple[Dashboard, ...]:
    from lakehouse_assets import defs as domains
    from lakehouse_assets.bi.discover import dashboards

    return dashboards(domains)


def _group() -> click.Group:
    from lakehouse_assets.bi.server import SERVER

    return commands_of(SERVER, "Dashboards over the warehouse: Superset, on this machine's loopback.")


bi = _group()


@bi.command()
@FORMAT
def start(output: str) -> None:
    """Start Superset with the declared dashboards, or bring the one that runs up to date. Installs it on first use.

    What the warehouse lacks is published first, as its sensors would.
    """
    from lakehouse_assets import defs as domains
    from lakehouse_assets.bi import server
    from lakehouse_assets.platform.declare.catalog import discover
    from lakehouse_assets.serving.catch_up import catch_up

    boards = _boards()
    catch_up(
        settings(), discover(domains), lambda table, days: click.echo(f"Publishing {table}: {days} days", err=True)
    )
    found = server.start(settings(), boards, lambda text: click.echo(text, err=True))
    url, password = f"http://127.0.0.1:{found.port}", server.password_file(settings())
    if output == "json":
        message = {"running": True, "port": found.port, "pid": found.process.pid, "url": url}
        click.echo(json.dumps(message | {"user": server.ADMIN, "password_file": str(password)}))
        return
    for board in boards:
        click.echo(f"{board.title:<34} {url}/superset/dashboard/{board.slug}/")
    click.echo(f"Log in as {server.ADMIN}; the password is in {password}")


@bi.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def export(folder: Path) -> None:
    """Write the dashboards as files that any Superset 6 imports: databases, datasets, charts, dashboards."""
    from lakehouse_assets.bi.files import write_files

    click.echo(f"{write_files(_boards(), folder)} files in {folder}", err=True)
