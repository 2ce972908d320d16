"""`lakehouse kafka|s3 start|stop|status`: the servers of this home, for development."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from lakehouse_assets.cli.output import format_option, show_record
from lakehouse_assets.settings import settings

if TYPE_CHECKING:
    from lakehouse_assets.platform.runtime.dev_server import HomeServer


def commands_of(name: str, server: "Callable[[], HomeServer]", says: str) -> click.Group:
    """start, stop and status of a server, which is imported when one of them is called."""

    @click.group(name=name, help=says)
    def group() -> None:
        pass

    @group.command()
    @format_option
    def start(output: str) -> None:
        """Start the server, or find the one that runs. It keeps its port and its data."""
        found = server().start(settings())
        show_record({"running": True, "port": found.port, "pid": found.process.pid}, output, f"127.0.0.1:{found.port}")

    @group.command()
    @format_option
    def stop(output: str) -> None:
        """End the server; its data stay."""
        stopped = server().stop(settings())
        show_record({"stopped": stopped}, output, "Stopped." if stopped else "None was running.")

    @group.command()
    @format_option
    def status(output: str) -> None:
        """Show the server. Exit code 1 when none runs."""
        found = server().running(settings())
        if found is None:
            show_record({"running": False}, output, "Not running.")
            raise SystemExit(1)
        record = {"running": True, "port": found.port, "pid": found.process.pid, "started": found.started}
        show_record(
            record, output, f"Running: 127.0.0.1:{found.port}, process {found.process.pid}, since {found.started}"
        )

    return group


def _kafka() -> "HomeServer":
    from lakehouse_assets.streaming.kafka_server import SERVER

    return SERVER


def _s3() -> "HomeServer":
    from lakehouse_assets.streaming.s3_server import SERVER

    return SERVER


kafka = commands_of("kafka", _kafka, "The Kafka broker of this home: one node, loopback, for development.")
s3 = commands_of("s3", _s3, "The S3 server of this home, over a folder, loopback, for development.")
