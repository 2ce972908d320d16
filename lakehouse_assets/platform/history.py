"""The commits of a table with a state: first the changes of its days, then what the table becomes by them.

Both are compare-and-swap. The table's commit says up to which version of the changes it was folded, so that whatever
was committed of the changes and not yet of the table (a killed run) is caught up by the next commit.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import date
from functools import reduce
from typing import TYPE_CHECKING

import pyspark.sql.types as T
from pyspark.sql import functions as F

from lakehouse_assets.platform import snapshots, writer
from lakehouse_assets.platform.days import write_days
from lakehouse_assets.platform.delta import Note, Pin, commits, last_note, may_hold, open_table, version_of
from lakehouse_assets.platform.evaluate import RUN_COLUMNS
from lakehouse_assets.platform.fold import BUCKET, bucket, fold, newest, values, versions
from lakehouse_assets.platform.plan import Lake, LostInput, Plan
from lakehouse_assets.platform.state import State
from lakehouse_assets.platform.table import DAY_COLUMN, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pyspark.sql import Column, DataFrame, SparkSession

CHANGES = "__changes"
"""Under this name the table's commits note which version of the changes they were folded from."""

ROWS_PER_FILE = 500_000
SMALL = 1_000_000
"""Changes up to this number are sent whole to where the table's rows are, instead of both being shuffled."""
MAINTENANCE = ("OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES")
NO_BUCKET = -1
OLD = "_old"


def change_columns(spec: State) -> "dict[str, Column]":
    """What the contract of a table with a state has beside what its function returns, as a single change has it."""
    deleted = F.coalesce(F.expr(spec.delete_when), F.lit(False)) if spec.delete_when else F.lit(False)
    return {
        "is_deleted": deleted,
        "effective_from": F.col(spec.sequence[0]),
        "effective_to": F.lit(None),
        "is_current": F.lit(True),
    }


