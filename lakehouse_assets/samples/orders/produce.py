"""`lakehouse produce orders`."""

from collections.abc import Iterator
from pathlib import Path

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.settings import settings


@click.command()
@click.option("--from", "source", required=True, type=click.Path(path_type=Path), help="A daily file, or a folder.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Events a second; default: at once.")
@click.option("--speedup", type=click.FloatRange(min=0, min_open=True), help="As the events came, so much faster.")
@click.option("--topic", help="Default: the topic that the orders are read from.")
@click.option("--partitions", default=3, show_default=True, help="Partitions of the topic, where it must be made.")
@format_option
def orders(
    source: Path, rate: float | None, speedup: float | None, topic: str | None, partitions: int, output: str
) -> None:
    """Order lines of daily files (either set of column names), each with its own time as the record's."""
    from lakehouse_assets.defs.orders.event import TOPIC
    from lakehouse_assets.samples.orders.producer import events_of, paced, send
    from lakehouse_assets.streaming.kafka_client import client_options, ensure_topic

    if rate and speedup:
        raise click.UsageError("--rate or --speedup, not both.")
    files = list(_files(source))
    to = topic or TOPIC
    ensure_topic(settings(), to, partitions)
    events = (event for file in files for event in events_of(file))
    found = send(client_options(settings()), paced(events, rate, speedup), to)
    columns = ("topic", "files", "sent", "delivered", "failed")
    show(Rows(columns, [(to, len(files), found.sent, found.delivered, found.failed)]), output)


def _files(source: Path) -> Iterator[Path]:
    if source.is_dir():
        found = sorted(source.glob("*.csv"))
        if not found:
            raise LakehouseError(f"{source}: no *.csv in this folder.")
        yield from found
    else:
        yield source
