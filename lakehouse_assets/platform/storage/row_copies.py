"""Copies of some rows of Parquet files, without Spark and in bounded memory.

For the few rows that must go to another file than the one they are in: those that stay where a file's other rows are
replaced, those of the good days of a file in which one day failed, quarantined rows on their way to their table. And
for all rows of files that are merged.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from lakehouse_assets.platform.common.file_layout import Parquet
from lakehouse_assets.platform.storage.data_files import arrow_path
from lakehouse_assets.platform.storage.location import Location, answering

BATCH_BYTES = 32 * 2**20
GROUP_BYTES = 64 * 2**20
MOST_ROWS = 16_384
"""In a batch: where few values stand for many rows, a file does not tell how large these are."""


def is_one_of(rows: pa.RecordBatch, column: str, values: pa.Array) -> pa.BooleanArray:
    """Which rows have one of these values; none where the file lacks the column, which reads as NULL."""
    if column not in rows.schema.names:
        return pa.repeat(False, rows.num_rows)
    return pc.is_in(rows.column(column), value_set=values)


@dataclass(frozen=True)
class RowCopy:
    """Which rows of a batch are copied (a mask), and which columns under which names (none: all as they are)."""

    keep: Callable[[pa.RecordBatch], pa.BooleanArray]
    columns: Mapping[str, str] = field(default_factory=dict)

    def of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of a batch that are copied."""
        kept = batch.filter(self.keep(batch))
        return kept.select([*self.columns]).rename_columns([*self.columns.values()]) if self.columns else kept


def copy_rows(sources: Iterable[Location], folder: Location, copy: RowCopy, layout: Parquet | None) -> int:
    """Copy rows of the sources into the folder, a file for each that has some. Returns the number of rows.

    Raises StoreError.
    """
    rows = 0
    with answering(folder):
        for number, source in enumerate(sources):
            rows += _copy_file(source, folder / f"rows-{number:05d}.parquet", copy, layout)
    return rows


def merge_rows(sources: Iterable[Location], file: Location, schema: pa.Schema, layout: Parquet | None) -> None:
    """Write all rows of the sources into one file, in their order, with the columns and types of the schema.

    A column that a source lacks is NULL; others of its columns are left out. Raises pa.ArrowException where a value is
    not of the type.
    """
    with RowFile(file, layout) as merged:
        for source in sources:
            with _opened(source) as opened:
                there = [name for name in schema.names if name in opened.schema_arrow.names]
                for batch in opened.iter_batches(_batch_rows(opened.metadata, merged.group_bytes), columns=there):
                    merged.add(_as_in(schema, batch))


def _as_in(schema: pa.Schema, batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch with the columns and types of a schema."""
    columns = [
        batch.column(field.name).cast(field.type)
        if field.name in batch.schema.names
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _copy_file(source: Location, to: Location, copy: RowCopy, layout: Parquet | None) -> int:
    with _opened(source) as opened, RowFile(to, layout) as copied:
        for batch in opened.iter_batches(_batch_rows(opened.metadata, copied.group_bytes)):
            copied.add(copy.of(batch))
    return copied.rows


@contextmanager
def _opened(source: Location) -> Iterator[pq.ParquetFile]:
    """A file whose timestamps are of microseconds, as Delta's are, however they are stored."""
    system, path = arrow_path(source)
    with system.open_input_file(path) as stream, pq.ParquetFile(stream, coerce_int96_timestamp_unit="us") as opened:
        yield opened


def _batch_rows(footer: pq.FileMetaData, most_bytes: int) -> int:
    size = sum(footer.row_group(group).total_byte_size for group in range(footer.num_row_groups))
    return max(1, min(MOST_ROWS, footer.num_rows * min(BATCH_BYTES, most_bytes) // max(size, 1)))


class RowFile:
    """A Parquet file that rows are added to; without any, it is not made.

    Rows are gathered to a row group of the layout's size, counted before they are encoded, and at most `GROUP_BYTES`.
    """

    def __init__(self, file: Location, layout: Parquet | None) -> None:
        self.rows = 0
        self._file, self._layout = file, layout or Parquet()
        self.group_bytes = min(self._layout.row_group_bytes, GROUP_BYTES)
        self._gathered: list[pa.RecordBatch] = []
        self._gathered_bytes = 0
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        try:
            if failure[0] is None:
                self._write_group()
        finally:
            if self._writer is not None:
                self._writer.close()

    def add(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch."""
        if not batch.num_rows:
            return
        self.rows += batch.num_rows
        self._gathered.append(batch)
        self._gathered_bytes += batch.nbytes
        if self._gathered_bytes >= self.group_bytes:
            self._write_group()

    def _write_group(self) -> None:
        if not self._gathered:
            return
        group = pa.Table.from_batches(self._gathered).replace_schema_metadata()
        self._gathered, self._gathered_bytes = [], 0
        self._writer = self._writer or self._open(group.schema)
        self._writer.write_table(group, row_group_size=group.num_rows)

    def _open(self, schema: pa.Schema) -> pq.ParquetWriter:
        system, path = arrow_path(self._file)
        if isinstance(system, fs.LocalFileSystem):
            system.create_dir(path.rpartition("/")[0])
        layout = self._layout
        return pq.ParquetWriter(
            path,
            schema,
            filesystem=system,
            compression={"uncompressed": "none", "lz4_raw": "lz4"}.get(layout.codec, layout.codec),
            compression_level=layout.level,
            use_dictionary=layout.dictionary,
            data_page_size=layout.page_bytes,
            dictionary_pagesize_limit=layout.page_bytes,
            max_rows_per_page=layout.page_rows,
            store_schema=False,
        )
