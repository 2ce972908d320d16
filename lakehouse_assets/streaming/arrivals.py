"""The files of a domain's inbox that are not landed yet. Known without Spark: `lakehouse stream status` counts them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import Table
from lakehouse_assets.platform.ingest.delivery_names import SourceFile, Unreadable, found_below
from lakehouse_assets.platform.ingest.file_readers import LandingError
from lakehouse_assets.platform.ingest.landing_status import FileState, SeenFiles, state_of
from lakehouse_assets.platform.ingest.schema_drift import day_in_name
from lakehouse_assets.platform.planning.plan import Lake, landed_name
from lakehouse_assets.settings import Settings


class NoInbox(LakehouseError):
    """Nobody said where the files arrive."""


@dataclass
class Arrivals:
    """The files below `<inbox>/<domain>/`. `refused`: why files cannot be landed, by path; each is said once."""

    settings: Settings
    catalog: Catalog
    domain: str
    told: Callable[[str], None] = lambda line: None
    refused: dict[Path, str] = field(default_factory=dict)
    seen: SeenFiles = field(default_factory=SeenFiles)

    @property
    def tables(self) -> list[Table]:
        """The tables whose files also come as a stream."""
        return [t for t in self.catalog.tables if t.key.domain == self.domain and t.source and t.source.streamed]

    def lag(self, lake: Lake) -> int:
        """Files that are not landed yet. Raises NoInbox."""
        return len(list(self.new(lake)))

    def new(self, lake: Lake) -> Iterator[tuple[Table, SourceFile, FileState]]:
        """Files that are not landed as they are now, by day and name. Raises NoInbox."""
        folder = self.settings.inbox
        if folder is None:
            raise NoInbox(
                "Nobody said where files arrive. Set LAKEHOUSE_INBOX to the folder of <domain>/<table>/<file>."
            )
        there: set[Path] = set()
        for table in self.tables:
            landed = self.seen.landed(lake.landing, landed_name(table.key))
            root = folder / self.domain / table.key.name
            found = list(found_below(root))
            for aside in (one for one in found if isinstance(one, Unreadable)):
                there.add(aside.path)
                self.refuse(aside.path, str(aside))
            for file in sorted((one for one in found if isinstance(one, SourceFile)), key=_day_and_name):
                there.add(file.path)
                state = state_of(file.path)
                if state is None or self.seen.is_settled(file.path, state, today_of(table)):
                    continue
                try:
                    known = landed.holds(file.name, self.seen.sha256(file.path, state))
                except OSError as error:
                    self.refuse(file.path, f"{file.path}: cannot be read: {error.strerror}.")
                    continue
                if known:
                    self.seen.settle(file.path, state)
                else:
                    yield table, file, state
        self.seen.forget_others(there)
        self.refused = {path: why for path, why in self.refused.items() if path in there}

    def refuse(self, path: Path, why: str) -> None:
        """Remember why a file is left where it is; say it once."""
        if self.refused.get(path) != why:
            self.refused[path] = why
            self.told(why)


def today_of(table: Table) -> date:
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
