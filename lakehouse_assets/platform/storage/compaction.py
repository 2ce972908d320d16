"""Compaction: many small files of a table become few, by a commit that moves rows and changes none.

delta-rs has `optimize.compact`, which is not used (deltalake 1.6.6): it cuts the greatest timestamp of a file to
milliseconds, so that a row of 00:00:00.999999 lies above its file's maximum and readers that skip by it lose the row.
So files are merged here, with the layout and the statistics of every other write.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from itertools import groupby
from re import fullmatch
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.storage.commit import ConcurrentCommit, move_rows
from lakehouse_assets.platform.storage.data_files import (
    ActiveFile,
    NewFile,
    active_files,
    new_attempt,
    remove_folder,
    written_files,
)
from lakehouse_assets.platform.storage.location import Location, answering, file_at
from lakehouse_assets.platform.storage.row_copies import merge_rows
from lakehouse_assets.platform.storage.target import Target

SMALL_BYTES = 16 * 2**20
"""A file below this size is merged with others. Larger ones stay as they are, so that a day is rewritten seldom."""
FILE_BYTES = 64 * 2**20
"""Size up to which small files are merged: what replacing an old day rewrites at most."""
PLAIN_VALUE = r"[\w-]+"
"""Partition values that are a folder's name as they are."""

Merge = Sequence[ActiveFile]


def merges_of(files: Iterable[ActiveFile]) -> list[Merge]:
    """The small files to merge with each other: of one partition, and neighbours by feed day.

    A merged file does not grow over the days of one that stays: so files keep narrow ranges of days, by which readers
    choose them.
    """
    found: list[Merge] = []
    for of_partition in _partitions(files):
        stay = [file for file in of_partition if file.size >= SMALL_BYTES]
        small = sorted((file for file in of_partition if file.size < SMALL_BYTES), key=_days)
        merge: list[ActiveFile] = []
        size, last = 0, date.min
        for file, following in zip(small, [*small[1:], None], strict=True):
            merge.append(file)
            size, last = size + file.size, max(last, _days(file)[1])
            full = following is None or size + following.size > FILE_BYTES
            if full or (following is not None and _widens_over(stay, _days(merge[0])[0], last, following)):
                found += [merge] if len(merge) > 1 else []
                merge, size, last = [], 0, date.min
    return found


def _partitions(files: Iterable[ActiveFile]) -> Iterator[list[ActiveFile]]:
    """The files of each partition; not of one whose values would need other names as folders."""

    def key(file: ActiveFile) -> list[tuple[str, str]]:
        return sorted((name, str(value)) for name, value in file.partition.items())

    plain = [file for file in files if all(_is_plain(value) for value in file.partition.values())]
    for _, of_partition in groupby(sorted(plain, key=key), key):
        yield list(of_partition)


def _is_plain(value: Any) -> bool:
    return type(value) in (int, str, date) and fullmatch(PLAIN_VALUE, str(value)) is not None


def _days(file: ActiveFile) -> tuple[date, date]:
    """The first and the last feed day of a file; where they are not known, it comes last."""
    low, high = file.bounds.get(DAY_COLUMN, (None, None))
    return low or date.max, high or date.max


def _widens_over(stay: Iterable[ActiveFile], first: date, last: date, following: ActiveFile) -> bool:
    """Whether a merged file of these days, with the following one in it, would hold all days of a file that stays."""
    return any(first <= _days(file)[0] and last < _days(file)[1] <= _days(following)[1] for file in stay)


def compact(target: Target, table: DeltaTable) -> None:
    """Merge the small files of a version, and commit the merged ones in their place, if they are all still there.

    Killed before the commit, it leaves an attempt that nobody names. Raises ConcurrentCommit, StoreError, WriteError,
    and ValueError, OSError or pa.ArrowException where a file cannot be read or holds what the table's columns cannot.
    """
    merges = merges_of(active_files(table))
    if not merges:
        return
    attempt = new_attempt(target.path)
    try:
        files = _merged(target, table, merges, attempt)
    except FileNotFoundError as error:
        remove_folder(attempt)
        raise ConcurrentCommit(f"{target.name}: a file was removed meanwhile: {error}") from error
    except (ValueError, OSError, pa.ArrowException):
        remove_folder(attempt)
        raise
    try:
        move_rows(target, table.version(), files, [file for merge in merges for file in merge])
    except ConcurrentCommit:
        remove_folder(attempt)
        raise


def _merged(target: Target, table: DeltaTable, merges: Sequence[Merge], attempt: Location) -> list[NewFile]:
    """The merged files, written into the attempt."""
    schema = pa.schema(table.schema().to_arrow())
    columns = pa.schema([field for field in schema if field.name not in target.partition_by])
    with answering(target.path):
        for number, merge in enumerate(merges):
            sources = [file_at(target.path, file.path) for file in merge]
            merge_rows(sources, _merged_file(attempt, merge[0], number), columns, target.parquet)
    files = written_files(target.path, attempt, target.schema, target.bounded, target.partition_by)
    known = [file.rows for merge in merges for file in merge if file.rows is not None]
    if len(known) == sum(map(len, merges)) and sum(known) != sum(file.rows for file in files):
        raise ValueError(f"{target.name}: merged files have other numbers of rows than the log says")
    return files


def _merged_file(attempt: Location, like: ActiveFile, number: int) -> Location:
    folders = [f"{name}={value}" for name, value in like.partition.items()]
    return attempt.joinpath(*folders, f"merged-{number:05d}.parquet")
