"""`lakehouse status`: what runs, which days are stale and why, which failed."""

from collections.abc import Collection, Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.settings import Settings, settings

if TYPE_CHECKING:
    from lakehouse_assets.platform.declare.table import Table
    from lakehouse_assets.platform.orchestration.staleness import Staleness


class Line(NamedTuple):
    """One thing to know. `why` says what the state means, or which command changes it."""

    what: str
    subject: str
    state: str
    why: str


@click.command()
@format_option
def status(output: str) -> None:
    """Show what runs, which days are stale and why, and which failed. Exit code 1 when days failed.

    A missing day was never materialized, though its inputs have it; a stale one was before an input changed. Sensors
    request both; `lakehouse materialize` does so now. An outdated day was materialized by other code, and stays.
    """
    here = settings()
    lines = [*_servers(here), *_streams(here), *_runs(here), *_days(here)]
    show(Rows(Line._fields, lines), output)
    if any(line.state == "failed" for line in lines):
        raise SystemExit(1)


def _servers(here: Settings) -> Iterator[Line]:
    from lakehouse_assets.platform.runtime.spark_server import server_status
    from lakehouse_assets.streaming.kafka_server import SERVER as KAFKA
    from lakehouse_assets.streaming.s3_server import SERVER as S3

    if here.spark_remote is not None:
        yield Line("server", "spark", "external", "LAKEHOUSE_SPARK_REMOTE names a cluster")
    elif (found := server_status(here)).running:
        yield Line("server", "spark", "running", f"port {found.port}, {len(found.sessions)} sessions")
    else:
        yield Line("server", "spark", "stopped", "starts with the first run, or by `lakehouse spark start`")
    for server in (KAFKA, S3):
        if (home := server.running(here)) is not None:
            yield Line("server", server.name, "running", f"127.0.0.1:{home.port}")


def _streams(here: Settings) -> Iterator[Line]:
    from lakehouse_assets.streaming.state import ENDED, read_state

    for file in sorted((here.home.absolute() / "streams").glob("*.json")):
        state = read_state(here, file.stem)
        if state is not None:
            message = f"{state.records} records, {state.restarts} restarts"
            yield Line("stream", state.name, "ended" if state.mode == ENDED else "running", state.error or message)


def _runs(here: Settings) -> Iterator[Line]:
    """Runs that are queued or at work. Dagster is imported only where it has ever kept a run."""
    import os

    if not _has_runs(Path(os.environ["DAGSTER_HOME"])):
        return
    import dagster as dg

    from lakehouse_assets.ops.ui import run_link

    at_work = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    with dg.DagsterInstance.get() as instance:
        for run in instance.get_runs(dg.RunsFilter(statuses=at_work)):
            yield Line("run", run.run_id, run.status.value.lower(), run_link(here.home, run.run_id))


def _has_runs(dagster_home: Path) -> bool:
    text = (dagster_home / "dagster.yaml").read_text(encoding="utf-8")
    external = any(line.startswith(("storage:", "run_storage:")) for line in text.splitlines())
    return external or (dagster_home / "history" / "runs.db").exists()


def _days(here: Settings) -> Iterator[Line]:
    from lakehouse_assets.cli.declared import declared_tables
    from lakehouse_assets.platform.common.days import write_days
    from lakehouse_assets.platform.orchestration.staleness import Staleness
    from lakehouse_assets.platform.planning.plan import Lake

    catalog = declared_tables()
    staleness = Staleness(Lake(here.lake, here.landing), catalog)
    staleness.refresh()
    co_materialized = {one.key for table in catalog.tables for one in table.co_materialized}
    for table in catalog.tables:
        failed = staleness.failures(table.key)
        if failed:
            why = f"a blocking check failed: `lakehouse quality --domain {table.key.domain}` shows which"
            yield Line("days", str(table.key), "failed", f"{write_days(failed)}: {why}")
        if table.key not in co_materialized:
            yield from _stale(staleness, table, failed.keys())


def _stale(staleness: "Staleness", table: "Table", failed: Collection[date]) -> Iterator[Line]:
    """The days of a table that its inputs have and it has not, or not as they are now, by the inputs that changed."""
    from lakehouse_assets.platform.common.days import write_days
    from lakehouse_assets.platform.fingerprint.code_version import code_version

    stale = staleness.stale(table)
    ready = staleness.to_make(table, stale)
    by_reason: dict[tuple[str, str], set[date]] = {}
    for day, changes in stale.items():
        if day in failed and day not in ready:
            continue
        held = staleness.of(table.key).made(table, day)
        state = "blocked" if day not in ready else "stale" if held else "missing"
        inputs = ", ".join(sorted(str(table.reads[name].table) for name in changes))
        by_reason.setdefault((state, inputs), set()).add(day)
    for (state, inputs), days in sorted(by_reason.items()):
        blocked = "; a failed or unvalidated input day blocks it" if state == "blocked" else ""
        why = f"{inputs} {'has data of it' if state == 'missing' else 'changed'}{blocked}"
        yield Line("days", str(table.key), state, f"{write_days(days)}: {why}")
    built = staleness.of(table.key).built
    if not built:
        return
    now = code_version(table)
    outdated = {day for day, of in built.items() if of.metadata.code_version != now and day not in stale}
    if outdated:
        yield Line("days", str(table.key), "outdated", f"{write_days(outdated)}: materialized by other code")
