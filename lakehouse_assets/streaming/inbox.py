"""A stream of files: what arrives in `<inbox>/<domain>/<table>/` is landed, and the days it changes are made at once.

There is no checkpoint that could disagree with the tables. What was read is what the manifest of landed files names;
what is still to be made is what is behind it (`staleness.py`). So a stream killed anywhere goes on where the lake is,
and so does Dagster: both do the same steps, and of two at once one is computed again.
"""

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.table import Table
from lakehouse_assets.platform.ingest.delivery_names import FileSet, SourceFile, canonical
from lakehouse_assets.platform.ingest.file_readers import LandingError, NotNow, NotYet
from lakehouse_assets.platform.ingest.landing import land
from lakehouse_assets.platform.ingest.landing_status import FileState
from lakehouse_assets.platform.orchestration.staleness import Staleness
from lakehouse_assets.platform.planning.plan import Lake, landed_name
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.results.step_result import Status
from lakehouse_assets.platform.transform.materialize import materialize
from lakehouse_assets.streaming.arrivals import Arrivals, NoInbox, today_of
from lakehouse_assets.streaming.run import Supervised

MAX_FILES = 100


class Refused(LakehouseError):
    """Files that could not be landed; all others were."""


@dataclass(kw_only=True)
class Inbox(Supervised):
    """The files of one domain. `max_files`: so many are landed at most before the tables are made.

    `not_now`: why some could not be landed in this round. What is landed, or was refused, is not read again while it
    stays as it is; one of a day to come, until that day.
    """

    domain: str
    max_files: int = MAX_FILES
    days: int = 0
    not_now: list[str] = field(default_factory=list)
    arrivals: Arrivals = field(init=False)
    _levels: Staleness = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.arrivals = Arrivals(self.settings, self.catalog, self.domain, self.told)

    @property
    def refused(self) -> dict[Path, str]:
        """Why files were refused, by path."""
        return self.arrivals.refused

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
        waiting = list(self.arrivals.new(lake))
        landed = sum(self._land(*one) for one in waiting[: self.max_files])
        if landed:
            self.state.took(landed, None, max(0, len(waiting) - self.max_files))
            self.state.write(self.settings)
        return landed

    def idle(self) -> None:
        """Nothing is left but what was refused."""
        self.state.lag, self.state.error = len(self.refused), next(iter(self.refused.values()), None)

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
        today = today_of(table)
        delivery = FileSet(canonical(file.name), (file,))
        try:
            found = land(self.settings.landing, landed_name(table.key), table.source, delivery, today=today)
        except NotNow as error:  # the file may be good: it is tried again
            self.not_now.append(str(error))
            return 0
        except LandingError as error:
            self.arrivals.refuse(file.path, str(error))
            self.arrivals.seen.settle(file.path, state, error.day if isinstance(error, NotYet) else date.max)
            return 0
        for metadata in found.notes:
            self.told(f"{file.path}: {metadata}")
        self.arrivals.seen.settle(file.path, state)
        return 0 if found.already_landed else 1

    def _tables(self) -> list[Table]:
        """The tables of these files and those made of them alone, upstream first."""
        bronze = self.arrivals.tables
        keys = {table.key for table in bronze}
        silver = [
            table
            for table in self.catalog.tables
            if table.key not in keys and table.reads and {read.table for read in table.reads.values()} <= keys
        ]
        return [*bronze, *silver]
