"""The log of a table that a stream writes, read on from where this process left it: version, position, what was told.

A stream looks every two seconds. What it asks of the log costs what came since its last look, however long the table's
history is.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

from lakehouse_assets.platform.storage.commit_actions import info_of, log_file
from lakehouse_assets.platform.storage.commit_log import newest_version
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, Kind
from lakehouse_assets.platform.storage.delta_table import last_position, version_of
from lakehouse_assets.platform.storage.location import Location, version_of_file

T = TypeVar("T")


@dataclass(frozen=True)
class LogEntry:
    """A commit as its first line says it."""

    version: int
    operation: str
    metadata: CommitMetadata | None

    @property
    def is_of_a_stream(self) -> bool:
        return self.metadata is not None and self.metadata.kind is Kind.STREAM


@dataclass
class StreamLog:
    """A table's log as far as it was read. A table that was deleted and made anew is read from its beginning."""

    path: Location
    seen: int = -1
    audited: int = -1
    _identity: tuple[object, int] | None = None
    _known: tuple[int, Mapping[str, Any] | None] = (-1, None)
    _asked: dict[str, tuple[int, Any]] = field(default_factory=dict)

    def version(self) -> int | None:
        """The newest version; None: there is no table."""
        if self.seen >= 0 and version_of_file(log_file(self.path, self.seen)) != self._identity:
            self.seen, self.audited, self._known = -1, -1, (-1, None)
            self._asked.clear()
        newest = version_of(self.path) if self.seen < 0 else newest_version(self.path, self.seen)
        if newest is not None and newest != self.seen:
            self.seen, self._identity = newest, version_of_file(log_file(self.path, newest))
        return newest

    def position(self, version: int) -> Mapping[str, Any] | None:
        """How far the source was read as of a version, as `delta_table.last_position` says it."""
        known, position = self._known
        if version < known:
            return last_position(self.path, version)
        for entry in self.entries(known, version):
            if entry.operation == "RESTORE":
                position = last_position(self.path, version)
                break
            if entry.metadata is not None and entry.metadata.position is not None:
                position = entry.metadata.position
                break
        self._known = version, position
        return position

    def entries(self, after: int, until: int, but: Collection[int] = ()) -> Iterator[LogEntry]:
        """The commits of these versions `but` a few that the log still has, newest first."""
        for version in (version for version in range(until, after, -1) if version not in but):
            info = info_of(self.path, version)
            if info is None:
                return
            yield LogEntry(version, info.get("operation", "unknown"), CommitMetadata.load(info.get("userMetadata")))

    def once(self, name: str, version: int, ask: Callable[[], T]) -> T:
        """What was asked of a version, asked once."""
        known = self._asked.get(name)
        if known is None or known[0] != version:
            known = self._asked[name] = version, ask()
        answer: T = known[1]
        return answer


@lru_cache(maxsize=64)
def log_of(path: Location) -> StreamLog:
    """What this process knows of a table's log."""
    return StreamLog(path)
