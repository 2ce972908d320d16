"""A stream that keeps running: round after round, started anew with growing pauses after what may pass by itself."""

import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark.errors import PySparkException

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.stream_source import StreamSource
from lakehouse_assets.platform.declare.table import Table
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.storage.schema_evolution import SchemaMismatch
from lakehouse_assets.platform.streams.stream_ingest import Batch, drain
from lakehouse_assets.settings import Settings
from lakehouse_assets.streaming.state import STARTING, State

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


@dataclass(kw_only=True)
class Supervised(ABC):
    """Work in rounds on a Spark session of its own, until `stop` is set. What it says of itself goes to `state`."""

    settings: Settings
    catalog: Catalog
    interval: float = 2.0
    told: Callable[[str], None] = lambda line: None
    stop: threading.Event = field(default_factory=threading.Event)
    state: State = field(init=False)

    def __post_init__(self) -> None:
        self.state = State.begin(self.name, self.subject, STARTING)

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the stream: the domain."""

    @property
    @abstractmethod
    def subject(self) -> str:
        """What is brought: a table, or the files of a domain."""

    @property
    @abstractmethod
    def permanent(self) -> tuple[type[Exception], ...]:
        """Errors that another try cannot mend."""

    @abstractmethod
    def opened(self, step: Step) -> None:
        """Do what a predecessor that was killed left undone."""

    @abstractmethod
    def round(self, step: Step) -> bool:
        """Take what is there next; False when there is nothing."""

    @abstractmethod
    def available(self, step: Step) -> None:
        """Take all that is there now, and not what arrives meanwhile."""

    def idle(self) -> None:
        """Say that nothing is left to take."""
        self.state.lag, self.state.error = 0, None

    def run_available(self) -> State:
        """Read what there is now, then end. Raises what went wrong."""
        self._begin("available")
        step = self._open()
        try:
            self.opened(step)
            self.available(step)
        except (LakehouseError, PySparkException) as error:
            self.state.failed(error)
            self.state.write(self.settings)
            raise
        finally:
            self._close(step)
        return self.state.write(self.settings)

    def run_continuously(self) -> State:
        """Read on until `stop` is set; after an error that may pass, again, after a pause that doubles up to a minute.

        Raises what cannot pass: records that are gone, a table that is not the declared one.
        """
        self._begin("continuous")
        pause = FIRST_PAUSE
        while not self.stop.is_set():
            step: Step | None = None
            try:
                step = self._open()
                self.opened(step)
                while not self.stop.is_set():
                    took = self.round(step)
                    pause = FIRST_PAUSE
                    if not took:
                        self.idle()
                        self.state.write(self.settings)
                        self.stop.wait(self.interval)
            except (LakehouseError, PySparkException) as error:
                self.state.failed(error)
                if isinstance(error, (*self.permanent, SchemaMismatch)):
                    self.state.write(self.settings)
                    raise
                self.state.restarts += 1
                self.state.write(self.settings)
                self.told(f"{self.name}: {error}\nAgain in {pause:.0f} s.")
                self.stop.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            finally:
                if step is not None:
                    self._close(step)
        return self.state.write(self.settings)

    def _begin(self, mode: str) -> None:
        self.state = State.begin(self.name, self.subject, mode).write(self.settings)

    def _open(self) -> Step:
        from lakehouse_assets.platform.runtime.sessions import open_session

        run_id = f"stream-{self.name}-{uuid.uuid4().hex[:12]}"
        session: SparkSession = open_session(self.settings, run_id)
        return Step(session, Lake(self.settings.lake, self.settings.landing), self.catalog, run_id)

    def _close(self, step: Step) -> None:
        from lakehouse_assets.platform.runtime.sessions import close_session

        close_session(step.spark)


@dataclass(kw_only=True)
class Stream(Supervised):
    """One table's stream in this process.

    `keep` runs when the stream starts and after every commit, on the same session: what it keeps up to date itself.
    """

    table: Table
    source: StreamSource
    keep: Callable[[Step], None] = lambda step: None

    @property
    def name(self) -> str:
        """The domain."""
        return self.table.key.domain

    @property
    def subject(self) -> str:
        """The table."""
        return str(self.table.key)

    @property
    def permanent(self) -> tuple[type[Exception], ...]:
        """Those of the source."""
        return self.source.permanent

    def opened(self, step: Step) -> None:
        """Keep what a predecessor committed and did not keep."""
        if step.lake.version(self.table.key) is not None:
            self.keep(step)

    def round(self, step: Step) -> bool:
        """Commit a batch."""
        batch = drain(step, self.table, self.source)
        if batch is not None:
            self._took(batch)
            self.keep(step)
        return batch is not None

    def available(self, step: Step) -> None:
        """Commit what the source holds now."""
        end, took = self.source.end(step.lake.path(self.table.key)), False
        while end is not None and not self.stop.is_set() and (batch := drain(step, self.table, self.source, end)):
            self._took(batch)
            took = True
        if took:
            self.keep(step)

    def _took(self, batch: Batch) -> None:
        self.state.took(batch.records, batch.version, batch.lag)
        self.state.write(self.settings)
        days = ", ".join(f"{day}: {rows}" for day, rows in batch.rows.items())
        self.told(f"{self.table.key} version {batch.version}: {batch.records} records ({days}), lag {batch.lag}")
