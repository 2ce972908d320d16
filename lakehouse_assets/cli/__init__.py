"""The `lakehouse` command: one subcommand a module, imported when it is called."""

import errno

import click

from lakehouse_assets import defs as domains
from lakehouse_assets.cli.found import command_of, folders_with
from lakehouse_assets.platform.common.errors import LakehouseError

COMMANDS = {
    "land": "lakehouse_assets.cli.land:land",
    "unland": "lakehouse_assets.cli.unland:unland",
    "materialize": "lakehouse_assets.cli.materialize:materialize",
    "status": "lakehouse_assets.cli.status:status",
    "tables": "lakehouse_assets.cli.tables:tables",
    "describe": "lakehouse_assets.cli.describe:describe",
    "versions": "lakehouse_assets.cli.tables:versions",
    "preview": "lakehouse_assets.cli.tables:preview",
    "config": "lakehouse_assets.cli.config:config",
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
    "notebook": "lakehouse_assets.cli.notebook:notebook",
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
        except OSError as error:
            if error.errno == errno.EPIPE:  # who read the output has read enough: click ends the process
                raise
            raise click.ClickException(_of_the_system(error)) from error
        except Exception as error:
            message = _of_a_library(error)
            if message is None:
                raise
            raise click.ClickException(message) from error


def _of_the_system(error: OSError) -> str:
    """What the system refused, by file where it says which."""
    message = error.strerror or str(error)
    return f"{error.filename}: {message}." if error.filename else f"{message}."


def _of_a_library(error: Exception) -> str | None:
    """What Delta or Spark refused, in one paragraph; None for an error of the project itself, which keeps its trace."""
    library = type(error).__module__.partition(".")[0]
    if library in ("deltalake", "_internal"):
        return f"Delta cannot read or write a table: {error}"
    if library == "pyspark":
        text = str(error).split("\n\nJVM stacktrace", 1)[0].strip()
        return f"Spark refused: {text}"
    return None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lakehouse-assets")
def main() -> None:
    """Land files, materialize tables, query them as of any day, and trace every figure to its files.

    Dagster runs the tables: `lakehouse dev` starts its UI, `lakehouse materialize` starts a run from here.

    \b
    Output: every command that lists something takes --format table|json|csv.
    Exit codes: 0 success; 1 the command failed, or what it reports is down or
    needs attention; 2 wrong usage: an unknown option, table or day; 3 a replay
    that cannot be made.

    \b
    Shell completion, of commands, options and table names:
      bash:  eval "$(_LAKEHOUSE_COMPLETE=bash_source lakehouse)"
      zsh:   eval "$(_LAKEHOUSE_COMPLETE=zsh_source lakehouse)"
      fish:  _LAKEHOUSE_COMPLETE=fish_source lakehouse | source
    """
    from lakehouse_assets.ops.home import prepare_dagster_home
    from lakehouse_assets.settings import settings

    prepare_dagster_home(settings())
