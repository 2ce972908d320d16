"""`lakehouse generate`: feeds to try the lakehouse with, deterministic by seed."""

import click

from lakehouse_assets import samples
from lakehouse_assets.cli.found import FoundCommands


@click.group(cls=FoundCommands, package=samples, module="generate")
def generate() -> None:
    """Write feeds of a source as it would deliver them, good days and bad."""
