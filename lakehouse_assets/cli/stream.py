"""`lakehouse stream`: run the streams of the declared tables, and see how they do."""

import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.settings import settings

if TYPE_CHECKING:
    from lakehouse_assets.platform.declare.stream_source import StreamSource
    from lakehouse_assets.platform.declare.table import Table
    from lakehouse_assets.platform.planning.step import Step
    from lakehouse_assets.streaming.inbox import Inbox
    from lakehouse_assets.streaming.run import Supervised
    from lakehouse_assets.streaming.state import State

CONTINUOUS = click.option("--continuous", is_flag=True, help="Read on until Ctrl-C, instead of what there is now.")
INTERVAL = click.option("--interval", default=2.0, show_default=True, help="Seconds between looks at an idle source.")
METRICS = click.option(
    "--metrics-port", type=click.IntRange(0, 65535), help="Answer Prometheus on this port of the loopback; 0: any."
)


class Streams(click.Group):
    """A command for each domain that has a stream, beside `status` and `latency`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the streams."""
        return sorted([*OF_ALL, *_streamed(), *_inboxes()])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a stream."""
        if cmd_name in OF_ALL:
            return OF_ALL[cmd_name]
        if cmd_name in _inboxes():
            return _inbox_command(cmd_name)
        return _command(cmd_name) if cmd_name in _streamed() else None


@click.group(cls=Streams)
def stream() -> None:
    """Run streaming ingestion into bronze (exactly once; safe to kill)."""


@click.command()
@click.argument("name", required=False)
@format_option
def status(name: str | None, output: str) -> None:
    """How the streams do: records not yet read, rate, last commit, restarts. With NAME: exit code 1 if it is down."""
    from lakehouse_assets.cli.declared import declared_tables
    from lakehouse_assets.platform.planning.plan import Lake
    from lakehouse_assets.streaming.arrivals import Arrivals
    from lakehouse_assets.streaming.state import read_state

    here = settings()
    lake = Lake(here.lake, here.landing)
    lags = {
        domain: (str(table.key), lambda table=table: table.stream.lag(lake.path(table.key)))
        for domain, table in _streamed().items()
    } | {
        domain: (f"files of {domain}", lambda domain=domain: Arrivals(here, declared_tables(), domain).lag(lake))
        for domain in _inboxes()
    }
    now, rows = datetime.now(UTC), []
    for domain, (subject, lag) in sorted(lags.items()):
        if name in (None, domain):
            rows.append((domain, subject, _told(lag), *_row(read_state(here, domain), now)))
    columns = (
        "stream", "table", "lag", "mode", "records_per_second", "records", "last_version", "last_commit",
        "position_age_seconds", "restarts", "error",
    )  # fmt: skip
    show(Rows(columns, rows), output)
    if name is not None and not any(row[0] == name and row[3] == "continuous" for row in rows):
        raise SystemExit(1)


def _told(lag: Callable[[], int]) -> int | str:
    """Records not read yet; where the source does not answer, why."""
    try:
        return lag()
    except LakehouseError as error:
        return f"unknown: {str(error).splitlines()[0]}"


def _row(state: "State | None", now: datetime) -> tuple[object, ...]:
    if state is None:
        return ("never ran", None, 0, None, None, None, 0, None)
    return (
        state.mode, state.rate, state.records, state.last_version, state.last_commit, state.position_age(now),
        state.restarts, state.error,
    )  # fmt: skip


@click.command()
@click.argument("name")
@click.option("--commits", default=100, show_default=True, help="Newest commits of the stream to look at.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page that stands alone.")
@format_option
def latency(name: str, commits: int, html: Path | None, output: str) -> None:
    """Seconds from an event's sending to bronze and to the live tables, from stored timestamps."""
    from lakehouse_assets.cli.declared import declared_tables
    from lakehouse_assets.platform.planning.plan import Lake
    from lakehouse_assets.streaming.latency import measure
    from lakehouse_assets.streaming.latency_page import write_page
    from lakehouse_assets.streaming.live_tables import live_tables

    source = _streamed().get(name)
    if source is None:
        raise LakehouseError(f"There is no stream {name!r}. There are: {', '.join(_streamed())}")
    lake = Lake(settings().lake, settings().landing)
    measured = [
        found
        for live in live_tables(declared_tables(), source.key)
        if (found := measure(lake, source, live, commits)) is not None
    ]
    if html is not None:
        write_page(measured, html)
        click.echo(f"{html}: {sum(found.events for found in measured)} events", err=True)
    rows: list[tuple[object, ...]] = []
    for found in measured:
        rows.append((found.source, found.events, *found.bronze.values()))
        rows.append((found.table, found.events, *found.live.values()))
    show(Rows(("table", "events", "median", "p95", "longest"), rows), output, "Seconds since sending")


