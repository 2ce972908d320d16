"""The `lakehouse` command: one subcommand a module, imported when it is called."""

import click

from lakehouse_assets import defs as domains
from lakehouse_assets.cli.found import command_of, folders_with
from lakehouse_assets.platform.common.errors import LakehouseError

COMMANDS = {
    "land": "lakehouse_assets.cli.land:land",
    "generate": "lakehouse_assets.cli.generate:generate",
    "sql": "lakehouse_assets.cli.sql:sql",
    "shell": "lakehouse_assets.cli.sql:shell",
    "quality": "lakehouse_assets.cli.quality:quality",
    "alerts": "lakehouse_assets.cli.alerts:alerts",
    "forget": "lakehouse_assets.cli.forget:forget",
    "history": "lakehouse_assets.cli.history:history",
    "lineage": "lakehouse_assets.cli.lineage:lineage",
    "replay": "lakehouse_assets.cli.replay:replay",
    "quarantine": "lakehouse_assets.cli.quarantine:quarantine",
    "maintain": "lakehouse_assets.cli.maintain:maintain",
    "warehouse": "lakehouse_assets.cli.warehouse:warehouse",
    "spark": "lakehouse_assets.cli.spark_commands:spark",
    "jars": "lakehouse_assets.cli.spark_commands:jars",
    "bi": "lakehouse_assets.cli.bi:bi",
    "bucket": "lakehouse_assets.cli.bucket:bucket",
    "s3": "lakehouse_assets.cli.servers:s3",
    "kafka": "lakehouse_assets.cli.servers:kafka",
    "produce": "lakehouse_assets.cli.produce:produce",
    "stream": "lakehouse_assets.cli.stream:stream",
    "doctor": "lakehouse_assets.cli.spark_commands:doctor",
    "dev": "lakehouse_assets.cli.dev:dev",
    "demo": "lakehouse_assets.cli.demo:demo",
}


class Commands(click.Group):
    """Commands by name; a domain adds its own as `defs/<domain>/cli.py` with a command called as the domain."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, a domain's own included."""
        return sorted([*COMMANDS, *folders_with(domains, "cli")])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command that was called."""
        if place := COMMANDS.get(cmd_name):
            module, _, name = place.partition(":")
            return command_of(module, name)
        of_domain = folders_with(domains, "cli").get(cmd_name)
        return command_of(of_domain, cmd_name) if of_domain else None

    def invoke(self, ctx: click.Context) -> object:
        """Errors meant for the user end in one message and exit code 1, without a traceback."""
        try:
            return super().invoke(ctx)
        except LakehouseError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lakehouse-assets")
def main() -> None:
    """A lakehouse in which the past stays right: land files, ask for figures as of any day, see where they came from.

    Materializing and backfilling is Dagster's: use its UI (`lakehouse dev`) or `dagster asset materialize`.
    """
    from lakehouse_assets.ops.home import prepare_dagster_home
    from lakehouse_assets.settings import settings

    prepare_dagster_home(settings())
