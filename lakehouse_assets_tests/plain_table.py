"""A data table written as the platform writes it, an attempt and a commit at a time, without Spark."""

import json
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, Schema
from pyspark.sql.types import StructType

from lakehouse_assets.platform.common.file_layout import Parquet
from lakehouse_assets.platform.maintenance.maintenance import FEWEST, StoredTable
from lakehouse_assets.platform.storage.commit import Swap, commit
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, Kind
from lakehouse_assets.platform.storage.data_files import NewFile, active_files, arrow_path, new_attempt, written_files
from lakehouse_assets.platform.storage.delta_table import query_rows, version_of
from lakehouse_assets.platform.storage.delta_writer import replaced_days
from lakehouse_assets.platform.storage.location import Location, storage_options
from lakehouse_assets.platform.storage.target import Target

DAYS = [date(2023, 2, 1) + timedelta(days=n) for n in range(FEWEST)]
NUMBERS = pa.schema([("feed_day", pa.date32()), ("n", pa.int64())])
OWN = pa.schema([("_broken", pa.list_(pa.string())), ("_hash", pa.int64()), ("_row", pa.string())])
"""Columns that the platform's files have, and their tables have not."""


def metadata(attempt: str, *days: date, kind: Kind = Kind.STEP) -> CommitMetadata:
    return CommitMetadata("t", attempt, attempt, frozenset(days), "code", {}, kind=kind)


def rows_of(day: date, *numbers: int) -> pa.Table:
    return pa.table({"feed_day": [day] * len(numbers), "n": list(numbers)}, NUMBERS)


@dataclass
class PlainTable:
    """A table of these columns; its files have the platform's own columns besides."""

    path: Location
    schema: pa.Schema = NUMBERS
    statistics: tuple[str, ...] = ("feed_day", "n")
    partition_by: tuple[str, ...] = ()
    layout: Parquet | None = None
    append_only: bool = False

    @property
    def place(self) -> StoredTable:
        return StoredTable("t", self.path, parquet=self.layout, statistics=self.statistics)

    @property
    def target(self) -> Target:
        columns = StructType.fromJson(json.loads(Schema.from_arrow(self.schema).to_json()))
        return Target(self.path, "t", columns, self.append_only, self.partition_by, self.layout, self.statistics)

    @property
    def version(self) -> int | None:
        return version_of(self.path)

    @property
    def newest(self) -> int:
        return self.version or 0

    def write(self, rows: pa.Table, partition: Mapping[str, object] | None = None) -> Location:
        """A file of a new attempt, which nobody names yet."""
        attempt = new_attempt(self.path)
        folder = attempt.joinpath(*[f"{key}={value}" for key, value in (partition or {"state": "passed"}).items()])
        own = [pa.nulls(rows.num_rows, field.type) for field in OWN]
        names = [name for name in rows.column_names if name not in self.partition_by]
        held = pa.table([*rows.select(names).columns, *own], names=[*names, *OWN.names])
        system, path = arrow_path(folder / "part-00000.parquet")
        if isinstance(folder, Path):
            folder.mkdir(parents=True)
        pq.write_table(held, path, filesystem=system, store_schema=False)
        return attempt

    def files(self, attempt: Location) -> list[NewFile]:
        return written_files(self.path, attempt, self.target.schema, self.statistics, self.partition_by)

    def append(
        self,
        rows: pa.Table,
        attempt: str,
        *days: date,
        base: int | None = -1,
        partition: dict[str, object] | None = None,
    ) -> int:
        """Append, where nothing came since `base` (not given: the newest version)."""
        files = self.files(self.write(rows, partition=partition))
        swap = Swap(files, [], lambda file: True)
        return commit(self.target, metadata(attempt, *days), self.version if base == -1 else base, swap)

    def replace(self, rows: pa.Table, attempt: str, days: Collection[date], base: int) -> int:
        """Replace these days, as planned at `base`."""
        written = self.write(rows)
        replaced = replaced_days(active_files(self.opened(base)), "feed_day", days)
        replaced.carry_over(self.target, written)
        meets = Swap(self.files(written), replaced.files, lambda file: file.may_hold_days("feed_day", days))
        return commit(self.target, metadata(attempt, *days), base, meets)

    def fill(self) -> "PlainTable":
        """A row and a file a day."""
        for n, day in enumerate(DAYS):
            self.append(rows_of(day, n), f"day {n}", day)
        return self

    def numbers(self, version: int | None = None) -> list[int]:
        return sorted(row["n"] for row in query_rows(self.path, "SELECT n FROM t", version))

    def rows(self, version: int | None = None) -> list[dict[str, Any]]:
        return sorted(query_rows(self.path, "SELECT * FROM t", version), key=repr)

    def attempts(self) -> list[str]:
        assert isinstance(self.path, Path)
        return sorted(folder.name for folder in self.path.glob("attempt-*"))

    def opened(self, version: int | None = None) -> DeltaTable:
        return DeltaTable(str(self.path), version, storage_options=storage_options(self.path))

    def named(self, version: int | None = None) -> list[Location]:
        """The files of a version."""
        return [file.at(self.path) for file in active_files(self.opened(version))]

    def removed_long_ago(self, version: int, days: float) -> None:
        """Let the files that a commit removed seem to be removed some days before."""
        log = self.path / "_delta_log"
        assert isinstance(log, Path)
        for file in (*log.glob("*.checkpoint.parquet"), log / "_last_checkpoint"):
            file.unlink(missing_ok=True)
        entry = log / f"{version:020d}.json"
        actions = [json.loads(line) for line in entry.read_text().splitlines()]
        for action in actions:
            if "remove" in action:
                action["remove"]["deletionTimestamp"] -= int(days * 86_400_000)
        entry.write_text("\n".join(map(json.dumps, actions)))


def made_old(folder: Path, days: float) -> None:
    """Let what lies there seem to be of some days ago."""
    files: Sequence[Path] = [folder] if folder.is_file() else [file for file in folder.rglob("*") if file.is_file()]
    for file in files:
        with suppress(FileNotFoundError):
            then = file.stat().st_mtime - days * 86_400
            os.utime(file, (then, then))
