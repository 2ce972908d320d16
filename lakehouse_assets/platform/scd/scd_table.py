"""The commits of a table with a state: first the changes of its days, then what the table becomes by them.

Both are compare-and-swap. The table's commit says up to which version of the changes it was folded, so that whatever
was committed of the changes and not yet of the table (a killed run) is caught up by the next commit.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import date
from functools import partial, reduce
from typing import TYPE_CHECKING

import pyspark.sql.types as T
from pyspark.sql import functions as F

from lakehouse_assets.platform.common.days import DAY_COLUMN, write_days
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.scd import BUCKET, Scd
from lakehouse_assets.platform.declare.statistics_columns import stats_columns
from lakehouse_assets.platform.declare.table import Table
from lakehouse_assets.platform.planning.empty_snapshots import declared_empty
from lakehouse_assets.platform.planning.erased_since import refuse_erased
from lakehouse_assets.platform.planning.plan import Lake, LostInput, Plan
from lakehouse_assets.platform.scd.change_table import SUFFIX, ChangeLog, News, change_target
from lakehouse_assets.platform.scd.change_table import news as news_since
from lakehouse_assets.platform.scd.merge_changes import bucket, fold
from lakehouse_assets.platform.scd.replacements import (
    Replacement,
    close_current,
    hint_for,
    merge_again,
    merge_current,
    upsert_newest,
)
from lakehouse_assets.platform.storage import delta_writer
from lakehouse_assets.platform.storage.commit import Swap, commit
from lakehouse_assets.platform.storage.commit_actions import actions_of, changes_rows
from lakehouse_assets.platform.storage.commit_log import unvalidated
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, DayRows, InputVersion
from lakehouse_assets.platform.storage.data_files import ActiveFile
from lakehouse_assets.platform.storage.delta_table import commits, last_metadata
from lakehouse_assets.platform.storage.location import Location
from lakehouse_assets.platform.storage.log_statistics import bytes_of, may_hold
from lakehouse_assets.platform.storage.parquet_files import read_parquet
from lakehouse_assets.platform.storage.pinned_read import read_version
from lakehouse_assets.platform.validation.validated_rows import ValidatedRows

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pyspark.sql import Column, DataFrame, SparkSession

CHANGES = SUFFIX
"""Under this name the table's commits note which version of the changes they were folded from."""

LARGE = 64 * 2**20
"""Bytes of the touched parts from which on they are written as they were read, each task its own part."""
NO_BUCKET = -1


def change_columns(spec: Scd, schema: T.StructType) -> "dict[str, tuple[Column, T.DataType]]":
    """What the contract of a table with a state has beside what its function returns, as a single change has it.

    `schema`: of what the function returns.
    """
    deleted = F.coalesce(F.expr(spec.delete_when), F.lit(False)) if spec.delete_when else F.lit(False)
    return {
        "is_deleted": (deleted, T.BooleanType()),
        "effective_from": (F.col(spec.sequence[0]), schema[spec.sequence[0]].dataType),
        "effective_to": (F.lit(None), T.NullType()),
        "is_current": (F.lit(True), T.BooleanType()),
    }


def target_of(lake: Lake, table: Table) -> delta_writer.Target:
    """A declared table as the writer knows it; one with a state has also the part that a key belongs to."""
    schema, path, kept = table.compiled.spark_schema, lake.path(table.key), stats_columns(table)
    if not isinstance(table.write, Scd):
        return delta_writer.Target(path, str(table.key), schema, parquet=table.parquet, statistics=kept)
    part = T.StructField(BUCKET, T.IntegerType(), False, {"comment": "part of the table that the key belongs to"})
    schema = T.StructType([*schema, part])
    return delta_writer.Target(
        path, str(table.key), schema, partition_by=(BUCKET,), parquet=table.parquet, statistics=kept
    )


def files_of(lake: Lake, table: Table) -> "tuple[delta_writer.Target, Mapping[str, Column]]":
    """Where a step writes the rows of a table, and the columns that the files have beside the declared ones.

    Of a table with a state they are changes of its keys, and say which part of the table each key belongs to.
    """
    if not isinstance(table.write, Scd):
        return target_of(lake, table), {}
    return change_target(lake, table, table.write), {BUCKET: bucket(table.write)}


