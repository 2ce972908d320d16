"""Files of a table that no version within its retention names: what was replaced long ago, and what attempts left.

A run writes the files of its attempt one after the other and then commits them, so an attempt of which no file was
touched for the whole retention (30 days) has no run. Until then all of it stays, whatever is named of it. Retention
counts from when a file came to its place: a hard link has the time of the file that it is made of, but not its change
time.
"""

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath

from deltalake import DeltaTable
from pyarrow import fs

from lakehouse_assets.platform.storage.data_files import ATTEMPT, arrow_path
from lakehouse_assets.platform.storage.location import Location, answering
from lakehouse_assets.platform.storage.log_cleaning import LOG

RETENTION = "delta.deletedFileRetentionDuration"
DELETION_VECTORS = ".bin"
"""Of them only the log says what needs them: they stay."""
LISTINGS = 10
_INTERVAL = re.compile(r"interval (\d+) (second|minute|hour|day|week)s?", re.IGNORECASE)


@dataclass(frozen=True)
class StoredFile:
    """A file below a table, by its name there, and when it came there (seconds since 1970)."""

    name: str
    since: float

    @property
    def unit(self) -> str:
        """What it was written with: its attempt; itself, where it is of none."""
        first = self.name.partition("/")[0]
        return first if first.startswith(ATTEMPT) and first != self.name else self.name

    @property
    def checked(self) -> str | None:
        """The file of which this is the checksum that Hadoop wrote beside it."""
        path = PurePosixPath(self.name)
        if path.name.startswith(".") and path.suffix == ".crc":
            return str(path.with_name(path.name[1:].removesuffix(".crc")))
        return None


def stored_files(table: Location) -> list[StoredFile]:
    """Every file below a table but its log, by name. Raises StoreError."""
    system, path = arrow_path(table)
    with answering(table):
        found = _listed(system, path)
    files = []
    for one in sorted(found, key=lambda one: one.path):
        name = one.path[len(path) + 1 :]
        if one.type is not fs.FileType.File or name.startswith(f"{LOG}/"):
            continue
        changed = change_time(Path(one.path)) if isinstance(system, fs.LocalFileSystem) else 0.0
        files.append(StoredFile(name, max((one.mtime_ns or 0) / 1e9, changed)))
    return files


def _listed(system: fs.FileSystem, path: str) -> list[fs.FileInfo]:
    """What lies below a folder. A folder that a writer removes meanwhile ends a listing: then it is begun again."""
    for _ in range(LISTINGS - 1):
        try:
            return system.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
        except FileNotFoundError:
            continue
    return system.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))


def change_time(file: Path) -> float:
    """When a file of this machine was made, moved or linked; 0: it is gone."""
    try:
        return file.stat().st_ctime
    except FileNotFoundError:
        return 0.0


def dead_files(path: Location, table: DeltaTable) -> list[str]:
    """The files that maintenance removes. Raises StoreError."""
    with answering(path):
        candidates = set(table.vacuum(dry_run=True, full=True))  # what lies there, unnamed or removed, and is old
    if not candidates:
        return []
    files = stored_files(path)
    youngest: dict[str, float] = {}
    for file in files:
        youngest[file.unit] = max(file.since, youngest.get(file.unit, 0.0))
    until = time.time() - retention(table.metadata().configuration).total_seconds()
    old = {
        file.name
        for file in files
        if file.name in candidates and youngest[file.unit] < until and not file.name.endswith(DELETION_VECTORS)
    }
    there = {file.name for file in files}
    # A checksum goes with its file, and by itself only where that is gone.
    return [f.name for f in files if f.checked in old or (f.name in old and f.checked not in there)]


def retention(configuration: Mapping[str, str | None]) -> timedelta:
    """How long a table keeps the files of older versions, as its properties say it; at least a week."""
    week = timedelta(weeks=1)
    interval = _INTERVAL.fullmatch((configuration.get(RETENTION) or "").strip())
    return max(week, timedelta(**{f"{interval[2].lower()}s": int(interval[1])})) if interval else week


def remove_files(path: Location, names: Iterable[str]) -> int:
    """Remove files of a table, and the folders of attempts that are then empty; returns how many files."""
    removed = 0
    for name in names:
        file = path.joinpath(*name.split("/"))
        file.unlink(missing_ok=True)
        removed += 1
        if isinstance(path, Path) and isinstance(file, Path) and name.startswith(ATTEMPT):
            _remove_empty(file.parent, path)
    return removed


def _remove_empty(folder: Path, table: Path) -> None:
    """Remove a folder and those above it, up to the table's, as far as they are empty."""
    while folder != table and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
