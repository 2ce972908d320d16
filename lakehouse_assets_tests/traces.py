"""Where files still tell of a person: their bytes, in several encodings, and what Parquet files say once decoded."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be")


def traces(root: Path, values: Collection[str]) -> list[str]:
    """The files below a folder that hold one of these texts, in whatever case: `path: where`."""
    wanted = {value.casefold() for value in values}
    return sorted({f"{file.relative_to(root)}: {where}" for file in _files(root) for where in _in(file, wanted)})


def _files(root: Path) -> Iterator[Path]:
    return (file for file in root.rglob("*") if file.is_file())


def _in(file: Path, wanted: set[str]) -> Iterator[str]:
    data = file.read_bytes().lower()
    yield from ("bytes" for value in wanted for encoding in ENCODINGS if value.encode(encoding).lower() in data)
    yield from ("name" for value in wanted if value in str(file).casefold())
    if data[:4] == b"par1":
        try:
            held = pq.ParquetFile(file)
        except pa.ArrowInvalid:
            return
        for name, column in zip(held.schema_arrow.names, held.read().columns, strict=True):
            yield from (name for message in column.to_pylist() for value in wanted if value in _text(message))
        for group in range(held.metadata.num_row_groups):
            for number in range(held.metadata.num_columns):
                chunk = held.metadata.row_group(group).column(number)
                bounds = (chunk.statistics.min, chunk.statistics.max) if chunk.statistics else ()
                yield from ("footer" for bound in bounds for value in wanted if value in _text(bound))


def _text(message: Any) -> str:
    return message.casefold() if isinstance(message, str) else str(message).casefold() if message is not None else ""
