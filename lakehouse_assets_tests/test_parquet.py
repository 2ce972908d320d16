"""The layout that a table declares is that of its files: read back from the files themselves."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from random import Random

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from lakehouse_assets import defs as domains
from lakehouse_assets.platform.common.file_layout import KIB, MIB, Parquet, ParquetError
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.maintenance import maintenance
from lakehouse_assets.platform.maintenance.maintenance import StoredTable, _stored_tables, maintain, survey
from lakehouse_assets.platform.storage import delta_writer
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata
from lakehouse_assets.platform.storage.delta_table import open_table
from lakehouse_assets.samples.store.feeds import generate
from lakehouse_assets_tests.lake_driver import LakeDriver

DAY = date(2025, 1, 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"codec": "zip"}, "'zip' is no codec"),
        ({"level": 3}, "only zstd has levels"),
        ({"codec": "zstd", "level": 23}, "from 1 to 22"),
        ({"page_bytes": 10}, "at least 1024 bytes"),
        ({"page_bytes": MIB, "row_group_bytes": KIB}, "lies in a row group"),
        ({"page_rows": 0}, "a row or more"),
    ],
)
def test_a_layout_that_parquet_does_not_have_is_refused_where_it_is_declared(wrong: dict, message: str) -> None:
    with pytest.raises(ParquetError, match=message):
        Parquet(**wrong)


def test_bronze_of_the_store_is_tuned() -> None:
    catalog = discover(domains)
    layouts = {catalog.table(TableKey("store", "bronze", name)).parquet for name in ("users", "orders")}
    assert layouts == {Parquet("zstd", level=3, row_group_bytes=64 * MIB, page_bytes=MIB)}


# --- in the files ---


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if not byte & 0x80:
            return value, at


def _skip(data: bytes, at: int, kind: int) -> int:
    """Past a value of Thrift's compact protocol."""
    if kind in (1, 2):  # booleans are their type
        return at
    if kind == 3:
        return at + 1
    if kind in (4, 5, 6):
        return _varint(data, at)[1]
    if kind == 8:
        length, at = _varint(data, at)
        return at + length
    if kind == 12:
        return _struct(data, at)[1]
    raise AssertionError(f"a page header holds no Thrift type {kind}")


def _struct(data: bytes, at: int) -> tuple[dict[int, int], int]:
    """The integer fields of a struct by number, zigzag decoded, and where it ends."""
    found, number = {}, 0
    while data[at]:
        delta, kind = data[at] >> 4, data[at] & 15
        at += 1
        if delta:
            number += delta
        else:
            raw, at = _varint(data, at)
            number = (raw >> 1) ^ -(raw & 1)
        if kind in (4, 5, 6):
            raw, at = _varint(data, at)
            found[number] = (raw >> 1) ^ -(raw & 1)
        else:
            at = _skip(data, at, kind)
    return found, at + 1


def pages(file: Path, group: int, column: int) -> Iterator[int]:
    """Sizes of the data pages of a column chunk before compression, from their headers."""
    chunk = pq.read_metadata(file).row_group(group).column(column)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    data, at = file.read_bytes(), start
    while at < start + chunk.total_compressed_size:
        header, at = _struct(data, at)
        if header[1] in (0, 3):  # data pages; 2 is a dictionary
            yield header[2]
        at += header[3]


@dataclass
class Files:
    """Files of a version and what they are made of."""

    paths: list[Path]

    @classmethod
    def of(cls, path: Path) -> "Files":
        table = open_table(path)
        assert table is not None
        return cls([Path(uri.removeprefix("file://")) for uri in table.file_uris()])

    @property
    def codecs(self) -> set[str]:
        return {column.compression for _, column in self._columns()}

    @property
    def with_dictionary(self) -> bool:
        return any("DICTIONARY" in encoding for _, column in self._columns() for encoding in column.encodings)

    @property
    def groups(self) -> list[int]:
        """Bytes of the row groups in the file."""
        found = [pq.read_metadata(path) for path in self.paths]
        groups = [m.row_group(n) for m in found for n in range(m.num_row_groups)]
        return [sum(group.column(c).total_compressed_size for c in range(group.num_columns)) for group in groups]

    @property
    def pages(self) -> list[int]:
        return [size for path, column in self._columns() for size in pages(path, 0, column_number(path, column))]

    def _columns(self) -> Iterator[tuple[Path, pq.ColumnChunkMetaData]]:
        for path in self.paths:
            group = pq.read_metadata(path).row_group(0)
            yield from ((path, group.column(n)) for n in range(group.num_columns))


