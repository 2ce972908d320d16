"""What lies in a folder against what is landed: a file is read again only when it, or the manifest, is another.

Whether a file is landed is asked of the manifest, by its path and its content. What the file system says of a file
(its size, its times, its number) only tells whether its content is to be hashed again.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TypeVar

from lakehouse_assets.platform.ingest.delivery_names import canonical
from lakehouse_assets.platform.ingest.erasure import ERASED
from lakehouse_assets.platform.ingest.landing import folder_of
from lakehouse_assets.platform.ingest.manifest import REMOVE, Manifest, current, newest
from lakehouse_assets.platform.storage.location import Location

FileState = tuple[int, int, int, int]
K = TypeVar("K")


def state_of(path: Path) -> FileState | None:
    """What changes when a file's content does, also where its time is set back; None: renamed or removed."""
    try:
        return state(path.stat())
    except OSError:
        return None


def state(stat: os.stat_result) -> FileState:
    """What of a file's status changes when its content does."""
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


@dataclass(frozen=True)
class LandedFiles:
    """What was landed of a table: hashes of the content of each delivery.

    `by_name`, `by_day`: what a version before landed, which knew a file by its name alone. `replaced`: the
    newest content of deliveries of which nothing holds, because others took their place: it is not landed again by
    itself. `of_day`: what holds of each day, whoever delivered it.
    """

    version: int | None
    by_path: Mapping[str, frozenset[str]]
    by_name: Mapping[str, frozenset[str]]
    by_day: Mapping[date, frozenset[str]]
    replaced: Mapping[str, frozenset[str]]
    of_day: Mapping[date, frozenset[str]] = field(default_factory=dict)

    def knows(self, name: str) -> bool:
        """Whether a file of this path was landed, with whatever content."""
        return canonical(name) in self.by_path or canonical(name) in self.replaced

    def before(self, day: date) -> tuple[str, ...]:
        """The content of the newest day before: what a snapshot is compared with."""
        return tuple(sorted(self.of_day[max(days)])) if (days := [one for one in self.of_day if one < day]) else ()

    def holds(self, name: str, sha256: str, day: date | None = None) -> bool:
        """Whether this file was landed with this content, and with no other since; on `day`, if its folder says it."""
        if (landed := self.by_path.get(canonical(name))) is not None:
            return landed == {sha256}
        if (replaced := self.replaced.get(canonical(name))) is not None:
            return sha256 in replaced
        if day is not None:
            return sha256 in self.by_day.get(day, ())
        return sha256 in self.by_name.get(canonical(name.rpartition("/")[2]), ())


def read_landed(landing: Location, table: str, known: LandedFiles | None = None) -> LandedFiles:
    """What was landed of a table until now; `known` where the manifest is what it was."""
    manifest = Manifest(folder_of(landing, table))
    if known is not None and manifest.version == known.version:
        return known
    by_path: defaultdict[str, set[str]] = defaultdict(set)
    by_name: defaultdict[str, set[str]] = defaultdict(set)
    by_day: defaultdict[date, set[str]] = defaultdict(set)
    of_day: defaultdict[date, set[str]] = defaultdict(set)
    replaced: defaultdict[str, set[str]] = defaultdict(set)
    removed: defaultdict[str, set[str]] = defaultdict(set)
    entries = manifest.entries()
    holding = set(current(entries))
    for entry in newest(entries):
        sha256 = entry.source_sha256.removeprefix(ERASED)
        if entry in holding:
            of_day[entry.feed_day].add(sha256)
        if entry.delivery is None:
            by_day[entry.feed_day].add(sha256)
            by_name[canonical(entry.name)].add(sha256)
        elif entry in holding:
            by_path[canonical(entry.delivery)].add(sha256)
        else:
            (removed if entry.action == REMOVE else replaced)[canonical(entry.delivery)].add(sha256)
    # What a delivery removed itself stands beside what came then: where that was replaced, it is the newest.
    gone = {name: hashes for name, hashes in {**removed, **replaced}.items() if name not in by_path}
    return LandedFiles(
        manifest.version, _frozen(by_path), _frozen(by_name), _frozen(by_day), _frozen(gone), _frozen(of_day)
    )


def _frozen(found: Mapping[K, set[str]]) -> dict[K, frozenset[str]]:
    return {key: frozenset(hashes) for key, hashes in found.items()}


@dataclass
class SeenFiles:
    """The files of a folder that nothing is to be done about as they are. Kept by a process, lost without harm."""

    _settled: dict[Path, tuple[FileState, date]] = field(default_factory=dict)
    _hashes: dict[Path, tuple[FileState, str]] = field(default_factory=dict)
    _landed: dict[str, LandedFiles] = field(default_factory=dict)

    def landed(self, landing: Location, table: str) -> LandedFiles:
        """What holds of a table, read when its manifest moved."""
        self._landed[table] = read_landed(landing, table, self._landed.get(table))
        return self._landed[table]

    def is_settled(self, path: Path, state: FileState, today: date = date.min) -> bool:
        """Whether nothing is to be done about this file `today`."""
        settled, until = self._settled.get(path, (None, date.max))
        return settled == state and today < until

    def settle(self, path: Path, state: FileState, until: date = date.max) -> None:
        """This file is landed, or refused, as it is: `until` a day for which it is too early."""
        self._settled[path] = state, until
        self._hashes.pop(path, None)

    def sha256(self, path: Path, state: FileState) -> str:
        """The hash of a file's content. Raises OSError."""
        known = self._hashes.get(path)
        if known is None or known[0] != state:
            with path.open("rb") as stream:
                known = (state, hashlib.file_digest(stream, "sha256").hexdigest())
            self._hashes[path] = known
        return known[1]

    def forget_others(self, there: Collection[Path]) -> None:
        """Keep nothing of files that are not there any more."""
        for kept in (self._settled, self._hashes):
            for path in kept.keys() - set(there):
                del kept[path]