OF_ALL = {"status": status, "latency": latency}


def _streamed() -> dict[str, "Table"]:
    from lakehouse_assets.cli.declared import declared_tables

    return {table.key.domain: table for table in declared_tables().tables if table.stream is not None}


def _inboxes() -> list[str]:
    from lakehouse_assets.cli.declared import declared_tables
    from lakehouse_assets.streaming.arrivals import with_inbox

    return with_inbox(declared_tables())


def _run(running: "Supervised", continuous: bool, metrics_port: int | None) -> "State":
    """Run a stream until it, or somebody, ends it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: running.stop.set())
    if metrics_port is not None:
        from lakehouse_assets.streaming.metrics import HOST, serve

        port = serve(metrics_port, lambda: [running.state])
        click.echo(f"Metrics: http://{HOST}:{port}/metrics")
    return running.run_continuously() if continuous else running.run_available()


def _command(name: str) -> click.Command:
    @click.command(name=name)
    @CONTINUOUS
    @INTERVAL
    @METRICS
    @click.option("--no-live", is_flag=True, help="Leave the live tables to Dagster.")
    @click.option("--accept-loss", is_flag=True, help="Go on without records that expired; the audit says which.")
    def command(continuous: bool, interval: float, metrics_port: int | None, no_live: bool, accept_loss: bool) -> None:
        """Read the source into bronze, and keep the live tables."""
        from lakehouse_assets.cli.declared import imported_tables
        from lakehouse_assets.platform.orchestration.staleness import Staleness
        from lakehouse_assets.platform.planning.plan import Lake
        from lakehouse_assets.streaming.live import keep
        from lakehouse_assets.streaming.live_tables import live_tables
        from lakehouse_assets.streaming.run import Stream

        here, catalog = settings(), imported_tables()
        table = next(one for one in catalog.tables if one.key.domain == name and one.stream is not None)
        live = () if no_live else live_tables(catalog, table.key)
        staleness = Staleness(Lake(here.lake, here.landing), catalog)

        def keep_live(step: "Step") -> None:
            for one in live:
                keep(step, staleness, one)

        source = _source(table, continuous, accept_loss)
        running = Stream(
            settings=here, catalog=catalog, table=table, source=source, interval=interval, keep=keep_live,
            told=click.echo,
        )  # fmt: skip
        state = _run(running, continuous, metrics_port)
        click.echo(f"{state.records} records in {state.batches} commits.")

    return command


def _source(table: "Table", continuous: bool, accept_loss: bool) -> "StreamSource":
    """Where the table's stream comes from. Raises UsageError for a loss that cannot be accepted."""
    from dataclasses import replace

    from lakehouse_assets.streaming.kafka_topic import KafkaTopic

    assert table.stream is not None
    if not accept_loss:
        return table.stream
    if continuous or not isinstance(table.stream, KafkaTopic):
        raise click.UsageError(
            "--accept-loss is for a topic, of what has expired up to now: run it once, without --continuous."
        )
    return replace(table.stream, accept_loss=True)


def _inbox(name: str) -> "Inbox":
    from lakehouse_assets.cli.declared import imported_tables
    from lakehouse_assets.streaming.inbox import Inbox

    return Inbox(settings=settings(), catalog=imported_tables(), domain=name, told=click.echo)


def _inbox_command(name: str) -> click.Command:
    @click.command(name=name)
    @CONTINUOUS
    @INTERVAL
    @METRICS
    @click.option("--max-files", default=100, show_default=True, help="Files landed before the tables are made.")
    def command(continuous: bool, interval: float, metrics_port: int | None, max_files: int) -> None:
        """Land the files that arrive in LAKEHOUSE_INBOX/<domain>/<table>/ and make the days they change."""
        inbox = _inbox(name)
        inbox.interval, inbox.max_files = interval, max_files
        state = _run(inbox, continuous, metrics_port)
        click.echo(f"{state.records} files; days made: {inbox.days}")

    return command
