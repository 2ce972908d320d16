"""A stream of files: what arrives in `<inbox>/<domain>/<table>/` is landed, and the days it changes are made at once.

There is no checkpoint that could disagree with the tables. What was read is what the manifest of landed files names;
what is still to be made is what is behind it (`levels.py`). So a stream killed anywhere goes on where the lake is, and
so does Dagster: both do the same steps, and of two at once one is computed again.
"""

from collections.abc import Iterator
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
from lakehouse_assets.platform.table import Table
from lakehouse_assets.streaming.run import Supervised

MAX_FILES = 100


class NoInbox(LakehouseError):
    """Nobody said where the files arrive."""


class Refused(LakehouseError):
    """Files that could not be landed; all others were."""


@dataclass(kw_only=True)
class Inbox(Supervised):
    """The files of one domain. `max_files`: so many are landed at most before the tables are made."""

    domain: str
    max_files: int = MAX_FILES
    days: int = 0
    refused: dict[Path, str] = field(default_factory=dict)
    _levels: Levels = field(init=False)

    @property
    def name(self) -> str:
        """The domain."""
        return self.domain

    @property
    def subject(self) -> str:
        """The domain's files."""
        return f"files of {self.domain}"

    @property
    def permanent(self) -> tuple[type[Exception], ...]:
        """An inbox that nobody named."""
        return (NoInbox,)

    def opened(self, step: Step) -> None:
        """Nothing: a round makes whatever is behind, whoever landed it."""
        self._levels = Levels(step.lake, self.catalog)

    def available(self, step: Step) -> None:
        """Land and make until nothing is left. Raises NoInbox, Refused."""
        while not self.stop.is_set() and self.round(step):
            pass
        if self.refused:
            raise Refused("\n".join(self.refused.values()))

    def round(self, step: Step) -> bool:
        """Land the next files, oldest day first, then make every day that is behind. Raises NoInbox, LakehouseError."""
        waiting = list(self._new(step.lake))
        landed = sum(self._land(table, file) for table, file in waiting[: self.max_files])
        if landed:
            self.state.took(landed, None, max(0, len(waiting) - self.max_files))
            self.state.write(self.settings)
        made = sum([self._make(step, table) for table in self._tables()])
        self.days += made
        return bool(landed or made)

    def lag(self, lake: Lake) -> int:
        """Files that are not landed yet. Raises NoInbox."""
        return len(list(self._new(lake)))

    def _make(self, step: Step, table: Table) -> int:
        """Make what is behind of a table; how many days were committed."""
        self._levels.read_on()
        days = sorted(self._levels.behind(table))
        if not days:
            return 0
        plan = make_plan(step.lake, table, days)
        outcome = materialize(step, plan, table(**read_inputs(step.spark, step.lake, plan, self.catalog)))
        for day in outcome.days:
            if day.status is not Status.COMMITTED:
                self.told(f"{table.key} {day.day} {day.status.value}: {'; '.join(day.reasons)}")
        made = len(outcome.with_status(Status.COMMITTED))
        self.told(f"{table.key} version {outcome.version}: {made} days")
        return made

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
