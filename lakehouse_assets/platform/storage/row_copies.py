"""Copies of some rows of Parquet files, without Spark and in bounded memory.

For the few rows that must go to another file than the one they are in: those that stay where a file's other rows are
replaced, those of the good days of a file in which one day failed, quarantined rows on their way to their table.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from lakehouse_assets.platform.parquet import Parquet
from lakehouse_assets.platform.storage.data_files import arrow_path
from lakehouse_assets.platform.store import Location, answering

BATCH_BYTES = 32 * 2**20
MOST_ROWS = 131_072


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


def _copy_file(source: Location, to: Location, copy: RowCopy, layout: Parquet | None) -> int:
    system, path = arrow_path(source)
    rows = 0
    writer: pq.ParquetWriter | None = None
    with system.open_input_file(path) as stream, pq.ParquetFile(stream) as opened:
        try:
            for batch in opened.iter_batches(_batch_rows(opened.metadata)):
                copied = copy.of(batch)
                if not copied.num_rows:
                    continue
                writer = writer or _writer(to, copied.schema, layout)
                writer.write_batch(copied)
                rows += copied.num_rows
        finally:
            if writer is not None:
                writer.close()
    return rows


def _batch_rows(footer: pq.FileMetaData) -> int:
    size = sum(footer.row_group(group).total_byte_size for group in range(footer.num_row_groups))
    return max(1, min(MOST_ROWS, footer.num_rows * BATCH_BYTES // max(size, 1)))


def _writer(file: Location, schema: pa.Schema, layout: Parquet | None) -> pq.ParquetWriter:
    system, path = arrow_path(file)
    if isinstance(system, fs.LocalFileSystem):
        system.create_dir(path.rpartition("/")[0])
    layout = layout or Parquet()
    codec = {"uncompressed": "none", "lz4_raw": "lz4"}.get(layout.codec, layout.codec)
    return pq.ParquetWriter(
        path,
        schema.remove_metadata(),
        filesystem=system,
        compression=codec,
        compression_level=layout.level,
        use_dictionary=layout.dictionary,
        data_page_size=layout.page_bytes,
        store_schema=False,
    )
