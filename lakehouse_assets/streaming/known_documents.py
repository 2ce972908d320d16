"""Which documents a table holds: asked once, then read on from what each commit of the stream added."""

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote

import pyarrow.parquet as pq

from lakehouse_assets.platform.storage.commit_actions import actions_of, moves_rows
from lakehouse_assets.platform.storage.delta_table import query_rows
from lakehouse_assets.platform.storage.location import Location, parquet
from lakehouse_assets.platform.streams.stream_log import LogEntry, log_of
from lakehouse_assets.streaming.document_places import name_below


@dataclass
class KnownDocuments:
    """Paths and hashes of what a table holds from a store, as of a version, and by name below some places."""

    path: Location
    version: int | None = None
    pairs: set[tuple[str, str]] = field(default_factory=set)
    _by_name: tuple[tuple[frozenset[str], int | None], dict[str, set[str]]] | None = None

    def by_name(self, version: int | None, places: Collection[str]) -> dict[str, set[str]]:
        """The hashes of each document of a version, by its name below the places."""
        self._read_on(version)
        wanted = frozenset(places), self.version
        if self._by_name is None or self._by_name[0] != wanted:
            found: dict[str, set[str]] = {}
            for path, etag in self.pairs:
                found.setdefault(name_below(path, places), set()).add(etag)
            self._by_name = wanted, found
        return self._by_name[1]

    def _read_on(self, version: int | None) -> None:
        if version is None:
            self.version, self.pairs = None, set()
        elif version != self.version:
            added = self._added(version)
            if added is None:
                found = query_rows(self.path, "SELECT path, etag FROM t WHERE door <> 'file'", version)
                self.pairs = {(row["path"], row["etag"]) for row in found}
            else:
                self.pairs |= added
            self.version = version

    def _added(self, version: int) -> set[tuple[str, str]] | None:
        """What the commits since brought; None where only the table itself can tell."""
        if self.version is None or version < self.version:
            return None
        entries = list(log_of(self.path).entries(self.version, version))
        if len(entries) < version - self.version or not all(self._only_adds(entry) for entry in entries):
            return None
        added: set[tuple[str, str]] = set()
        for entry in entries:
            for action in actions_of(self.path, entry.version) if entry.is_of_a_stream else ():
                if "add" in action:
                    file = self.path / unquote(action["add"]["path"])
                    if not file.is_file():
                        return None
                    rows = pq.ParquetFile(parquet(file)).read(columns=["path", "etag"])
                    added |= set(zip(rows["path"].to_pylist(), rows["etag"].to_pylist(), strict=True))
        return added

    def _only_adds(self, entry: LogEntry) -> bool:
        """Whether a commit takes no document of a stream away: one of a stream, or maintenance."""
        if entry.is_of_a_stream or entry.metadata is not None:
            return entry.is_of_a_stream
        return entry.operation in ("VACUUM START", "VACUUM END") or moves_rows(actions_of(self.path, entry.version))


@lru_cache(maxsize=16)
def known_documents(path: Location) -> KnownDocuments:
    """What this process knows of a table's documents."""
    return KnownDocuments(path)
