"""Delta logs without what they say of rows: bounds of personal columns, and the words of people's own statements.

A log keeps its entries for years, and in each the smallest and greatest values of every file, whatever became of the
rows. Cleaning takes these values out of the entries and leaves all else: versions, notes, days, positions. So lineage,
levels and a rebuilt Dagster instance read the log as before. Checkpoints, which repeat the entries, are made anew.

Cleaned entries keep their time, and their length in bytes, so that a reader with a list of the log's files is not
confused; an entry grows only where the rows per day of its removed files take more room than what goes. Nothing here
commits, and what a killed cleaning left is cleaned by the next.
"""

import json
import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.storage.commit_actions import DAYS_TAG, Action, bounds, days_by_rows
from lakehouse_assets.platform.storage.commit_metadata import MARK, CommitMetadata
from lakehouse_assets.platform.storage.delta_table import open_table
from lakehouse_assets.platform.storage.location import Location, answering, arrow_table, parquet, storage_options
from lakehouse_assets.platform.storage.statistics_properties import stats_properties

LOG = "_delta_log"
NEWEST = 1000  # entries looked at every night
BOUNDS = ("minValues", "maxValues", "nullCount")
SAID_BY_WRITERS = ("mode", "partitionBy", "version", "properties", "targetSize", "retentionDurationMillis", "zOrderBy")
"""Parameters of operations that never tell of rows. A predicate does."""
_ENTRY = re.compile(r"^\d{20}\.json$")
_CHECKSUM = re.compile(r"^(\d{20}\.crc|\d{20}\.\d{20}\.compacted\.json)$")
_CHECKPOINT = re.compile(r"^(\d{20}\.checkpoint\..*|_sidecars/.*|_last_checkpoint)$")


@dataclass(frozen=True)
class Cleaning:
    """What stays in a log: bounds of `columns`; of files that no reader needs any more those of the feed day alone, or
    their rows per day.

    `named`: the files that the newest version names; None: of all files `columns` stay, and what people's own
    statements said as well.
    """

    path: Location
    columns: frozenset[str]
    day: str
    named: frozenset[str] | None = None

    def action(self, action: Action) -> Action:
        """An action of an entry without what must go."""
        kind, content = next(iter(action.items()), ("", {}))
        if kind in ("add", "remove"):
            return {kind: self._file(content)}
        if kind == "commitInfo" and self.named is not None and CommitMetadata.load(content.get("userMetadata")) is None:
            parameters = content.get("operationParameters") or {}
            kept = {name: value for name, value in parameters.items() if name in SAID_BY_WRITERS}
            told = {k: v for k, v in content.items() if k != "userMetadata" or v == MARK}
            return {kind: {**told, "operationParameters": kept}}
        return action

    def _file(self, change: dict[str, Any]) -> dict[str, Any]:
        is_named = self.named is None or unquote(change["path"]) in self.named
        columns = self.columns if is_named else self.columns & {self.day}
        if not is_named and change.get("dataChange", True) and (tags := self._tags(change)):
            change, columns = {**change, "tags": tags}, frozenset()
        stats = cleaned_stats(change.get("stats"), columns)
        return change if stats == change.get("stats") else {**change, "stats": stats}

    def _tags(self, change: dict[str, Any]) -> dict[str, str] | None:
        """The file's tags with its rows per day, before it is removed: what reads the log later could not look any
        more. None where the log says them already, or the file is gone.
        """
        tags = change.get("tags") or {}
        first, last = bounds(change, self.day)
        if DAYS_TAG in tags or (first is not None and first == last):
            return None
        days = days_by_rows(self.path, change, self.day)
        if days is None:
            return None
        return {**tags, DAYS_TAG: json.dumps({str(day): rows for day, rows in days.items()}, separators=(",", ":"))}


def cleaned_stats(stats: str | None, columns: Collection[str]) -> str | None:
    """A file's statistics with the bounds of these columns alone."""
    if not stats:
        return stats
    found = json.loads(stats)
    kept = {
        name: {column: of for column, of in value.items() if column in columns} if name in BOUNDS else value
        for name, value in found.items()
    }
    return stats if kept == found else json.dumps(kept, separators=(",", ":"), ensure_ascii=False)


def keep_statistics(path: Location, columns: Collection[str]) -> int:
    """Let a table keep statistics of these columns alone, also where somebody else said otherwise, and clean its log.

    A table that is as declared has its newest entries cleaned: a writer may not have heeded its properties. Returns how
    many entries said more. Raises StoreError.
    """
    table = open_table(path)
    if table is None:
        return 0
    there = {field.name for field in table.schema().fields}
    wanted = stats_properties([name for name in columns if name in there])
    known = table.metadata().configuration
    if all(known.get(name) == value for name, value in wanted.items()):
        return clean_log(path, columns, newest=NEWEST)
    with answering(path):
        table.alter.set_table_properties(wanted, commit_properties=CommitProperties({"userMetadata": MARK}))
    return clean_log(path, columns)