@dataclass(frozen=True)
class StateTable:
    """A table with a state, and the changes beside it."""

    spark: "SparkSession"
    lake: Lake
    table: Table
    spec: State

    @property
    def columns(self) -> list[str]:
        return self.table.compiled.spark_schema.names

    @property
    def log(self) -> writer.Target:
        """The changes: the contract's columns; of snapshots also whether a key was there, but in quarantine."""
        schema = self.table.compiled.spark_schema
        if self.spec.snapshots:
            of_key = [T.StructField(f.name, f.dataType, f.name not in self.spec.keys, f.metadata) for f in schema]
            unknown = T.StructField(snapshots.UNKNOWN, T.BooleanType(), False, {"comment": "there, but in quarantine"})
            schema = T.StructType([*of_key, unknown])
        return writer.Target(self.lake.changes(self.table.key), f"{self.table.key}{CHANGES}", schema)

    @property
    def state(self) -> writer.Target:
        part = T.StructField(BUCKET, T.IntegerType(), False, {"comment": "part of the table that the key belongs to"})
        schema = T.StructType([*self.table.compiled.spark_schema, part])
        path = self.lake.path(self.table.key)
        return writer.Target(path, str(self.table.key), schema, partition_by=(BUCKET,))

    def commit(self, plan: Plan, kept: "DataFrame", withheld: "DataFrame", note: Note) -> int:
        """Commit the note's days: `kept` are their changes (or snapshots), `withheld` their rows in quarantine.

        Returns the table's version. Raises as `writer.replace_days`, and LostInput when the changes are gone.
        """
        base = version_of(self.log.path)
        if base is None and plan.base is not None:
            raise LostInput(
                f"{self.log.path} is gone, from which {self.table.key} is made. Nothing was written. "
                "Restore the folder, or move the table away as well and make all its days again."
            )
        if self.spec.snapshots:
            changed, rows = self._snapshot_changes(plan, kept, withheld, note, base)
        else:
            changed, rows = note.days, kept
        number = sum(of_day.kept for of_day in note.rows.values())
        laid_out = self._laid_out(rows, number)
        version = writer.replace_days(laid_out, self.log, replace(note, days=changed), base, DAY_COLUMN, changed)
        return self._fold(plan, note, version)

    def _laid_out(self, rows: "DataFrame", number: int) -> "DataFrame":
        files = max(1, -(-number // ROWS_PER_FILE))
        placed = rows.coalesce(1) if files == 1 else rows.repartitionByRange(files, DAY_COLUMN)
        return placed.sortWithinPartitions(DAY_COLUMN)

    # Snapshots become changes

    def _snapshot_changes(
        self, plan: Plan, kept: "DataFrame", withheld: "DataFrame", note: Note, base: int | None
    ) -> "tuple[frozenset[date], DataFrame]":
        """The days whose changes are new (those made, and the next snapshots after them), and these changes."""
        spec, columns = self.spec, self.columns
        said = F.to_json(F.struct(*spec.keys, *values(spec, columns)), {"ignoreNullFields": "false"})
        hashed = kept.select(*[(F.sha2(said, 256) if c == "record_hash" else F.col(c)).alias(c) for c in columns])
        unknown = withheld.join(kept.select(DAY_COLUMN, *spec.keys), [DAY_COLUMN, *spec.keys], "left_anti").distinct()
        contents = hashed.select("*", F.lit(False).alias(snapshots.UNKNOWN)).unionByName(
            unknown.select("*", F.lit(True).alias(snapshots.UNKNOWN), F.lit(False).alias("is_deleted")),
            allowMissingColumns=True,
        )
        old = _snapshot_days(self.log.path, base)
        new = {day for day, rows in note.rows.items() if rows.kept or rows.quarantined}
        of = snapshots.chains(old, note.days, new)
        before = {chain.before for chain in of if chain.before} - new
        again = {day for chain in of for day in chain.days} - new
        if before or again:
            log = self._read(self.log.path, base)
            for day in before:
                newest_day = day == max(old) and self._is_folded(plan.base, base)
                known = self._live(plan, day) if newest_day else snapshots.known_as_of(log, spec, day, columns)
                contents = contents.unionByName(known)
            for day in again - before:
                contents = contents.unionByName(snapshots.contents_as_of(log, spec, day, columns))
        changed = note.days | again
        if not of:
            return changed, contents.limit(0)
        return changed, snapshots.differences(self.spark, contents, spec, columns, of)

    def _live(self, plan: Plan, day: date) -> "DataFrame":
        now = self._read(self.state.path, plan.base).where("is_current AND NOT is_deleted")
        return snapshots.dated(now, day, self.columns)

    def _is_folded(self, state: int | None, log: int | None) -> bool:
        """Whether the table stands for exactly this version of the changes."""
        return state is not None and log is not None and self._folded(state) == log

    # Changes become the table

    @property
    def _pin(self) -> str:
        """Under which name a commit notes the changes it was folded from. Another declaration folds everything anew."""
        return f"{CHANGES} {hashlib.sha256(repr(self.spec).encode()).hexdigest()[:8]}"

    def _folded(self, state: int | None) -> int | None:
        note = last_note(self.state.path, state) if state is not None else None
        pin = note.inputs.get(self._pin) if note else None
        return pin.version if pin else None

    def _fold(self, plan: Plan, note: Note, version: int) -> int:
        since = self._folded(plan.base)
        news = _news(self.log.path, since, version) if since is not None else None
        pin = Pin(version, "all" if news is None else write_days(news.days))
        note = replace(note, inputs={**note.inputs, self._pin: pin})
        if since is None or news is None:
            rows = fold(self._changes(version), self.spec, self.columns).select("*", bucket(self.spec))
            return writer.overwrite(rows.repartition(BUCKET), self.state, note, plan.base)
        return self._merge(plan, note, self._refolded(plan, since, version, news))

    def _merge(self, plan: Plan, note: Note, refolded: "_Refolded") -> int:
        """Write those parts of the table in which a row changes."""
        keys = self.spec.keys
        rows = refolded.rows.persist()
        changed = refolded.changed(keys).persist()
        try:
            parts = {row[0] for row in changed.select(bucket(self.spec)).distinct().collect()} or {NO_BUCKET}
            state = self._read(self.state.path, plan.base).where(F.col(BUCKET).isin(*parts))
            other = refolded.hint(changed.select(*[F.col(key).alias(f"_{key}") for key in keys]))
            same = reduce(lambda a, b: a & b, [F.col(key) == F.col(f"_{key}") for key in keys])
            stays = state.join(other, same & F.expr(refolded.replaces), "left_anti")
            new = rows.where(~F.col(OLD)).join(refolded.hint(changed), list(keys), "left_semi")
            written = stays.unionByName(new.select(*self.columns, bucket(self.spec))).repartition(BUCKET)
            return writer.replace_parts(written, self.state, note, plan.base, BUCKET, parts)
        finally:
            changed.unpersist()
            rows.unpersist()

    def _refolded(self, plan: Plan, since: int, version: int, news: "_News") -> "_Refolded":
        """What becomes of the keys that the days of the news held before or hold now.

        Where nothing was taken back, the state of a key stands for all its older changes: the current state does
        always, the current version does if all news are later. Else all changes of the key are folded again.
        """
        spec, columns = self.spec, self.columns
        state = self._read(self.state.path, plan.base).select(*columns)
        after = self._changes(version).where(writer.on_days(DAY_COLUMN, news.days))
        hint = _broadcast if news.rows <= SMALL else _as_it_is
        keys = after.select(*spec.keys)
        old, new = F.lit(True).alias(OLD), F.lit(False).alias(OLD)
        if not spec.history and not may_hold(self.log.path, DAY_COLUMN, news.days, since):
            of_keys = state.join(hint(keys.distinct()), list(spec.keys), "left_semi")
            known = after.select("*", new).unionByName(of_keys.select("*", old))
            return _Refolded(newest(known, spec, [*columns, OLD]), (), "true", hint)
        if spec.snapshots and not may_hold(self.log.path, DAY_COLUMN, [min(news.days), date.max], since):
            current = state.where("is_current").join(hint(keys.distinct()), list(spec.keys), "left_semi")
            folded = versions(after.unionByName(current), spec, columns)
            rows = folded.select("*", new).unionByName(current.select("*", old))
            return _Refolded(rows, _compared(columns), "is_current", hint)
        before = self._changes(since).where(writer.on_days(DAY_COLUMN, news.days)).select(*spec.keys)
        touched = keys.unionByName(before).distinct()
        folded = fold(self._changes(version).join(hint(touched), list(spec.keys), "left_semi"), spec, columns)
        of_keys = state.join(hint(touched), list(spec.keys), "left_semi")
        rows = folded.select("*", new).unionByName(of_keys.select("*", old))
        return _Refolded(rows, _compared(columns), "true", hint)

    def _changes(self, version: int) -> "DataFrame":
        log = self._read(self.log.path, version)
        return (log.where(~F.col(snapshots.UNKNOWN)) if self.spec.snapshots else log).select(*self.columns)

    def _read(self, path: "Path", version: int | None) -> "DataFrame":
        return self.spark.read.format("delta").option("versionAsOf", version or 0).load(str(path))


@dataclass(frozen=True)
class _Refolded:
    """Rows of the keys in question, as they become and (`_old`) as they are.

    `compared`: the columns by which both are told apart; none: the rows that are there are those that changed.
    `replaces`: SQL for the rows of a changed key that give way. `hint`: how to join with keys.
    """

    rows: "DataFrame"
    compared: tuple[str, ...]
    replaces: str
    hint: "Callable[[DataFrame], DataFrame]"

    def changed(self, keys: tuple[str, ...]) -> "DataFrame":
        """Keys whose rows change."""
        if not self.compared:
            return self.rows.where(~F.col(OLD)).select(*keys)
        nulls = [F.isnull(name) for name in self.compared]
        content = F.xxhash64(*self.compared, *nulls).cast("decimal(38,0)")
        balance = F.sum(F.when(F.col(OLD), -content).otherwise(content)).alias("balance")
        more = F.sum(F.when(F.col(OLD), -1).otherwise(1)).alias("more")
        return self.rows.groupBy(*keys).agg(balance, more).where("balance != 0 OR more != 0").select(*keys)


@dataclass(frozen=True)
class _News:
    """Days whose changes were written since a version, and how many changes."""

    days: frozenset[date]
    rows: int


def _news(path: "Path", since: int, until: int) -> _News | None:
    """What was written to the changes after `since`; None where somebody else wrote: then anything may be new."""
    table = open_table(path, until)
    if table is None or until < since:
        return None
    days: set[date] = set()
    rows = 0
    for entry in table.history(until - since):
        note = Note.load(entry.get("userMetadata"))
        if note is None and entry.get("operation") not in MAINTENANCE:
            return None
        days |= note.days if note else set()
        rows += int(entry.get("operationMetrics", {}).get("numOutputRows", 0)) if note else 0
    return _News(frozenset(days), rows)


def _snapshot_days(path: "Path", version: int | None) -> frozenset[date]:
    """The days of which the changes stand for a snapshot."""
    made: dict[date, bool] = {}
    for commit in commits(path, until=version) if version is not None else ():
        for day, rows in commit.note.rows.items() if commit.note else ():
            made.setdefault(day, bool(rows.kept or rows.quarantined))
    return frozenset(day for day, is_snapshot in made.items() if is_snapshot)


def _compared(columns: "Sequence[str]") -> tuple[str, ...]:
    return tuple(name for name in columns if name not in RUN_COLUMNS)


def _broadcast(keys: "DataFrame") -> "DataFrame":
    return F.broadcast(keys)


def _as_it_is(keys: "DataFrame") -> "DataFrame":
    return keys
