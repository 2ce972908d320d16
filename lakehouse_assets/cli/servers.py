"""`lakehouse kafka|s3 start|stop|status`: the servers of this home, for development."""

import json

import click

from lakehouse_assets.platform.runtime.dev_server import HomeServer
from lakehouse_assets.settings import settings
from lakehouse_assets.streaming.kafka_server import SERVER as KAFKA
from lakehouse_assets.streaming.s3_server import SERVER as S3

FORMAT = click.option("--format", "output", type=click.Choice(["text", "json"]), default="text", show_default=True)


def commands_of(server: HomeServer, says: str) -> click.Group:
    """start, stop and status of a server."""

    @click.group(name=server.name, help=says)
    def group() -> None:
        pass

    @group.command()
    @FORMAT
    def start(output: str) -> None:
        """Start the server, or find the one that runs. It keeps its port and its data."""
        found = server.start(settings())
        _say(output, {"running": True, "port": found.port, "pid": found.process.pid}, f"127.0.0.1:{found.port}")

    @group.command()
    @FORMAT
    def stop(output: str) -> None:
        """End the server; its data stay."""
        stopped = server.stop(settings())
        _say(output, {"stopped": stopped}, "Stopped." if stopped else "None was running.")

    @group.command()
    @FORMAT
    def status(output: str) -> None:
        """Show the server. Exit code 1 when none runs."""
        found = server.running(settings())
        if found is None:
            _say(output, {"running": False}, "Not running.")
            raise SystemExit(1)
        message = {"running": True, "port": found.port, "pid": found.process.pid, "started": found.started}
        _say(output, message, f"Running: 127.0.0.1:{found.port}, process {found.process.pid}, since {found.started}")

    return group


def _say(output: str, data: dict[str, object], text: str) -> None:
    click.echo(json.dumps(data) if output == "json" else text)


kafka = commands_of(KAFKA, "The Kafka broker of this home: one node, loopback, for development.")
s3 = commands_of(S3, "The S3 server of this home, over a folder, loopback, for development.")
