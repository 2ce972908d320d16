"""A stream of files: what arrives in `<inbox>/<domain>/<table>/` is landed, and the days it changes are made at once.

There is no checkpoint that could disagree with the tables. What was read is what the manifest of landed files names;
what is still to be made is what is behind it (`staleness.py`). So a stream killed anywhere goes on where the lake is,
and so does Dagster: both do the same steps, and of two at once one is computed again.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import Table
from lakehouse_assets.platform.ingest.delivery_names import FileSet, SourceFile, Unreadable, canonical, found_below
from lakehouse_assets.platform.ingest.file_readers import LandingError, NotNow, NotYet
from lakehouse_assets.platform.ingest.landing import land
from lakehouse_assets.platform.ingest.landing_status import FileState, SeenFiles, state_of
from lakehouse_assets.platform.ingest.schema_drift import day_in_name
from lakehouse_assets.platform.orchestration.staleness import Staleness
from lakehouse_assets.platform.planning.plan import Lake, landed_name
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.results.step_result import Status
from lakehouse_assets.platform.transform.materialize import materialize
from lakehouse_assets.streaming.run import Supervised

MAX_FILES = 100


class NoInbox(LakehouseError):
    """Nobody said where the files arrive."""


class Refused(LakehouseError):
    """Files that could not be landed; all others were."""


@dataclass(kw_only=True)
class Inbox(Supervised):
    """The files of one domain. `max_files`: so many are landed at most before the tables are made.

    `refused`: why files were, by path. `not_now`: why some could not be landed in this round. What is landed, or was
    refused, is not read again while it stays as it is; one of a day to come, until that day.
    """

    domain: str
    max_files: int = MAX_FILES
    days: int = 0
    refused: dict[Path, str] = field(default_factory=dict)
    not_now: list[str] = field(default_factory=list)
    _seen: SeenFiles = field(default_factory=SeenFiles)
    _levels: Staleness = field(init=False)

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
        self._levels = Staleness(step.lake, self.catalog)

    def available(self, step: Step) -> None:
        """Land and make until nothing is left. Raises NoInbox, Refused."""
        while not self.stop.is_set() and self.round(step):
            pass
        if self.refused:
            raise Refused("\n".join(self.refused.values()))

    def round(self, step: Step) -> bool:
        """Land the next files, oldest day first, then make every day that is behind.

        Raises NoInbox, LakehouseError; NotNow where a file could not be landed for now, after all else is done.
        """
        landed = self.take(step.lake)
        made = sum([self._make(step, table) for table in self._tables()])
        self.days += made
        if self.not_now and not landed and not made:
            raise NotNow("\n".join(self.not_now))
        return bool(landed or made)

    def take(self, lake: Lake) -> int:
        """Land the next files; how many were. One that is refused, or cannot be landed now, holds up no other."""
        self.not_now = []
        waiting = list(self._new(lake))
        landed = sum(self._land(*one) for one in waiting[: self.max_files])
        if landed:
            self.state.took(landed, None, max(0, len(waiting) - self.max_files))
            self.state.write(self.settings)
        return landed

    def idle(self) -> None:
        """Nothing is left but what was refused."""
        self.state.lag, self.state.error = len(self.refused), next(iter(self.refused.values()), None)

    def lag(self, lake: Lake) -> int:
        """Files that are not landed yet. Raises NoInbox."""
        return len(list(self._new(lake)))

    def _make(self, step: Step, table: Table) -> int:
        """Make what is behind of a table; how many days were committed."""
        self._levels.refresh()
        days = sorted(self._levels.stale_days(table))
        if not days:
            return 0
        outcome = materialize(step, table, days)
        for day in outcome.days:
            if day.status is not Status.COMMITTED:
                self.told(f"{table.key} {day.day} {day.status.value}: {'; '.join(day.reasons)}")
        made = len(outcome.with_status(Status.COMMITTED))
        self.state.last_version = outcome.version
        self.told(f"{table.key} version {outcome.version}: {made} days")
        return made

    def _land(self, table: Table, file: SourceFile, state: FileState) -> int:
        """Whether the file was landed; one that is refused is told once and left where it is, until it is another."""
        assert table.source is not None
        self.refused.pop(file.path, None)
        today = _today(table)
        delivery = FileSet(canonical(file.name), (file,))
        try:
            found = land(self.settings.landing, landed_name(table.key), table.source, delivery, today=today)
        except NotNow as error:  # the file may be good: it is tried again
            self.not_now.append(str(error))
            return 0
        except LandingError as error:
            self._refuse(file.path, str(error))
            self._seen.settle(file.path, state, error.day if isinstance(error, NotYet) else date.max)
            return 0
        for metadata in found.notes:
            self.told(f"{file.path}: {metadata}")
        self._seen.settle(file.path, state)
        return 0 if found.already_landed else 1

    def _refuse(self, path: Path, why: str) -> None:
        if self.refused.get(path) != why:
            self.refused[path] = why
            self.told(why)

    def _new(self, lake: Lake) -> Iterator[tuple[Table, SourceFile, FileState]]:
        """Files that are not landed as they are now, by day and name. Raises NoInbox."""
        folder = self.settings.inbox
        if folder is None:
            raise NoInbox(
                "Nobody said where files arrive. Set LAKEHOUSE_INBOX to the folder of <domain>/<table>/<file>."
            )
        there: set[Path] = set()
        for table in self._streamed():
            landed = self._seen.landed(lake.landing, landed_name(table.key))
            root = folder / self.domain / table.key.name
            found = list(found_below(root))
            for aside in (one for one in found if isinstance(one, Unreadable)):
                there.add(aside.path)
                self._refuse(aside.path, str(aside))
            for file in sorted((one for one in found if isinstance(one, SourceFile)), key=_day_and_name):
                there.add(file.path)
                state = state_of(file.path)
                if state is None or self._seen.is_settled(file.path, state, _today(table)):
                    continue
                try:
                    known = landed.holds(file.name, self._seen.sha256(file.path, state))
                except OSError as error:
                    self._refuse(file.path, f"{file.path}: cannot be read: {error.strerror}.")
                    continue
                if known:
                    self._seen.settle(file.path, state)
                else:
                    yield table, file, state
        self._seen.forget_others(there)
        self.refused = {path: why for path, why in self.refused.items() if path in there}

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


def _today(table: Table) -> date:
    """The day that it is where a table's files come from."""
    assert table.source is not None
    return table.source.days.today(datetime.now(UTC))


def _day_and_name(file: SourceFile) -> tuple[str, str]:
    """Files of earlier days first; one whose name says an impossible day is refused when it is landed."""
    try:
        return str(day_in_name(reversed(file.name.split("/")))), file.name
    except LandingError:
        return "", file.name


def with_inbox(catalog: Catalog) -> list[str]:
    """The domains whose files also come as a stream."""
    return sorted({table.key.domain for table in catalog.tables if table.source and table.source.streamed})
