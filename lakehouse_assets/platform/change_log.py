"""The changes that a table with a state is folded from: as judged, by feed day, in `<table>__changes`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

import pyspark.sql.types as T
from pyspark.sql import functions as F

from lakehouse_assets.platform import snapshots, writer
from lakehouse_assets.platform.delta import DayRows, Note, commits, version_of
from lakehouse_assets.platform.fold import values
from lakehouse_assets.platform.plan import Lake
from lakehouse_assets.platform.state import State
from lakehouse_assets.platform.store import Location
from lakehouse_assets.platform.table import DAY_COLUMN, Table
from lakehouse_assets.platform.touched import info_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SUFFIX = "__changes"
ROWS_PER_FILE = 500_000
MAINTENANCE = ("OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES")


@dataclass(frozen=True)
class News:
    """Days whose changes were written since a version, and how many changes."""

    days: frozenset[date]
    rows: int


@dataclass(frozen=True)
class ChangeLog:
    """The changes of one table."""

    spark: "SparkSession"
    lake: Lake
    table: Table
    spec: State

    @property
    def columns(self) -> list[str]:
        return self.table.compiled.spark_schema.names

    @property
    def target(self) -> writer.Target:
        """The contract's columns; of snapshots also whether a key was there, but in quarantine."""
        schema = self.table.compiled.spark_schema
        if self.spec.snapshots:
            of_key = [T.StructField(f.name, f.dataType, f.name not in self.spec.keys, f.metadata) for f in schema]
            unknown = T.StructField(snapshots.UNKNOWN, T.BooleanType(), False, {"comment": "there, but in quarantine"})
            schema = T.StructType([*of_key, unknown])
        return writer.Target(self.lake.changes(self.table.key), f"{self.table.key}{SUFFIX}", schema)

    @property
    def version(self) -> int | None:
        """The newest version; None: there is none yet."""
        return version_of(self.target.path)

    def read(self, version: int) -> "DataFrame":
        """The changes as of a version."""
        log = self._read(version)
        return (log.where(~F.col(snapshots.UNKNOWN)) if self.spec.snapshots else log).select(*self.columns)

    def replace(
        self,
        kept: "DataFrame",
        withheld: "DataFrame",
        note: Note,
        base: int | None,
        live: "Callable[[], DataFrame] | None",
    ) -> int:
        """Replace the note's days: `kept` are their changes, or their snapshots; `withheld` is in quarantine.

        `live` gives the keys that the newest snapshot has, where the table stands for exactly version `base`. Returns
        the version. Raises as `writer.replace_days`.
        """
        if self.spec.snapshots:
            changed, rows = self._differences(kept, withheld, note, base, live)
        else:
            changed, rows = note.days, kept
        number = sum(of_day.kept for of_day in note.rows.values())
        # What differs is little, and found in parallel: it must not be found in one task because it is one file.
        laid_out = (
            rows.repartition(1, DAY_COLUMN) if base is not None and self.spec.snapshots else _laid_out(rows, number)
        )
        note = replace(note, days=changed)
        return writer.replace_days(laid_out, self.target, note, base, DAY_COLUMN, changed)

    def judged(self, version: int, day: date) -> "DataFrame":
        """The changes of a day, or of snapshots what it held, as of a version."""
        log = self._read(version)
        if not self.spec.snapshots:
            return log.where(F.col(DAY_COLUMN) == F.lit(day))
        contents = snapshots.contents_as_of(log, self.spec, day, self.columns)
        return contents.where(~F.col(snapshots.UNKNOWN)).select(*self.columns)

    def as_judged(self, kept: "DataFrame") -> "DataFrame":
        """The rows of a step as `judged` gives them: of a snapshot, the hash is of what a row says, not of its text."""
        if not self.spec.snapshots:
            return kept
        said = F.to_json(F.struct(*self.spec.keys, *values(self.spec, self.columns)), {"ignoreNullFields": "false"})
        return kept.select(
            *[(F.sha2(said, 256) if name == "record_hash" else F.col(name)).alias(name) for name in self.columns]
        )

    def _differences(
        self,
        kept: "DataFrame",
        withheld: "DataFrame",
        note: Note,
        base: int | None,
        live: "Callable[[], DataFrame] | None",
    ) -> "tuple[frozenset[date], DataFrame]":
        """The days whose changes are new (those made, and the next snapshots after them), and these changes."""
        spec, columns = self.spec, self.columns
        unknown = withheld.join(kept.select(DAY_COLUMN, *spec.keys), [DAY_COLUMN, *spec.keys], "left_anti").distinct()
        contents = (
            self.as_judged(kept)
            .select("*", F.lit(False).alias(snapshots.UNKNOWN))
            .unionByName(
                unknown.select("*", F.lit(True).alias(snapshots.UNKNOWN), F.lit(False).alias("is_deleted")),
                allowMissingColumns=True,
            )
        )
        held = self._snapshot_days(base)
        old = {day for day, rows in held.items() if rows.kept or rows.quarantined}
        new = {day for day, rows in note.rows.items() if rows.kept or rows.quarantined}
        unsure = {day for day, rows in held.items() if rows.quarantined}
        of = snapshots.chains(old, note.days, new, unsure)
        before = {chain.before for chain in of if chain.before} - new
        again = {day for chain in of for day in chain.days} - new
        if before or again:
            log = self._read(base or 0)
            for day in before:
                if live and day == max(old):
                    known = snapshots.dated(live(), day, columns)
                else:
                    known = snapshots.known_as_of(log, spec, day, columns)
                contents = contents.unionByName(known)
            for day in again - before:
                contents = contents.unionByName(snapshots.contents_as_of(log, spec, day, columns))
        changed = note.days | again
        if not of:
            return changed, contents.limit(0)
        return changed, snapshots.differences(self.spark, contents, spec, columns, of)

    def _read(self, version: int) -> "DataFrame":
        return self.spark.read.format("delta").option("versionAsOf", version).load(str(self.target.path))

    def _snapshot_days(self, version: int | None) -> dict[date, DayRows]:
        """The days that were made, and what became of their rows."""
        made: dict[date, DayRows] = {}
        for commit in commits(self.target.path, until=version) if version is not None else ():
            made = {**(commit.note.rows if commit.note else {}), **made}
        return made


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
        note = Note.load(entry.get("userMetadata"))
        if note is None and entry.get("operation") not in MAINTENANCE:
            return None
        days |= note.days if note else set()
        rows += int(entry.get("operationMetrics", {}).get("numOutputRows", 0)) if note else 0
    return News(frozenset(days), rows) if since <= until else None