def column_number(path: Path, column: pq.ColumnChunkMetaData) -> int:
    group = pq.read_metadata(path).row_group(0)
    return [group.column(n).path_in_schema for n in range(group.num_columns)].index(column.path_in_schema)


def test_every_setting_reaches_the_files_of_a_write_and_of_a_compaction(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = spark.range(60_000).select(
        F.sha2(F.col("id").cast("string"), 256).alias("text"), (F.col("id") % 7).alias("few")
    )
    small = Parquet("zstd", dictionary=False, page_bytes=8 * KIB, row_group_bytes=512 * KIB, level=6)
    for name, layout in (("small", small), ("gzip", Parquet("gzip", page_rows=500)), ("plain", None)):
        target = delta_writer.Target(tmp_path / name, name, frame.schema, parquet=layout)
        for base in (None, 0):
            metadata = CommitMetadata(name, "run", f"{name} {base}", frozenset(), "code", {}, base=base)
            delta_writer.append(frame.coalesce(1), target, metadata, base)
    files = {name: Files.of(tmp_path / name) for name in ("small", "gzip", "plain")}

    assert files["small"].codecs == {"ZSTD"}
    assert not files["small"].with_dictionary
    assert len(files["small"].groups) > 8
    assert max(files["small"].groups) < 2 * 512 * KIB
    assert len(files["small"].pages) > 20
    assert max(files["small"].pages) < 2 * 8 * KIB

    assert files["gzip"].codecs == {"GZIP"}
    assert files["gzip"].with_dictionary
    assert len(files["gzip"].groups) == 2
    assert max(files["gzip"].pages) <= 500 * 70, "500 texts of 64 characters and their lengths"

    assert files["plain"].codecs == {"SNAPPY"}, "what one table declares does not reach another"
    assert len(files["plain"].groups) == 2

    monkeypatch.setattr(maintenance, "FEWEST", 2)
    assert maintain(survey(StoredTable("small", tmp_path / "small", parquet=small))).message == ""
    compacted = Files.of(tmp_path / "small")
    assert len(compacted.paths) == 1
    assert (compacted.codecs, compacted.with_dictionary) == ({"ZSTD"}, False)
    assert len(compacted.groups) > 8


def test_a_declared_table_is_written_as_declared(spark: SparkSession, tmp_path: Path) -> None:
    driver = LakeDriver.at(spark, tmp_path)
    columns = driver.catalog.table(TableKey("store", "bronze", "users")).source
    assert columns is not None
    random = Random(1)
    rows = [",".join(f"{random.getrandbits(64):x}" for _ in columns.columns) for _ in range(50)]
    file = tmp_path / "users.csv"
    file.write_text("\n".join([",".join(columns.columns), *rows]) + "\n", encoding="utf-8")
    driver.land("store/users", file, day=DAY)
    driver.make("store/bronze/users", [DAY])
    assert Files.of(driver.lake.path(TableKey("store", "bronze", "users"))).codecs == {"ZSTD"}


def test_the_quarantine_beside_a_table_is_written_as_the_table_is(spark: SparkSession, tmp_path: Path) -> None:
    bronze, silver = TableKey("store", "bronze", "payments"), TableKey("store", "silver", "payments")
    lake, declared = LakeDriver.at(spark, tmp_path).lake, discover(domains)
    tables = (declared.table(bronze), replace(declared.table(silver), parquet=Parquet("gzip")))
    driver = LakeDriver(spark, lake, Catalog(tables))
    generate(tmp_path / "drop", DAY, DAY, orders=150, seed=11, defects=0.02)
    driver.land("store/payments", tmp_path / "drop" / str(DAY) / "payments.csv", day=DAY)
    driver.make(str(bronze), [DAY])
    driver.make(str(silver), [DAY])
    for path in (lake.path(silver), lake.quarantine(silver)):
        assert Files.of(path).codecs == {"GZIP"}
    compacted = {place.name: place.parquet for place in _stored_tables(lake, driver.catalog)}
    assert [compacted[f"{silver}{beside}"] for beside in ("", "__quarantine", "__changes")] == [Parquet("gzip")] * 3