def clean_log(path: Location, columns: Collection[str], *, erased: bool = False, newest: int | None = None) -> int:
    """Take out of a table's log what it says of rows beyond `columns`; returns how many entries said more.

    `erased`: also what it says of files that the newest version does not name, and people's own statements. `newest`:
    look at so many entries. Raises StoreError.
    """
    table = open_table(path)
    if table is None:
        return 0
    physical = physical_names(table, columns)
    (day,) = physical_names(table, [DAY_COLUMN])
    cleaning = Cleaning(path, physical, day, named_files(path) if erased else None)
    names = sorted(_listed(path / LOG))
    entries = [name for name in names if _ENTRY.match(name)]
    changed = sum(_rewrite(path / LOG / name, cleaning.action) for name in entries[-(newest or len(entries)) :])
    checkpoints = [name for name in names if name.endswith(".parquet")]
    if changed or (newest is None and any(_cleaned_checkpoint(path / LOG / name, cleaning) for name in checkpoints)):
        _clean_derived(cleaning, names, checkpoints, whole=bool(entries) and entries[0] == f"{0:020d}.json")
    return changed


def _clean_derived(cleaning: Cleaning, names: list[str], checkpoints: list[str], *, whole: bool) -> None:
    """What is made of the entries: checkpoints, checksums, compacted entries. `whole`: the entries are all there."""
    log = cleaning.path / LOG
    if not whole:
        # What the checkpoints say of older entries is said nowhere else.
        for name in checkpoints:
            if (table := _cleaned_checkpoint(log / name, cleaning)) is not None:
                buffer = pa.BufferOutputStream()
                pq.write_table(table, buffer)
                _put(log / name, buffer.getvalue().to_pybytes())
    gone = [name for name in names if _CHECKSUM.match(name) or (whole and _CHECKPOINT.match(name))]
    for name in sorted(gone, reverse=True):  # the pointer `_last_checkpoint` first
        _remove(log / name)
    if checkpoints or cleaning.named is not None:
        # Also where there was none: a reader that knows the log as it was then reads it again.
        with answering(cleaning.path):
            options = storage_options(cleaning.path)
            DeltaTable(str(cleaning.path), storage_options=options).create_checkpoint()


def physical_names(table: DeltaTable, columns: Collection[str]) -> frozenset[str]:
    """Under which names statistics tell of these columns: other ones where the table maps its columns."""
    fields = json.loads(table.schema().to_json())["fields"]
    mapped = {of["name"]: of.get("metadata", {}).get("delta.columnMapping.physicalName", of["name"]) for of in fields}
    return frozenset(mapped.get(name, name) for name in columns)


def named_files(path: Location) -> frozenset[str]:
    """The files of the newest version, relative to the table, as the file system calls them. Raises StoreError."""
    table = open_table(path, fresh=True)
    if table is None:
        return frozenset()
    with answering(path):
        return frozenset(unquote(name) for name in arrow_table(table.get_add_actions()).to_pydict().get("path", ()))


def _rewrite(entry: Location, cleaned: Callable[[Action], Action]) -> bool:
    """Clean one entry; whether it said more."""
    before = entry.read_text(encoding="utf-8")
    lines = before.split("\n")  # no other end of a line: a text of a line may have those
    after = [_line(line, cleaned) for line in lines]
    if after == lines:
        return False
    changed = next(number for number, line in enumerate(lines) if line != after[number])
    after[changed] += " " * (len(before.encode()) - len("\n".join(after).encode()))
    _put(entry, "\n".join(after).encode())
    return True


def _line(line: str, cleaned: Callable[[Action], Action]) -> str:
    """A line of an entry, cleaned."""
    if not line.strip():
        return line
    action = json.loads(line)
    new = cleaned(action)
    return line if new == action else json.dumps(new, separators=(",", ":"), ensure_ascii=False)


def _cleaned_checkpoint(file: Location, cleaning: Cleaning) -> pa.Table | None:
    """A checkpoint without what it says of rows; None where it says nothing."""
    table = pq.ParquetFile(parquet(file)).read()
    message = False
    for kind in [name for name in ("add", "remove") if name in table.column_names]:
        column = table.column(kind)
        before = column.to_pylist()
        after = [change and _cleaned_change(change, cleaning) for change in before]
        if after != before:
            message = True
            table = table.set_column(table.column_names.index(kind), kind, pa.array(after, column.type))
    return table if message else None


def _cleaned_change(change: dict[str, Any], cleaning: Cleaning) -> dict[str, Any]:
    is_named = cleaning.named is None or unquote(change["path"]) in cleaning.named
    stats = cleaned_stats(change.get("stats"), cleaning.columns if is_named else cleaning.columns & {cleaning.day})
    parsed = {"stats_parsed": None} if change.get("stats_parsed") else {}
    return {**change, **parsed, **({"stats": stats} if "stats" in change else {})}


def _listed(log: Location) -> Iterator[str]:
    """The files of a log, by their names below it."""
    if isinstance(log, Path):
        yield from (str(file.relative_to(log)) for file in log.rglob("*") if file.is_file())
    else:
        yield from (key.removeprefix(f"{log.key}/") for key in log.below())


def _put(file: Location, data: bytes) -> None:
    """Replace a file, whole or not at all; on disk it keeps its time, and loses the checksum beside it."""
    if not isinstance(file, Path):
        file.write_bytes(data)
        return
    times, part = file.stat(), file.with_name(f".{file.name}.{os.getpid()}.tmp")
    part.write_bytes(data)
    os.utime(part, ns=(times.st_atime_ns, times.st_mtime_ns))
    _checksum(file).unlink(missing_ok=True)
    part.replace(file)


def _remove(file: Location) -> None:
    if isinstance(file, Path):
        _checksum(file).unlink(missing_ok=True)
    file.unlink(missing_ok=True)


def _checksum(file: Path) -> Path:
    """Where Hadoop keeps the checksum of a file."""
    return file.with_name(f".{file.name}.crc")
