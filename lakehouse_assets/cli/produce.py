"""`lakehouse produce`: send a source's events to Kafka, as its application would."""

import click

from lakehouse_assets import samples
from lakehouse_assets.cli.found import FoundCommands


@click.group(cls=FoundCommands, package=samples, module="produce")
def produce() -> None:
    """Send events to Kafka, and count what Kafka confirms."""
