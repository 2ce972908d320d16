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
from lakehouse_assets.platform.landed_files import LandingError, NotNow
from lakehouse_assets.platform.landing import land, parts
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
    """The files of one domain. `max_files`: so many are landed at most before the tables are made.

    `refused`, and `known` to be landed already: files as they were, by their time in nanoseconds.
    """

    domain: str
    max_files: int = MAX_FILES
    days: int = 0
    refused: dict[tuple[Path, int], str] = field(default_factory=dict)
    known: set[tuple[Path, int]] = field(default_factory=set)
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

    def idle(self) -> None:
        """Nothing is left but what was refused."""
        self.state.lag, self.state.error = len(self.refused), next(iter(self.refused.values()), None)

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
        self.state.last_version = outcome.version
        self.told(f"{table.key} version {outcome.version}: {made} days")
        return made

    def _land(self, table: Table, file: Path) -> int:
        """Whether the file was landed; one that is refused is told once and left where it is, until it is another."""
        assert table.source is not None
        today, as_it_is = datetime.now(UTC).date(), _as_it_is(file)
        if as_it_is is None:
            return 0
        self.refused = {one: why for one, why in self.refused.items() if one[0] != file}
        try:
            found = land(self.settings.landing, landed_name(table.key), table.source, file, today=today)
        except NotNow:
            raise  # the file may be good: it is tried again
        except LandingError as error:
            self.refused[as_it_is] = str(error)
            self.told(str(error))
            return 0
        self.known.add(as_it_is)
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
                if file.is_file() and not file.name.startswith((".", "_"))
            ]
            for file in sorted(files, key=lambda file: (str(day_in_name((file.name, file.parent.name))), file.name)):
                now = _as_it_is(file)
                if now is None or now in self.refused or now in self.known:
                    continue
                if known.get(file.name, -1.0) < now[1] / 1e9:
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


def _as_it_is(file: Path) -> tuple[Path, int] | None:
    """A file and its time of change in nanoseconds; None: it was renamed or removed."""
    try:
        return file, file.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def with_inbox(catalog: Catalog) -> list[str]:
    """The domains whose files also come as a stream."""
    return sorted({table.key.domain for table in catalog.tables if table.source and table.source.streamed})
