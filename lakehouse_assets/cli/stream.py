"""`lakehouse stream`: run the streams of the declared tables, and see how they do."""

import signal
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.platform.errors import LakehouseError
from lakehouse_assets.settings import settings

if TYPE_CHECKING:
    from lakehouse_assets.platform.table import Table


class Streams(click.Group):
    """A command for each domain that has a stream, beside `status`."""

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
    """Streams into bronze: each record exactly once, whoever is killed when."""


@click.command()
@click.argument("name", required=False)
@format_option
def status(name: str | None, output: str) -> None:
    """How the streams do: records (of an inbox: files) not yet read, rate, last commit, restarts.

    With NAME: exit code 1 if it is down.
    """
    from lakehouse_assets.streaming.run import read_state

    here = settings()
    rows = []
    for domain, (tables, lag_of) in _lags().items():
        if name not in (None, domain):
            continue
        state = read_state(here, domain)
        try:
            lag: int | str = lag_of()
        except LakehouseError as error:
            lag = f"unknown: {str(error).splitlines()[0]}"
        now = datetime.now(UTC)
        age = (now - datetime.fromisoformat(state.last_commit)).total_seconds() if state and state.last_commit else None
        rows.append((
            domain, tables, state.mode if state else "never ran", lag, state.rate if state else None,
            state.records if state else 0, state.last_version if state else None, state.last_commit if state else None,
            None if age is None else round(age, 1), state.restarts if state else 0, state.error if state else None,
        ))  # fmt: skip
    columns = (
        "stream", "table", "mode", "lag", "records_per_second", "records", "last_version", "last_commit",
        "position_age_seconds", "restarts", "error",
    )  # fmt: skip
    show(Rows(columns, rows), output)
    if name is not None and not any(row[0] == name and row[2] == "continuous" for row in rows):
        raise SystemExit(1)


@click.command()
@click.argument("name")
@click.option("--commits", default=100, show_default=True, help="Newest commits of the stream to look at.")
@format_option
def latency(name: str, commits: int, output: str) -> None:
    """Seconds from an event's sending to bronze and to the live tables, from stored timestamps."""
    from lakehouse_assets import defs as domains
    from lakehouse_assets.platform.catalog import discover
    from lakehouse_assets.platform.plan import Lake
    from lakehouse_assets.streaming.latency import measure
    from lakehouse_assets.streaming.live import live_tables

    source = _streamed().get(name)
    if source is None:
        raise LakehouseError(f"There is no stream {name!r}. There are: {', '.join(_streamed())}")
    lake = Lake(settings().lake, settings().landing)
    rows: list[tuple[object, ...]] = []
    for live in live_tables(discover(domains), source.key):
        found = measure(lake, source, live, commits)
        if found:
            rows.append((str(source.key), found.events, *found.bronze.values()))
            rows.append((str(live.key), found.events, *found.live.values()))
    show(Rows(("table", "events", "median", "p95", "longest"), rows), output, "Seconds since sending")


OF_ALL = {"status": status, "latency": latency}


def _lags() -> "dict[str, tuple[str, Callable[[], int]]]":
    """Of each stream its tables, and how to ask what is not read yet."""
    from lakehouse_assets import defs as domains
    from lakehouse_assets.platform.catalog import discover
    from lakehouse_assets.platform.delta import last_position
    from lakehouse_assets.platform.plan import Lake
    from lakehouse_assets.streaming.inbox import Inbox

    here, catalog = settings(), discover(domains)
    lake = Lake(here.lake, here.landing)
    found: dict[str, tuple[str, Callable[[], int]]] = {}
    for domain, table in _streamed().items():
        source, path = table.stream, lake.path(table.key)
        assert source is not None
        found[domain] = str(table.key), lambda source=source, path=path: source.lag(last_position(path))  # type: ignore[misc]
    for domain in _inboxes():
        inbox = Inbox(here, catalog, domain)
        found[domain] = ", ".join(map(str, inbox.tables())), partial(inbox.waiting, lake)
    return found


def _streamed() -> dict[str, "Table"]:
    from lakehouse_assets import defs as domains
    from lakehouse_assets.platform.catalog import discover

    return {table.key.domain: table for table in discover(domains).tables if table.stream is not None}


def _command(name: str) -> click.Command:
    @click.command(name=name)
    @click.option("--continuous", is_flag=True, help="Read on until Ctrl-C, instead of what there is now.")
    @click.option("--interval", default=2.0, show_default=True, help="Seconds between looks at an idle source.")
    @click.option("--no-live", is_flag=True, help="Leave the live tables to Dagster.")
    def command(continuous: bool, interval: float, no_live: bool) -> None:
        """Read the source into bronze, and keep the live tables."""
        from lakehouse_assets import defs as domains
        from lakehouse_assets.platform.catalog import discover
        from lakehouse_assets.platform.levels import Levels
        from lakehouse_assets.platform.plan import Lake
        from lakehouse_assets.streaming.live import keep, live_tables
        from lakehouse_assets.streaming.run import Stream

        here, catalog = settings(), discover(domains)
        table = _streamed()[name]
        live = () if no_live else live_tables(catalog, table.key)
        levels = Levels(Lake(here.lake, here.landing), catalog)

        def after_batch(step, batch) -> None:  # type: ignore[no-untyped-def]
            for one in live:
                keep(step, levels, one)

        assert table.stream is not None
        running = Stream(
            here, catalog, table, table.stream, interval=interval, after_batch=after_batch, told=click.echo
        )
        if not continuous:
            state = running.run_available()
            click.echo(f"{state.records} records in {state.batches} commits.")
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: running.stop.set())
        running.run_continuously()

    return command


def _inboxes() -> list[str]:
    from lakehouse_assets import defs as domains
    from lakehouse_assets.platform.catalog import discover
    from lakehouse_assets.streaming.inbox import with_inbox

    return with_inbox(discover(domains))


def _inbox_command(name: str) -> click.Command:
    @click.command(name=name)
    @click.option("--continuous", is_flag=True, help="Go on until Ctrl-C, instead of what there is now.")
    @click.option("--max-files", default=100, show_default=True, help="Files landed before the tables are made.")
    @click.option("--interval", default=2.0, show_default=True, help="Seconds between looks at an empty inbox.")
    def command(continuous: bool, max_files: int, interval: float) -> None:
        """Land the files that arrive in LAKEHOUSE_INBOX/<domain>/<table>/ and make the days they change."""
        from uuid import uuid4

        from lakehouse_assets import defs as domains
        from lakehouse_assets.platform.catalog import discover
        from lakehouse_assets.platform.materialize import Step
        from lakehouse_assets.platform.plan import Lake
        from lakehouse_assets.platform.session import close_session, fence_dead_sessions, open_session
        from lakehouse_assets.streaming.inbox import Inbox

        here, catalog = settings(), discover(domains)
        inbox = Inbox(here, catalog, name, max_files, interval, told=click.echo)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: inbox.stop.set())
        fence_dead_sessions(here)
        run_id = f"stream-{name}-{uuid4().hex[:12]}"
        spark = open_session(here, run_id)
        try:
            drained = inbox.run(Step(spark, Lake(here.lake, here.landing), catalog, run_id), continuous)
        finally:
            close_session(spark)
        click.echo(f"{drained.files} files; days made: {sum(drained.days.values())}")

    return command
