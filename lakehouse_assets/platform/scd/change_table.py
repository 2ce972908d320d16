"""The changes that a table with a state is folded from: as judged, by feed day, in `<table>__changes`."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

import pyspark.sql.types as T
from pyspark.sql import functions as F

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.declare.scd import BUCKET, Scd
from lakehouse_assets.platform.declare.statistics_columns import stats_columns
from lakehouse_assets.platform.declare.table import Table
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.scd import snapshot_diff
from lakehouse_assets.platform.scd.merge_changes import bucket
from lakehouse_assets.platform.storage import delta_writer
from lakehouse_assets.platform.storage.commit_actions import actions_of, info_of, moves_rows, rows_per_day
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata
from lakehouse_assets.platform.storage.data_files import active_files, values_on
from lakehouse_assets.platform.storage.delta_table import commits, open_table, version_of
from lakehouse_assets.platform.storage.location import Location
from lakehouse_assets.platform.storage.pinned_read import read_version
from lakehouse_assets.platform.validation.validated_rows import ValidatedRows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SUFFIX = "__changes"
ROWS_PER_FILE = 500_000
IN_MEMORY = 1_000_000  # rows of a snapshot; a quarter of them in each of two tasks
MAINTENANCE = ("ADD COLUMN", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES")
"""Operations that touch no row; what only moves rows to other files is seen by its actions."""


@dataclass(frozen=True)
class News:
    """Days whose changes were written since a version, and how many changes."""

    days: frozenset[date]
    rows: int


def change_target(lake: Lake, table: Table, spec: Scd) -> delta_writer.Target:
    """The changes of a table as the writer knows them.

    They have the contract's columns; of snapshots also whether a key was there, but in quarantine.
    """
    schema = table.compiled.spark_schema
    if spec.snapshots:
        of_key = [T.StructField(f.name, f.dataType, f.name not in spec.keys, f.metadata) for f in schema]
        unknown = T.StructField(snapshot_diff.UNKNOWN, T.BooleanType(), False, {"comment": "there, but in quarantine"})
        schema = T.StructType([*of_key, unknown])
    return delta_writer.Target(
        lake.changes(table.key),
        f"{table.key}{SUFFIX}",
        schema,
        parquet=table.parquet,
        statistics=stats_columns(table),
    )


@dataclass(frozen=True)
class ChangeLog:
    """The changes of one table."""

    spark: "SparkSession"
    lake: Lake
    table: Table
    spec: Scd

    @property
    def columns(self) -> list[str]:
        return self.table.compiled.spark_schema.names

    @property
    def target(self) -> delta_writer.Target:
        """The changes as the writer knows them."""
        return change_target(self.lake, self.table, self.spec)

    @property
    def version(self) -> int | None:
        """The newest version; None: there is none yet."""
        return version_of(self.target.path)

    def read(self, version: int) -> "DataFrame":
        """The changes as of a version."""
        log = self._read(version)
        return (log.where(~F.col(snapshot_diff.UNKNOWN)) if self.spec.snapshots else log).select(*self.columns)

    def add_files(
        self, written: ValidatedRows, passed: Collection[Location], metadata: CommitMetadata, base: int | None
    ) -> int:
        """Replace the note's days by the changes in these files of a step. Returns the version.

        Raises as `delta_writer.replace_days`.
        """
        return delta_writer.commit_files(
            self.target,
            written.attempt,
            [*dict.fromkeys(file.parent for file in passed)],
            metadata,
            base,
            lambda files: delta_writer.replaced_days(files, DAY_COLUMN, metadata.days),
            lambda file: file.may_hold_days(DAY_COLUMN, metadata.days),
            written.named,
        )

    def parts(self, version: int, days: Collection[date]) -> set[int] | None:
        """The parts of the table that the keys of these days' changes belong to; None where files do not say."""
        table = open_table(self.target.path, version)
        if table is None:
            return None
        files = [file.at(self.target.path) for file in active_files(table) if file.may_hold_days(DAY_COLUMN, days)]
        return values_on(files, DAY_COLUMN, days, BUCKET)

    def replace_snapshots(
        self,
        kept: "DataFrame",
        quarantined_rows: "DataFrame",
        metadata: CommitMetadata,
        base: int | None,
        live: "Callable[[], DataFrame] | None",
    ) -> int:
        """Replace the note's days by what their snapshots change: `kept` is what these hold, `quarantined_rows` in
        quarantine.

        `live` gives the keys that the newest snapshot has, where the table stands for exactly version `base`. Returns
        the version. Raises as `delta_writer.replace_days`.
        """
        changed, rows = self._differences(kept, quarantined_rows, metadata, base, live)
        number = sum(of_day.kept for of_day in metadata.rows.values())
        # What differs is little, and found in parallel: it must not be found in one task because it is one file.
        laid_out = rows.repartition(1, DAY_COLUMN) if base is not None else _laid_out(rows, number)
        metadata, parts = replace(metadata, days=changed), {BUCKET: bucket(self.spec)}
        return delta_writer.replace_days(
            laid_out, self.target, metadata, base, DAY_COLUMN, changed, extra=parts, alone=True
        )

    def validated(self, version: int, day: date) -> "DataFrame":
        """The changes of a day, or of snapshots what it held, as of a version."""
        log = self._read(version)
        if not self.spec.snapshots:
            return log.where(F.col(DAY_COLUMN) == F.lit(day))
        contents = snapshot_diff.contents_as_of(log, self.spec, day, self.columns)
        return contents.where(~F.col(snapshot_diff.UNKNOWN)).select(*self.columns)

    def as_validated(self, kept: "DataFrame") -> "DataFrame":
        """The rows of a step as `validated` gives them: of a snapshot, the hash is of what a row says, not of its
        text."""
        if not self.spec.snapshots:
            return kept
        hashed = snapshot_diff.said_hash(self.spec, self.columns)
        return kept.select(*[(hashed if n == snapshot_diff.RECORD_HASH else F.col(n)).alias(n) for n in self.columns])

    def _differences(
        self,
        kept: "DataFrame",
        quarantined_rows: "DataFrame",
        metadata: CommitMetadata,
        base: int | None,
        live: "Callable[[], DataFrame] | None",
    ) -> "tuple[frozenset[date], DataFrame]":
        """The days whose changes are new (those made, and the next snapshots after them), and these changes."""
        spec, columns = self.spec, self.columns
        old, unsure = self._snapshot_days(base)
        new = _snapshots_of(metadata)
        of = snapshot_diff.chains(old, metadata.days, new, unsure)
        if not of:
            return metadata.days, self._contents(kept, quarantined_rows, metadata).limit(0)
        if live and old and len(new) == 1 and of == [snapshot_diff.Chain(max(old), tuple(new))]:
            contents = self._contents(kept, quarantined_rows, metadata)
            in_memory = sum(rows.kept for rows in metadata.rows.values()) <= IN_MEMORY
            after = snapshot_diff.next_differences(contents, live(), spec, columns, max(new), in_memory=in_memory)
            return metadata.days, after
        contents = self._contents(self.as_validated(kept), quarantined_rows, metadata)
        if len(new) == 1 and of == [snapshot_diff.Chain(None, tuple(new))]:
            return metadata.days, contents  # the only snapshot: everything is new
        before = {chain.before for chain in of if chain.before} - new
        again = {day for chain in of for day in chain.days} - new
        log = self._read(base)
        for day in before:
            if live and day == max(old):
                known = snapshot_diff.dated(live(), day, columns)
            else:
                known = snapshot_diff.known_as_of(log, spec, day, columns)
            contents = contents.unionByName(known)
        for day in again - before:
            contents = contents.unionByName(snapshot_diff.contents_as_of(log, spec, day, columns))
        return metadata.days | again, snapshot_diff.differences(self.spark, contents, spec, columns, of)

    def _contents(self, kept: "DataFrame", quarantined_rows: "DataFrame", metadata: CommitMetadata) -> "DataFrame":
        """What the snapshots hold: rows that are known, and keys that are in quarantine."""
        known = kept.select(*self.columns, F.lit(False).alias(snapshot_diff.UNKNOWN))
        if not any(rows.quarantined for rows in metadata.rows.values()):
            return known
        keys = [DAY_COLUMN, *self.spec.keys]
        unknown = quarantined_rows.join(kept.select(*keys), keys, "left_anti").distinct()
        added = {snapshot_diff.UNKNOWN: F.lit(True), "is_deleted": F.lit(False)}
        return known.unionByName(unknown.withColumns(added), allowMissingColumns=True)

    def _read(self, version: int | None) -> "DataFrame":
        if version is None:
            return self.spark.createDataFrame([], self.target.schema)
        return read_version(self.spark, self.target.path, version, self.target.schema)

    def _snapshot_days(self, version: int | None) -> tuple[set[date], set[date]]:
        """The days that hold a snapshot, and those of them of which keys are in quarantine."""
        made: set[date] = set()
        old: set[date] = set()
        unsure: set[date] = set()
        for commit in commits(self.target.path, until=version) if version is not None else ():
            if commit.metadata:
                new = commit.metadata.rows.keys() - made
                made |= new
                old |= new & _snapshots_of(commit.metadata)
                unsure |= {day for day in new if commit.metadata.rows[day].quarantined}
        return old, unsure


def _snapshots_of(metadata: CommitMetadata) -> set[date]:
    """The days of a commit that hold a snapshot: one without a row only where that was really meant."""
    return {
        day for day, rows in metadata.rows.items() if rows.kept or rows.quarantined or day in metadata.empty_snapshots
    }


def _laid_out(rows: "DataFrame", number: int) -> "DataFrame":
    files = max(1, -(-number // ROWS_PER_FILE))
    placed = rows.coalesce(1) if files == 1 else rows.repartitionByRange(files, DAY_COLUMN)
    return placed.sortWithinPartitions(DAY_COLUMN)


def news(path: Location, since: int, until: int) -> News | None:
    """What was written to the changes after `since`; None where somebody else wrote: then anything may be new."""
    days: set[date] = set()
    rows = 0
    for version in range(since + 1, until + 1):
        entry = info_of(path, version)
        if entry is None:
            return None
        metadata = CommitMetadata.load(entry.get("userMetadata"))
        if metadata is None and entry.get("operation") not in MAINTENANCE and not moves_rows(actions_of(path, version)):
            return None
        days |= metadata.days if metadata else set()
        rows += sum(count or 0 for count in rows_per_day(path, version).values()) if metadata else 0
    return News(frozenset(days), rows) if since <= until else None
