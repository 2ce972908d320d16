"""A stream that keeps running: batch after batch, started anew with growing pauses after what may pass by itself."""

import os
import threading
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.errors import PySparkException

from lakehouse_assets.platform.catalog import Catalog
from lakehouse_assets.platform.errors import LakehouseError
from lakehouse_assets.platform.materialize import Step
from lakehouse_assets.platform.plan import Lake
from lakehouse_assets.platform.processes import ProcessId
from lakehouse_assets.platform.session_records import write_json
from lakehouse_assets.platform.stream import Batch, StreamSource, drain_available
from lakehouse_assets.platform.table import Table
from lakehouse_assets.platform.writer import ForeignTable
from lakehouse_assets.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
RATE_SECONDS = 60.0


class Permanent(LakehouseError):
    """An error that another try cannot mend. A source's own are named by `StreamSource.permanent`."""


@dataclass
class State:
    """What a stream says of itself, in `<home>/streams/<name>.json`. Times are ISO, UTC; rate in records a second."""

    name: str
    table: str
    process: ProcessId
    started: str
    mode: str
    restarts: int = 0
    batches: int = 0
    records: int = 0
    rate: float = 0.0
    last_version: int | None = None
    last_commit: str | None = None
    last_looked: str | None = None
    error: str | None = None


@dataclass
class Stream:
    """One table's stream in this process.

    `after_batch` runs after every commit of the stream, on the same session: what the stream keeps up to date itself.
    """

    settings: Settings
    catalog: Catalog
    table: Table
    source: StreamSource
    interval: float = 2.0
    after_batch: Callable[[Step, Batch], None] = lambda step, batch: None
    told: Callable[[str], None] = lambda line: None
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def name(self) -> str:
        """Name of the stream: the domain."""
        return self.table.key.domain

    def run_available(self) -> State:
        """Read what the source holds now, then end. Raises what went wrong."""
        state = self._state("available")
        step = self._open()
        try:
            for batch in drain_available(step, self.table, self.source):
                self._take(step, state, batch)
        finally:
            self._close(step)
        return self._looked(state)

    def run_continuously(self) -> State:
        """Read on until `stop` is set; after an error that may pass, again, after a pause that doubles up to a minute.

        Raises what cannot pass: records that are gone, a table that is not the declared one.
        """
        state, pause = self._state("continuous"), FIRST_PAUSE
        while not self.stop.is_set():
            step: Step | None = None
            try:
                step = self._open()
                while not self.stop.is_set():
                    batch = self.source.drain(step, self.table)
                    pause = FIRST_PAUSE
                    if batch is None:
                        self._looked(state)
                        self.stop.wait(self.interval)
                    else:
                        self._take(step, state, batch)
            except (LakehouseError, PySparkException) as error:
                if isinstance(error, (*self.source.permanent, ForeignTable)):
                    self._failed(state, error)
                    raise
                state.restarts += 1
                self._failed(state, error)
                self.told(f"{self.name}: {error}\nAgain in {pause:.0f} s.")
                self.stop.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            finally:
                if step is not None:
                    self._close(step)
        return self._looked(state)

    def _open(self) -> Step:
        from lakehouse_assets.platform.session import fence_dead_sessions, open_session

        run_id = f"stream-{self.name}-{uuid.uuid4().hex[:12]}"
        fence_dead_sessions(self.settings)
        session: SparkSession = open_session(self.settings, run_id)
        return Step(session, Lake(self.settings.lake, self.settings.landing), self.catalog, run_id)

    def _close(self, step: Step) -> None:
        from lakehouse_assets.platform.session import close_session

        close_session(step.spark)

    def _take(self, step: Step, state: State, batch: Batch) -> None:
        now = datetime.now(UTC)
        before = datetime.fromisoformat(state.last_commit or state.started)
        state.rate = round(batch.records / max((now - before).total_seconds(), 0.001), 1)
        state.batches, state.records = state.batches + 1, state.records + batch.records
        state.last_version, state.last_commit, state.error = batch.version, now.isoformat(), None
        self._looked(state)
        days = ", ".join(f"{day}: {rows}" for day, rows in batch.rows.items())
        self.told(f"{self.table.key} version {batch.version}: {batch.records} records ({days}), lag {batch.lag}")
        self.after_batch(step, batch)

    def _looked(self, state: State) -> State:
        state.last_looked = datetime.now(UTC).isoformat()
        write_json(state_file(self.settings, self.name), asdict(state))
        return state

    def _failed(self, state: State, error: Exception) -> None:
        state.error = str(error).split("\n\nJVM stacktrace", 1)[0][:1000]
        self._looked(state)

    def _state(self, mode: str) -> State:
        process = ProcessId.of(os.getpid())
        assert process is not None, "this process runs"
        state = State(self.name, str(self.table.key), process, datetime.now(UTC).isoformat(), mode)
        return self._looked(state)


def state_file(settings: Settings, name: str) -> Path:
    """Where a stream writes what it says of itself."""
    return settings.home.absolute() / "streams" / f"{name}.json"


def read_state(settings: Settings, name: str) -> State | None:
    """What the stream of a name said last; None: it never ran here."""
    import json

    try:
        data: dict[str, Any] = json.loads(state_file(settings, name).read_text())
    except FileNotFoundError:
        return None
    state = State(**{**data, "process": ProcessId(**data["process"])})
    return state if state.process.alive else replace(state, mode="ended")
