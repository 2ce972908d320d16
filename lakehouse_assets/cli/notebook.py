"""`lakehouse notebook`: JupyterLab over the lake of this home."""

import os
import sys

import click

from lakehouse_assets.settings import settings


@click.command()
@click.option("--port", default=8888, show_default=True, help="Port of JupyterLab.")
def notebook(port: int) -> None:
    """Start JupyterLab with the project's notebooks; Ctrl-C ends it. Installs it on first use.

    It listens on this machine's loopback and requires the token in the printed address. In a notebook,
    `from lakehouse_assets.notebook import table` reads a table: table("gmv/silver/purchase").to_pandas(). The notebooks
    are copies in the folder notebooks of the home.
    """
    from lakehouse_assets.cli.dev import require_free
    from lakehouse_assets.notebook.lab import prepare

    require_free(port, "--port")
    lab = prepare(settings(), port, lambda text: click.echo(text, err=True))
    click.echo(f"Notebooks in {lab.folder}\n\n  JupyterLab: {lab.url}   (Ctrl-C ends it)\n")
    sys.stdout.flush()
    os.execve(lab.command[0], lab.command, lab.environment)
