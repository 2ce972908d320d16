"""A stream of files: what arrives in `<inbox>/<domain>/<table>/` is landed, and the days it changes are made at once.

There is no checkpoint that could disagree with the tables. What was read is what the manifest of landed files names;
what is still to be made is what is behind it (`levels.py`). So a stream killed anywhere goes on where the lake is, and
so does Dagster: both do the same steps, and of two at once one is computed again.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lakehouse_assets.platform.catalog import Catalog
from lakehouse_assets.platform.drift import day_in_name
from lakehouse_assets.platform.errors import LakehouseError
from lakehouse_assets.platform.landing import LandingError, land, parts
from lakehouse_assets.platform.levels import Levels
from lakehouse_assets.platform.materialize import Step, materialize
from lakehouse_assets.platform.outcome import Status
from lakehouse_assets.platform.plan import Lake, landed_name, make_plan
from lakehouse_assets.platform.reader import read_inputs
from lakehouse_assets.platform.table import Table, TableKey
from lakehouse_assets.settings import Settings

MAX_FILES = 100


class NoInbox(LakehouseError):
    """Nobody said where the files arrive."""


class Refused(LakehouseError):
    """Files that could not be landed; all others were."""


@dataclass(frozen=True)
class Drained:
    """One round: files landed, and days made by table."""

    files: int
    days: dict[TableKey, int]


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
        while not self.stop.is_set():
            drained = self.drain(step, levels)
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
        landed = 0
        for table, file in list(self._new(step.lake))[: self.max_files]:
            landed += self._land(table, file)
        made: dict[TableKey, int] = {}
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
                made[table.key] = len(outcome.with_status(Status.COMMITTED))
                self.told(f"{table.key} version {outcome.version}: {made[table.key]} days")
        return Drained(landed, {key: number for key, number in made.items() if number})

    def _land(self, table: Table, file: Path) -> int:
        """Whether the file was landed; one that is refused is told once and left where it is."""
        assert table.source is not None
        today = datetime.now(UTC).date()
        try:
            found = land(self.settings.landing, landed_name(table.key), table.source, file, today=today)
        except LandingError as error:
            self.refused[file] = str(error)
            self.told(str(error))
            return 0
        return 0 if found.already_landed else 1

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
