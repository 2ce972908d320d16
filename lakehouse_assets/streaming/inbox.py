"""A stream of files: what arrives in `<inbox>/<domain>/<table>/` is landed, and the days it changes are made at once.

There is no checkpoint that could disagree with the tables. What was read is what the manifest of landed files names;
what is still to be made is what is behind it (`levels.py`). So a stream killed anywhere goes on where the lake is, and
so does Dagster: both do the same steps, and of two at once one is computed again.
"""

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lakehouse_assets.platform.catalog import Catalog
from lakehouse_assets.platform.drift import day_in_name
from lakehouse_assets.platform.errors import LakehouseError
from lakehouse_assets.platform.landing import Landed, LandingError, land, parts
from lakehouse_assets.platform.levels import Levels
from lakehouse_assets.platform.materialize import Step, materialize
from lakehouse_assets.platform.outcome import Status
from lakehouse_assets.platform.plan import Lake, landed_name, make_plan
from lakehouse_assets.platform.processes import ProcessId
from lakehouse_assets.platform.reader import read_inputs
from lakehouse_assets.platform.session_records import write_json
from lakehouse_assets.platform.table import Table, TableKey
from lakehouse_assets.settings import Settings
from lakehouse_assets.streaming.run import State, state_file

MAX_FILES = 100


class NoInbox(LakehouseError):
    """Nobody said where the files arrive."""


class Refused(LakehouseError):
    """Files that could not be landed; all others were."""


@dataclass(frozen=True)
class Drained:
    """One round: files landed and their rows, days made by table, and the newest version of the last table."""

    files: int
    days: dict[TableKey, int]
    rows: int = 0
    version: int | None = None


@dataclass
class Inbox:
    """The files of one domain. `max_files`: so many are landed at most before the tables are made."""

    settings: Settings
    catalog: Catalog
    domain: str
    max_files: int = MAX_FILES
    interval: float = 2.0
    told: Callable[[str], None] = lambda line: None
    stop: threading.Event = field(default_factory=threading.Event)
    refused: dict[Path, str] = field(default_factory=dict)

    def run(self, step: Step, continuous: bool) -> Drained:
        """Drain what there is; `continuous`: go on until `stop` is set. Raises NoInbox, Refused (if not continuous)."""
        levels, files, days = Levels(step.lake, self.catalog), 0, dict[TableKey, int]()
        state = self._state("continuous" if continuous else "available")
        while not self.stop.is_set():
            try:
                drained = self.drain(step, levels)
            except LakehouseError as error:
                self._say(state, error=str(error))
                raise
            self._say(state, drained)
            files += drained.files
            for key, number in drained.days.items():
                days[key] = days.get(key, 0) + number
            if drained.files or drained.days:
                continue
            if not continuous:
                break
            self.stop.wait(self.interval)
        if self.refused and not continuous:
            raise Refused("\n".join(self.refused.values()))
        return Drained(files, days)

    def drain(self, step: Step, levels: Levels) -> Drained:
        """Land the next files, oldest day first, then make every day that is behind. Raises NoInbox, LakehouseError."""
        new = [self._land(table, file) for table, file in list(self._new(step.lake))[: self.max_files]]
        landed = [one for one in new if one is not None and not one.already_landed]
        made: dict[TableKey, int] = {}
        version = None
        for table in self._tables():
            levels.read_on()
            days = sorted(levels.behind(table))
            if days:
                plan = make_plan(step.lake, table, days)
                inputs = read_inputs(step.spark, step.lake, plan, self.catalog)
                outcome = materialize(step, plan, table(**inputs))
                for day in outcome.days:
                    if day.status is not Status.COMMITTED:
                        self.told(f"{table.key} {day.day} {day.status.value}: {'; '.join(day.reasons)}")
                made[table.key], version = len(outcome.with_status(Status.COMMITTED)), outcome.version
                self.told(f"{table.key} version {outcome.version}: {made[table.key]} days")
        rows = sum(sum(one.days.values()) for one in landed)
        return Drained(len(landed), {key: number for key, number in made.items() if number}, rows, version)

    def waiting(self, lake: Lake) -> int:
        """Files that are not landed yet. Raises NoInbox."""
        return sum(1 for _ in self._new(lake))

    def tables(self) -> list[TableKey]:
        """The bronze tables of these files."""
        return [table.key for table in self._streamed()]

    def _land(self, table: Table, file: Path) -> Landed | None:
        """Land a file; one that is refused is told once and left where it is."""
        assert table.source is not None
        today = datetime.now(UTC).date()
        try:
            return land(self.settings.landing, landed_name(table.key), table.source, file, today=today)
        except LandingError as error:
            self.refused[file] = str(error)
            self.told(str(error))
            return None

    def _state(self, mode: str) -> State:
        process = ProcessId.of(os.getpid())
        assert process is not None, "this process runs"
        tables = ", ".join(map(str, self.tables()))
        return State(self.domain, tables, process, datetime.now(UTC).isoformat(), mode)

    def _say(self, state: State, drained: Drained | None = None, error: str | None = None) -> None:
        """Write down how the stream does, for `lakehouse stream status`."""
        now = datetime.now(UTC)
        if drained and drained.files:
            seconds = (now - datetime.fromisoformat(state.last_commit or state.started)).total_seconds()
            state.batches, state.records = state.batches + 1, state.records + drained.rows
            state.rate, state.last_commit = round(drained.rows / max(seconds, 0.001), 1), now.isoformat()
        if drained and drained.version is not None:
            state.last_version = drained.version
        state.error, state.last_looked = error or next(iter(self.refused.values()), None), now.isoformat()
        write_json(state_file(self.settings, self.domain), asdict(state))

    def _new(self, lake: Lake) -> Iterator[tuple[Table, Path]]:
        """Files that the manifests do not name, or that were changed since they were landed; by day and name."""
        folder = self.settings.inbox
        if folder is None:
            raise NoInbox(
                "Nobody said where files arrive. Set LAKEHOUSE_INBOX to the folder of <domain>/<table>/<file>."
            )
        if not isinstance(lake.landing, Path):
            # Whether a file was changed since it was landed is seen by this machine's clock, not by that of a bucket.
            raise NoInbox(
                f"A stream of files needs landed files in a folder, not in {lake.landing} (LAKEHOUSE_LANDING)."
            )
        for table in self._streamed():
            landed = [(part.name, part.path) for part in parts(lake.landing, landed_name(table.key))]
            known = {name: path.stat().st_mtime for name, path in landed if isinstance(path, Path) and path.exists()}
            files = [
                file
                for file in (folder / self.domain / table.key.name).glob("**/*.*")
                if file.is_file() and not file.name.startswith((".", "_")) and file not in self.refused
            ]
            for file in sorted(files, key=lambda file: (str(day_in_name((file.name, file.parent.name))), file.name)):
                if known.get(file.name, -1.0) < file.stat().st_mtime:
                    yield table, file

    def _streamed(self) -> list[Table]:
        return [t for t in self.catalog.tables if t.key.domain == self.domain and t.source and t.source.streamed]

    def _tables(self) -> list[Table]:
        """The tables of these files and those made of them alone, upstream first."""
        bronze = self._streamed()
        keys = {table.key for table in bronze}
        silver = [
            table
            for table in self.catalog.tables
            if table.key not in keys and table.reads and {read.table for read in table.reads.values()} <= keys
        ]
        return [*bronze, *silver]


def with_inbox(catalog: Catalog) -> list[str]:
    """The domains whose files also come as a stream."""
    return sorted({table.key.domain for table in catalog.tables if table.source and table.source.streamed})