@dataclass(frozen=True)
class ScdTable:
    """A table with a state, and the changes beside it."""

    spark: "SparkSession"
    lake: Lake
    table: Table
    spec: Scd

    @property
    def columns(self) -> list[str]:
        return self.table.compiled.spark_schema.names

    @property
    def state(self) -> delta_writer.Target:
        return target_of(self.lake, self.table)

    @property
    def log(self) -> ChangeLog:
        """The changes beside the table."""
        return ChangeLog(self.spark, self.lake, self.table, self.spec)

    def commit(
        self,
        plan: Plan,
        written: ValidatedRows,
        passed: "Collection[Location]",
        left: "Collection[Location]",
        metadata: CommitMetadata,
    ) -> int:
        """Commit the note's days: `passed` are files of their changes (or snapshots), `left` of their quarantined rows.

        Returns the table's version. Raises as `delta_writer.replace_days`, and LostInput when the changes are gone.
        """
        base = self.log.version
        refuse_erased(self.lake, plan)
        if base is None and plan.base is not None:
            raise LostInput(
                f"{self.log.target.path} is gone, from which {self.table.key} is made. Nothing was written. "
                "Restore the folder."
            )
        live = partial(self._live, plan.base) if self.is_folded(plan.base) else None
        changed = {day: rows for day, rows in metadata.rows.items() if day in metadata.days}
        changes = replace(metadata, rows=changed, unchanged=frozenset(), base=base)
        if not self.spec.snapshots:
            return self._fold(plan, metadata, self.log.add_files(written, passed, changes, base))
        schema = self.table.compiled.spark_schema
        kept = read_parquet(self.spark, passed, schema)
        known = reduce(lambda a, b: a & b, [F.col(key).isNotNull() for key in self.spec.keys])
        quarantined_rows = read_parquet(self.spark, left, schema).where(known).select(DAY_COLUMN, *self.spec.keys)
        return self._fold(plan, metadata, self.log.replace_snapshots(kept, quarantined_rows, changes, base, live))

    def metadata_only(self, plan: Plan, metadata: CommitMetadata, base: int) -> int:
        """Commit a note and no rows, where all days are what they were. Returns and raises as `commit`.

        It notes the changes that `base` was folded from: others may have come meanwhile, which are not in the table.
        """
        metadata = replace(
            metadata, inputs={**metadata.inputs, self._input_version: InputVersion(self._folded(base), "")}
        )
        return commit(self.state, metadata, base, Swap([], [], lambda file: True, alone=True))

    def empty_snapshots(self, plan: Plan, rows: "Mapping[date, DayRows]") -> frozenset[date]:
        """Days whose snapshot really has no row."""
        return declared_empty(self.lake, plan, rows) if self.spec.snapshots else frozenset()

    def is_folded(self, base: int | None) -> bool:
        """Whether the table, as of a version, is what all changes make of it, and nobody else wrote into it.

        What maintenance committed to the changes since changes none.
        """
        path, version, folded = self.log.target.path, self.log.version, self._folded(base)
        if version is None or folded is None or folded > version or unvalidated(self.state.path):
            return False
        later = list(commits(path, after=folded, until=version))
        return len(later) == version - folded and all(
            one.metadata is None and not changes_rows(actions_of(path, one.version)) for one in later
        )

    def validated_then(self, plan: Plan, day: date) -> "DataFrame":
        """The changes of a day (of snapshots: what it held) as they were when the plan's commit was made.

        Raises LakehouseError where the table was declared otherwise then.
        """
        folded = plan.input_versions.get(self._input_version)
        if folded is None:
            raise LakehouseError(
                f"{self.table.key} was declared with another kind of write when this day was committed, so its changes "
                f"then are unknown. Materialize the day again: lakehouse materialize {self.table.key} --days {day}"
            )
        return self.log.validated(folded.version or 0, day)

    def _live(self, base: int | None) -> "DataFrame":
        return self._read(base).where("is_current AND NOT is_deleted")

    @property
    def _input_version(self) -> str:
        """Under which name a commit notes the changes it was folded from. Another declaration folds everything anew."""
        declared = f"State{repr(self.spec).removeprefix('Scd')}"  # as commits of 0.1 have it
        return f"{CHANGES} {hashlib.sha256(declared.encode()).hexdigest()[:8]}"

    def _folded(self, state: int | None) -> int | None:
        metadata = last_metadata(self.state.path, state) if state is not None else None
        input_version = metadata.inputs.get(self._input_version) if metadata else None
        return input_version.version if input_version else None

    def _fold(self, plan: Plan, metadata: CommitMetadata, version: int) -> int:
        # What somebody else wrote into the table is not made of its changes: then it is folded anew, whole.
        since = None if unvalidated(self.state.path) else self._folded(plan.base)
        news = news_since(self.log.target.path, since, version) if since is not None else None
        input_version = InputVersion(version, "all" if news is None else write_days(news.days))
        metadata = replace(metadata, inputs={**metadata.inputs, self._input_version: input_version})
        if since is None or news is None:
            rows = fold(self.log.read(version), self.spec, self.columns).select("*", bucket(self.spec))
            return delta_writer.overwrite(rows.repartition(BUCKET), self.state, metadata, plan.base)
        replacement = self._replacement(plan, since, version, news)
        return self._merge(plan, metadata, replacement, self.log.parts(version, news.days))

    def _merge(self, plan: Plan, metadata: CommitMetadata, replacement: Replacement, of_news: set[int] | None) -> int:
        """Write the parts in which a row may change; where these are not known, those in which one does."""
        parts = of_news if replacement.keys is None else None
        new = replacement.new if parts is not None else replacement.new.persist()
        try:
            if parts is None:
                parts = self._parts(replacement.keys if replacement.keys is not None else new)
            stays = replacement.remaining(self._read(plan.base, parts))
            if not self._is_large(plan.base, parts):
                stays = stays.repartition(BUCKET)
            comes = new.select(*self.columns, bucket(self.spec)).repartition(BUCKET)
            return delta_writer.replace_parts(stays.unionByName(comes), self.state, metadata, plan.base, BUCKET, parts)
        finally:
            for held in (new, *replacement.held):
                held.unpersist()

    def _parts(self, keys: "DataFrame") -> set[int]:
        """The parts of the table that these keys belong to."""
        return {row[0] for row in keys.select(bucket(self.spec)).distinct().collect()}

    def _is_large(self, base: int | None, parts: "Collection[int]") -> bool:
        """Whether the files of these parts are so large that they stay apart by themselves, without a shuffle."""
        return bytes_of(self.state.path, base, BUCKET, parts) > LARGE

    def _replacement(self, plan: Plan, since: int, version: int, news: News) -> Replacement:
        """What becomes of the keys that the days of the news held before or hold now."""
        spec, columns, hint = self.spec, self.columns, hint_for(news.rows)
        state = self._read(plan.base).select(*columns)
        after = self.log.read(version).where(delta_writer.on_days(DAY_COLUMN, news.days))
        changes = self.log.target.path
        if not spec.history and not may_hold(changes, DAY_COLUMN, news.days, since):
            return upsert_newest(after, state, spec, columns, hint)
        if spec.snapshots and not may_hold(changes, DAY_COLUMN, [min(news.days), date.max], since):
            if len(news.days) == 1 and spec.track is None:
                # One change a key, and each says something else than the version before, or it would be none.
                ends = {"effective_to": F.lit(min(news.days)), "is_current": F.lit(False)}
                return close_current(after, ends, spec, hint)
            return merge_current(after, state, spec, columns, hint)
        before = self.log.read(since).where(delta_writer.on_days(DAY_COLUMN, news.days)).select(*spec.keys)
        touched = after.select(*spec.keys).unionByName(before).distinct()
        return merge_again(touched, self.log.read(version), state, spec, columns, hint)

    def _read(self, version: int | None, parts: "Collection[int] | None" = None) -> "DataFrame":
        """The table at a version, with the part that each key belongs to; `parts`: only rows of these."""

        def wanted(file: ActiveFile) -> bool:
            return parts is None or file.partition.get(BUCKET) in parts

        rows = read_version(self.spark, self.state.path, version or 0, self.table.compiled.spark_schema, wanted)
        rows = rows.select(*self.columns, bucket(self.spec))
        return rows if parts is None else rows.where(F.col(BUCKET).isin(*(parts or {NO_BUCKET})))
