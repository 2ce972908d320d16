"""The data files of a Delta table: those that a version has, and those that an attempt has written and nobody names."""

import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from pyarrow import fs

from lakehouse_assets.platform.storage.conditional_put import prove_conditional_puts
from lakehouse_assets.platform.storage.file_statistics import nulls, statistics
from lakehouse_assets.platform.storage.location import Location, answering, arrow_table
from lakehouse_assets.platform.storage.s3 import S3Path, arrow_filesystem

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

ATTEMPT = "attempt-"
"""Folders of a table that begin so hold the files of one attempt to write it."""


@dataclass(frozen=True)
class ActiveFile:
    """A file of a version of a table, as its log describes it: `path` is as it stands there.

    `bounds`: least and greatest value of a column, as far as its statistics say; `partition`: values of the columns by
    which the table is partitioned.
    """

    path: str
    size: int
    rows: int | None
    bounds: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    partition: Mapping[str, Any] = field(default_factory=dict)

    def may_hold(self, column: str, first: object, last: object) -> bool:
        """Whether a value from `first` (None: the least) to `last` can be in it. Without statistics: yes."""
        low, high = self.bounds.get(column, (None, None))
        return low is None or high is None or (low <= last and (first is None or high >= first))

    def may_hold_days(self, column: str, days: Collection[date]) -> bool:
        """Whether a row of one of these days can be in it."""
        low, high = self.bounds.get(column, (None, None))
        return low is None or high is None or any(low <= day <= high for day in days)

    def holds_only(self, column: str, values: Collection[Any]) -> bool:
        """Whether every row has one of these values, as far as its statistics show."""
        low, high = self.bounds.get(column, (None, None))
        if low is None or high is None:
            return False
        if isinstance(low, date) and isinstance(high, date):
            return all(date.fromordinal(n) in values for n in range(low.toordinal(), high.toordinal() + 1))
        return low == high and low in values

    def at(self, table: Location) -> Location:
        """Where the file lies; the log has its name in the form of a URL."""
        return table / unquote(self.path)


@dataclass(frozen=True)
class NewFile:
    """A file that is written and not yet committed; `path` is relative to the table's folder."""

    path: str
    size: int
    rows: int
    statistics: str
    partition: Mapping[str, str] = field(default_factory=dict)


def active_files(table: DeltaTable) -> list[ActiveFile]:
    """The files of the version at which the table was opened."""
    found = arrow_table(table.get_add_actions(flatten=True)).to_pydict()
    bounded = [name.removeprefix("min.") for name in found if name.startswith("min.")]
    parts = [name.removeprefix("partition.") for name in found if name.startswith("partition.")]
    unknown = [None] * len(found.get("path", ()))
    return [
        ActiveFile(
            path,
            found["size_bytes"][n],
            found.get("num_records", unknown)[n],
            {name: (found[f"min.{name}"][n], found.get(f"max.{name}", unknown)[n]) for name in bounded},
            {name: found[f"partition.{name}"][n] for name in parts},
        )
        for n, path in enumerate(found.get("path", ()))
    ]


def new_attempt(table: Location) -> Location:
    """A folder of the table that no other attempt has. Raises LakehouseError where commits could be lost."""
    prove_conditional_puts(table)
    return table / f"{ATTEMPT}{uuid.uuid4().hex}"


def written_files(
    table: Location,
    folder: Location,
    schema: "StructType",
    with_statistics: Collection[str],
    partition_by: Collection[str] = (),
) -> list[NewFile]:
    """The Parquet files below a folder of an attempt that has ended well. Raises StoreError, ValueError.

    ValueError: a column that the schema declares NOT NULL holds NULLs.
    """
    required = {column.name for column in schema if not column.nullable}
    beginning = len(arrow_path(table)[1]) + 1
    found: list[NewFile] = []
    with answering(table):
        for file, size in list_parquet(folder):
            footer = read_footer(file)
            if footer.num_rows == 0:
                continue
            broken = sorted(name for name, count in nulls(footer).items() if count and name in required)
            if broken:
                raise ValueError(f"{', '.join(broken)} must not be NULL, and {file} holds NULLs of it")
            name = arrow_path(file)[1][beginning:]
            folders = dict(part.split("=", 1) for part in name.split("/")[:-1] if "=" in part)
            partition = {column: folders[column] for column in partition_by}
            found.append(NewFile(name, size, footer.num_rows, statistics(footer, with_statistics), partition))
    return found


def read_footer(file: Location) -> pq.FileMetaData:
    """The footer of a Parquet file."""
    system, path = arrow_path(file)
    return pq.read_metadata(path, filesystem=system)


def values_on(files: Collection[Location], day_column: str, days: Collection[date], column: str) -> set[Any] | None:
    """The values of a column on these days in files; None where a file lacks the column. Reads these two columns."""
    found: set[Any] = set()
    wanted = pa.array(sorted(days), pa.date32())
    for file in files:
        system, path = arrow_path(file)
        with system.open_input_file(path) as stream, pq.ParquetFile(stream) as opened:
            if column not in opened.schema_arrow.names:
                return None
            for batch in opened.iter_batches(columns=[day_column, column]):
                of_days = pc.is_in(batch.column(day_column), value_set=wanted)
                found.update(batch.filter(of_days).column(column).unique().to_pylist())
    return found


def arrow_path(place: Location) -> tuple[fs.FileSystem, str]:
    """A place as pyarrow takes it."""
    if isinstance(place, S3Path):
        return arrow_filesystem(place), f"{place.bucket}/{place.key}"
    return fs.LocalFileSystem(), str(place)


def list_parquet(folder: Location) -> Iterator[tuple[Location, int]]:
    """The Parquet files below a folder, by name, and their sizes; none of what tasks have not committed.

    Raises StoreError.
    """
    system, path = arrow_path(folder)
    with answering(folder):
        found = system.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
    for one in sorted(found, key=lambda one: one.path):
        names = one.path[len(path) + 1 :].split("/")
        if one.type is fs.FileType.File and names[-1].endswith(".parquet") and not any(map(_is_unfinished, names)):
            yield folder.joinpath(*names), one.size


def _is_unfinished(name: str) -> bool:
    """Whether a file, or what is in a folder, of this name is of a task that is at work, or died."""
    return name.startswith((".", "_temporary", "__magic"))


def remove_folder(folder: Location) -> None:
    """Remove a folder of an attempt and what is below it; no error where it is not there. Raises StoreError."""
    system, path = arrow_path(folder)
    with answering(folder):
        if system.get_file_info(path).type is fs.FileType.Directory:
            system.delete_dir(path)
