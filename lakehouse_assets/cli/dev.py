"""`lakehouse dev`: Dagster's UI, its daemon and the code server on this machine, ended together."""

import os
import signal
import sys
from pathlib import Path

import click

from lakehouse_assets.ops.home import prepare_dagster_home, project_file
from lakehouse_assets.ops.supervisor import Supervisor, accepts
from lakehouse_assets.ops.ui import note_address
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.ingest.pseudonyms import development_key_file, ensure_development_key
from lakehouse_assets.settings import settings

HOST = "127.0.0.1"
START_SECONDS = 180


@click.command()
@click.option("--port", default=3000, show_default=True, help="Port of the UI.")
@click.option("--code-port", default=4266, show_default=True, help="Port of the code server.")
def dev(port: int, code_port: int) -> None:
    """Start Dagster's UI with its daemon; Ctrl-C ends both. The Spark server is left running for the next command."""
    from lakehouse_assets.platform.runtime.spark_server import ensure_server

    here = settings()
    if ensure_development_key(here):
        click.echo(f"Made a key for pseudonyms, for development: {development_key_file(here)}")
    require_free(port, "--port")
    require_free(code_port, "--code-port")
    if here.spark_remote is None:
        click.echo("Spark server ...", nl=False)
        ensure_server(here)
        click.echo(" runs")
    sys.exit(serve("lakehouse_assets.definitions", here.home.absolute(), port, code_port))


def require_free(port: int, option: str) -> None:
    """Raises LakehouseError when something listens on the loopback port."""
    if accepts(port):
        raise LakehouseError(
            f"Port {port} is in use by another process. End that process, or name another port: {option} N."
        )


def serve(module: str, home: Path, port: int, code_port: int) -> int:
    """Run code server, webserver and daemon until one ends or a signal arrives; the exit code for the shell.

    `module` holds the definitions, `home` is LAKEHOUSE_HOME. 0 after Ctrl-C or SIGTERM, 1 when a process ended itself.
    """
    os.environ["LAKEHOUSE_HOME"] = str(home)
    prepare_dagster_home(settings())
    environment = os.environ | {
        "LAKEHOUSE_CODE_HOST": HOST,
        "LAKEHOUSE_CODE_PORT": str(code_port),
        "PYTHONUNBUFFERED": "1",
    }
    environment.setdefault("DAGSTER_EVENT_BATCH_SIZE", "500")
    python = [sys.executable, "-m"]
    workspace = ["-w", str(project_file("workspace.yaml"))]
    with Supervisor(environment) as processes, processes.handling_signals():
        processes.start("code", [*python, "dagster", "api", "grpc", "-m", module, "-h", HOST, "-p", str(code_port)])
        ended = processes.wait_for_port(code_port, START_SECONDS)
        if ended is None:
            processes.start("daemon", [*python, "dagster._daemon", "run", *workspace])
            processes.start("webserver", [*python, "dagster_webserver", "-h", HOST, "-p", str(port), *workspace])
            ended = processes.wait_for_port(port, START_SECONDS)
        if ended is None:
            note_address(home, f"http://{HOST}:{port}")
            click.echo(f"\n  Dagster: http://{HOST}:{port}   (Ctrl-C ends it)\n")
            ended = processes.wait()
        if ended.signal:
            click.echo(f"\n{signal.Signals(ended.signal).name}: ending ...")
            return 0
    click.echo(f"The {ended.name} process ended by itself with exit code {ended.code}; its last lines above say why.")
    return 1
