"""Commits that cannot be lost, doubled or overtaken: Spark writes, Delta compares and swaps, delta-rs reads back.

Every commit carries `txnAppId` = the table and `txnVersion` = the one of the commit it started from + 1. Delta refuses
the second of two commits that started from the same one, and skips one that comes late (a zombie whose client was
killed). Skipped or refused, the log does not show our attempt; committed with the answer lost, it does. So the log is
asked, never the answer. Maintenance has no such number: whether it came in between changes nothing for two writers.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from deltalake import CommitProperties, Transaction
from deltalake.exceptions import DeltaError
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from lakehouse_assets.platform.days import ranges
from lakehouse_assets.platform.delta import Kind, Note, commits, open_table, version_of
from lakehouse_assets.platform.errors import LakehouseError
from lakehouse_assets.platform.evolution import ForeignTable, differences, refuse, schema_of
from lakehouse_assets.platform.failpoints import Failpoint, reach
from lakehouse_assets.platform.parquet import Parquet, laid_out
from lakehouse_assets.platform.stats_columns import day_alone, stats_properties
from lakehouse_assets.platform.store import Location, answering
from lakehouse_assets.platform.touched import actions_of, changes_rows, info_of

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import StructType

DOOR = "door"
"""Column that says by which way a row came, in a table that has several."""

NOTES = 5  # attempts at a commit without rows, where others commit what it does not concern
RETENTION = {
    "delta.logRetentionDuration": "interval 3650 days",
    "delta.deletedFileRetentionDuration": "interval 30 days",
    "delta.checkpointInterval": "50",
}


class LostRace(LakehouseError):
    """Another writer committed first: what was computed from the older version must be computed again."""


class WriteError(LakehouseError):
    """Spark could not write a table; nothing of it was committed."""


@dataclass(frozen=True)
class Target:
    """A Delta table to write: where, its columns with comments, its properties at creation, the layout of its files.

    `statistics`: the columns whose bounds its log keeps (`stats_columns.py`).
    """

    path: Location
    name: str
    schema: "StructType"
    append_only: bool = False
    partition_by: tuple[str, ...] = ()
    parquet: Parquet | None = None
    statistics: tuple[str, ...] | None = None

    @property
    def properties(self) -> dict[str, str]:
        """What the table is created with. Without columns of `statistics`, the feed day alone has any."""
        columns = day_alone(self.schema) if self.statistics is None else self.statistics
        return RETENTION | stats_properties(columns) | ({"delta.appendOnly": "true"} if self.append_only else {})


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


def replace_days(
    frame: "DataFrame",
    target: Target,
    note: Note,
    base: int | None,
    column: str,
    days: Collection[date],
    door: str | None = None,
) -> int:
    """Replace exactly these days by `frame`, or what came by one door on them.

    Returns the version. Raises LostRace, WriteError, ForeignTable, ValueError for a door that is no plain word.
    """
    where = days_predicate(column, days)
    if door is not None:
        if not door.isidentifier():
            raise ValueError(f"{door!r} is no name of a door")
        where = f"({where}) AND {DOOR} = '{door}'"
    return _commit(frame, target, note, base, "overwrite", {"replaceWhere": where}, door)


def replace_parts(
    frame: "DataFrame", target: Target, note: Note, base: int | None, column: str, numbers: Collection[int]
) -> int:
    """Replace exactly the rows whose `column` is one of these numbers. Returns and raises as `replace_days`."""
    listed = ", ".join(str(int(number)) for number in sorted(numbers))
    return _commit(frame, target, note, base, "overwrite", {"replaceWhere": f"{column} IN ({listed})"})


def overwrite(frame: "DataFrame", target: Target, note: Note, base: int | None) -> int:
    """Replace the whole table. Returns the version. Raises as `replace_days`."""
    return _commit(frame, target, note, base, "overwrite", {})


def append(frame: "DataFrame", target: Target, note: Note, base: int | None, door: str | None = None) -> int:
    """Append, only if the table is still at `base`, or if since then nothing came by this door.

    Returns the version. Raises as `replace_days`.
    """
    return _commit(frame, target, note, base, "append", {}, door)


def note_only(target: Target, note: Note, base: int, door: str | None = None) -> int:
    """Commit a note and no rows: what a step made is what the table holds. delta-rs does it, in milliseconds.

    Returns the version. Raises LostRace, WriteError, StoreError.
    """
    application, sequence = _compared(target, base, door)
    reach(Failpoint.BEFORE_SWAP, target.name)
    failure: DeltaError | None = None
    for _ in range(NOTES):
        table = open_table(target.path)
        if table is None or table.transaction_version(application) != (sequence - 1 if sequence else None):
            break
        if any(_changed_by_others(target.path, at, door) for at in range(base + 1, table.version() + 1)):
            break
        try:
            with answering(target.path):
                table.create_write_transaction(
                    [],
                    "append",
                    table.schema(),
                    table.metadata().partition_columns,
                    commit_properties=CommitProperties(
                        custom_metadata={"userMetadata": note.dump()},
                        max_commit_retries=0,
                        app_transactions=[Transaction(application, sequence)],
                    ),
                )
        except DeltaError as error:  # another commit was first; or ours is there, and what follows a commit failed
            failure = error
        reach(Failpoint.AFTER_SWAP, target.name)
        committed = _find(target.path, note, base)
        if committed is not None:
            return committed
        if failure is not None and version_of(target.path) == table.version():
            raise WriteError(f"{target.name} was not written, its version is still {base}: {failure}") from failure
    raise LostRace(f"{target.name}: another run committed after version {base}") from failure


def _changed_by_others(path: Location, version: int, door: str | None) -> bool:
    """Whether a commit without our number may have changed rows: not maintenance, nor a stream by a door of its own."""
    note = Note.load((info_of(path, version) or {}).get("userMetadata"))
    streamed = note is not None and note.kind is Kind.STREAM and door is not None
    return not streamed and changes_rows(actions_of(path, version))


def _commit(
    frame: "DataFrame",
    target: Target,
    note: Note,
    base: int | None,
    mode: str,
    options: dict[str, str],
    door: str | None = None,
) -> int:
    options = options | (target.properties if base is None else _evolution(target))
    start = -1 if base is None else base
    application, sequence = _compared(target, base, door)
    options |= {"txnAppId": application, "txnVersion": str(sequence), "userMetadata": note.dump()}
    failure: PySparkException | None = None
    reach(Failpoint.BEFORE_SWAP, target.name)
    try:
        rows = _described(frame, target.schema).write.format("delta").mode(mode).options(**options)
        with laid_out(frame.sparkSession, target.parquet):
            rows.partitionBy(*target.partition_by).save(str(target.path))
    except PySparkException as error:
        failure = error
    reach(Failpoint.AFTER_SWAP, target.name)
    committed = _find(target.path, note, start)
    if committed is not None:
        return committed
    # Delta has several exceptions for a lost race, of creation another than of appending: the log has one answer.
    if failure is None or version_of(target.path) != base:
        raise LostRace(f"{target.name}: another run committed after version {start}") from failure
    raise WriteError(f"{target.name} was not written, its version is still {start}: {first_line(failure)}") from failure


def _compared(target: Target, base: int | None, door: str | None) -> tuple[str, int]:
    """Delta's transaction identifier and the number it must not have reached: what is compared and swapped.

    The number counts our commits, not Delta's versions, so that maintenance in between changes nothing. Doors of one
    table do not disturb each other, so each has a sequence of its own.
    """
    application = target.name if door is None else f"{target.name}:{door}"
    table = open_table(target.path, base) if base is not None else None
    last = table.transaction_version(application) if table else None
    return application, 0 if last is None else last + 1


def _find(path: Location, note: Note, start: int) -> int | None:
    """The version that our attempt became, if it did."""
    if version_of(path) is None:
        return None
    found = (c.version for c in commits(path, after=start) if c.note and c.note.attempt == note.attempt)
    return next(found, None)


def _described(frame: "DataFrame", schema: "StructType") -> "DataFrame":
    """Columns in the contract's order and type, with its comments: they become the table's when it is created."""
    return frame.select(
        *[
            F.col(column.name).cast(column.dataType).alias(column.name, metadata=dict(column.metadata))
            for column in schema
        ]
    )


def _evolution(target: Target) -> dict[str, str]:
    """Options to add new columns. Raises ForeignTable when the table has other columns or types than declared."""
    table = open_table(target.path)
    if table is None:
        raise ForeignTable(f"{target.name}: the table disappeared while it was being written. Restore its folder.")
    stored = schema_of(table)
    refuse(target.path, target.name, differences(stored, target.schema))
    return {"mergeSchema": "true"} if len(stored) < len(target.schema) else {}


def first_line(error: BaseException) -> str:
    """A Spark error without its JVM stack trace."""
    return str(error).split("\n\nJVM stacktrace", 1)[0].split("\n", 1)[0][:500]
