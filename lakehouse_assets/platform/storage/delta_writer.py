"""Writes of whole frames: Spark turns a frame into Parquet files, delta-rs commits them.

For what is not judged on its way (`materialize.py` does that): changes of keys, states, streams, adoptions.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from lakehouse_assets.platform.common.days import ranges
from lakehouse_assets.platform.common.errors import LakehouseError, first_line
from lakehouse_assets.platform.storage.commit import ConcurrentCommit, Swap, WriteError, commit, evolve
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata
from lakehouse_assets.platform.storage.data_files import (
    ActiveFile,
    NewFile,
    active_files,
    new_attempt,
    remove_folder,
    written_files,
)
from lakehouse_assets.platform.storage.delta_table import open_table
from lakehouse_assets.platform.storage.location import Location
from lakehouse_assets.platform.storage.parquet_files import write_parquet
from lakehouse_assets.platform.storage.row_copies import RowCopy, copy_rows, is_one_of
from lakehouse_assets.platform.storage.s3 import StoreError
from lakehouse_assets.platform.storage.statistics_properties import CHANNEL
from lakehouse_assets.platform.storage.target import Target

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

__all__ = ["ConcurrentCommit", "Target", "WriteError"]

CARRIED = "carried"
"""Folder of an attempt for rows that it takes over from files of which it replaces other rows."""


def days_predicate(column: str, days: Collection[date]) -> str:
    """SQL that holds for exactly these days, built from typed values only."""
    return " OR ".join(
        f"({column} >= DATE'{part.first.isoformat()}' AND {column} <= DATE'{part.last.isoformat()}')"
        for part in ranges(days)
    )


def on_days(column: str, days: Iterable[date]) -> "Column":
    """The same as a Spark condition; no day: never true."""
    condition = F.lit(False)
    for part in ranges(days):
        condition = condition | F.col(column).between(F.lit(part.first), F.lit(part.last))
    return condition


@dataclass(frozen=True)
class Replaced:
    """Files that a write replaces: all rows of `whole`, and of `shared` only those for which `replaces` holds."""

    whole: Sequence[ActiveFile]
    shared: Sequence[ActiveFile] = ()
    replaces: Callable[[pa.RecordBatch], pa.BooleanArray] | None = None

    @property
    def files(self) -> list[ActiveFile]:
        """All of them: what stays of the shared ones is written again."""
        return [*self.whole, *self.shared]

    def carry_over(self, target: Target, attempt: Location) -> None:
        """Write the rows of the shared files that stay into the attempt."""
        replaces = self.replaces
        if not self.shared or replaces is None:
            return
        files = [file.at(target.path) for file in self.shared]
        copy_rows(files, attempt / CARRIED, RowCopy(lambda rows: pc.invert(replaces(rows))), target.parquet)


def replaced_days(
    files: Collection[ActiveFile], column: str, days: Collection[date], channel: str | None = None
) -> Replaced:
    """The files that hold rows of these days; with a door, rows of these days that came by it."""
    if not days:
        return Replaced([])
    held = [
        file
        for file in files
        if file.may_hold_days(column, days) and (channel is None or file.may_hold(CHANNEL, channel, channel))
    ]
    whole: list[ActiveFile] = []
    shared: list[ActiveFile] = []
    for file in held:
        alone = file.holds_only(column, days) and (channel is None or file.holds_only(CHANNEL, (channel,)))
        (whole if alone else shared).append(file)
    wanted = pa.array(sorted(days), pa.date32())

    def replaces(rows: pa.RecordBatch) -> pa.BooleanArray:
        of_days = is_one_of(rows, column, wanted)
        return of_days if channel is None else pc.and_(of_days, is_one_of(rows, CHANNEL, pa.array([channel])))

    return Replaced(whole, shared, replaces)


def replace_days(
    frame: "DataFrame",
    target: Target,
    metadata: CommitMetadata,
    base: int | None,
    column: str,
    days: Collection[date],
    channel: str | None = None,
    extra: Mapping[str, "Column"] = MappingProxyType({}),
    alone: bool = False,
) -> int:
    """Replace exactly these days by `frame`, or what came by one door on them.

    `extra`: columns that the files have beside the table's, for the platform's own use. `alone`: as in `Swap`. Returns
    the version. Raises ConcurrentCommit, WriteError, SchemaMismatch, ValueError for a door that is no plain word.
    """
    if channel is not None and not channel.isidentifier():
        raise ValueError(f"{channel!r} is no name of a door")

    def meets(file: ActiveFile) -> bool:
        return file.may_hold_days(column, days) and (channel is None or file.may_hold(CHANNEL, channel, channel))

    return _write(
        frame, target, metadata, base, lambda files: replaced_days(files, column, days, channel), meets, alone, extra
    )


def replace_parts(
    frame: "DataFrame",
    target: Target,
    metadata: CommitMetadata,
    base: int | None,
    column: str,
    numbers: Collection[int],
) -> int:
    """Replace exactly the rows of these values of a partition column. Returns and raises as `replace_days`."""

    def of_part(file: ActiveFile) -> bool:
        return file.partition.get(column) in numbers

    return _write(
        frame,
        target,
        metadata,
        base,
        lambda files: Replaced([file for file in files if of_part(file)]),
        _anything,
        True,
    )


def overwrite(frame: "DataFrame", target: Target, metadata: CommitMetadata, base: int | None) -> int:
    """Replace the whole table. Returns the version. Raises as `replace_days`."""
    return _write(frame, target, metadata, base, lambda files: Replaced([*files]), _anything, True)


def append(
    frame: "DataFrame", target: Target, metadata: CommitMetadata, base: int | None, channel: str | None = None
) -> int:
    """Append, only if the table is still at `base`, or if since then nothing came by this door.

    Returns the version. Raises as `replace_days`.
    """

    def meets(file: ActiveFile) -> bool:
        return channel is None or file.may_hold(CHANNEL, channel, channel)

    return _write(frame, target, metadata, base, lambda files: Replaced([]), meets, channel is None)


def _anything(_: Any) -> bool:
    return True


def _write(
    frame: "DataFrame",
    target: Target,
    metadata: CommitMetadata,
    base: int | None,
    replaced_of: Callable[[list[ActiveFile]], Replaced],
    meets: Callable[[ActiveFile], bool],
    alone: bool,
    extra: Mapping[str, "Column"] = MappingProxyType({}),
) -> int:
    """Write the frame into an attempt of its own, then commit its files in place of those that it replaces."""
    attempt = new_attempt(target.path)
    try:
        write_parquet(described(frame, target, extra), attempt, target.parquet, target.partition_by)
        return commit_files(target, attempt, [attempt], metadata, base, replaced_of, meets, set(), alone)
    except PySparkException as error:
        remove_folder(attempt)
        raise WriteError(f"{target.name} was not written, its version is still {base}: {first_line(error)}") from error
    except StoreError:  # whether it was committed is not known
        raise
    except LakehouseError:
        remove_folder(attempt)
        raise


def commit_files(
    target: Target,
    attempt: Location,
    folders: Collection[Location],
    metadata: CommitMetadata,
    base: int | None,
    replaced_of: Callable[[list[ActiveFile]], Replaced],
    meets: Callable[[ActiveFile], bool],
    named: set[str],
    alone: bool = False,
) -> int:
    """Commit the files below these folders of an attempt, and rows taken over, in place of what they replace.

    `named` gets the files before the commit, and loses them where it surely did not happen: where its answer is lost,
    and the log cannot be asked either, they must stay. Returns the version. Raises ConcurrentCommit, SchemaMismatch;
    WriteError also where a column that must not be NULL holds NULLs.
    """
    replaced = Replaced([])
    if base is not None:
        base = evolve(target, base)
        table = open_table(target.path, base)
        if table is None:
            raise ConcurrentCommit(f"{target.name}: the table of version {base} was deleted")
        replaced = replaced_of(active_files(table))
    replaced.carry_over(target, attempt)
    carried = [attempt / CARRIED] if attempt not in folders else []
    files: list[NewFile] = []
    for folder in (*folders, *carried):
        try:
            files += written_files(target.path, folder, target.schema, target.bounded, target.partition_by)
        except ValueError as error:
            raise WriteError(f"{target.name} was not written, its version is still {base}: {error}") from error
    named.update(file.path for file in files)
    try:
        return commit(target, metadata, base, Swap(files, replaced.files, meets, alone))
    except StoreError:
        raise
    except LakehouseError:
        named.clear()
        raise


def described(frame: "DataFrame", target: Target, extra: Mapping[str, "Column"] = MappingProxyType({})) -> "DataFrame":
    """Columns in the declared order and of the declared types, and `extra` ones, which readers of the table ignore."""
    declared = [F.col(column.name).cast(column.dataType).alias(column.name) for column in target.schema]
    return frame.select(*declared, *[value.alias(name) for name, value in extra.items()])
