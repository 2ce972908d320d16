"""Where tables and landed files lie: a folder of this machine, or a prefix of an S3 bucket (`s3a://bucket/prefix`).

A `Location` is a `pathlib.Path` or an `S3Path`, which has those of pathlib's methods that the platform uses. Its text
is what Spark, delta-rs and messages take; `storage_options` is what delta-rs needs besides.
"""

import hashlib
import posixpath
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.storage.s3 import OF_S3, S3Path, arrow_filesystem, delta_options, message

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable
    from pyarrow.dataset import Dataset

SCHEMES = ("s3a://", "s3://", "s3n://")

Location: TypeAlias = Path | S3Path


def location(text: str | Path, endpoint: str | None = None) -> Location:
    """The place that a setting names. Raises LakehouseError for a bucket without a name."""
    scheme = next((scheme for scheme in SCHEMES if str(text).startswith(scheme)), None)
    if scheme is None:
        return Path(text).absolute()
    bucket, _, key = str(text).removeprefix(scheme).partition("/")
    if not bucket:
        raise LakehouseError(f"{text} names no bucket. Write it as s3a://bucket/prefix.")
    return S3Path(bucket, key.strip("/"), endpoint)


def storage_options(place: Location) -> dict[str, str] | None:
    """What delta-rs needs to open a table there; secrets among it, so show it to nobody. Raises StoreError."""
    return delta_options(place) if isinstance(place, S3Path) else None


@contextmanager
def answering(place: Location) -> Iterator[None]:
    """What delta-rs and pyarrow say when S3 fails, as StoreError. Errors of tables and of this machine's files stay."""
    from deltalake.exceptions import DeltaError, TableNotFoundError

    try:
        yield
    except TableNotFoundError:
        raise
    except (OSError, DeltaError) as error:
        if isinstance(place, Path) or not any(words in str(error) for words in OF_S3):
            raise
        raise message(place, error) from None  # its text may hold a session's token


def missing(files: Collection[Location]) -> list[Location]:
    """Those of the files that are not there; of a bucket, by one listing of the folder that they share."""
    found: list[Location] = [file for file in files if isinstance(file, Path) and not file.exists()]
    objects = [file for file in files if isinstance(file, S3Path)]
    if objects:
        shared = posixpath.commonpath([file.parent.key for file in objects])
        there = set(replace(objects[0], key=shared).below())
        found += [file for file in objects if file.key not in there]
    return found


def arrow_table(rows: Any) -> "pa.Table":
    """What delta-rs returns, as pyarrow's. Not `pa.table(rows)`: that imports pandas to ask whether it is its frame."""
    import pyarrow as pa

    return pa.RecordBatchReader.from_stream(rows).read_all()


def files_of(place: Location, table: "DeltaTable") -> list[Location]:
    """The files of a table's version."""
    found = arrow_table(table.get_add_actions())
    return [file_at(place, path) for path in found.column("path").to_pylist()] if found.num_rows else []


def file_at(place: Location, path: str) -> Location:
    """The file that the log of the table at this place calls so: URL-encoded, below the table or an address."""
    name = unquote(path)
    if path.startswith("file:"):
        return Path("/" + name.removeprefix("file:").lstrip("/"))
    if path.startswith(SCHEMES):
        return location(name, place.endpoint if isinstance(place, S3Path) else None)
    return place / name


def uri_of(place: Location) -> str:
    """The address of a place, as other tools take it."""
    return place.as_uri() if isinstance(place, Path) else str(place)


def version_of_file(file: Location) -> tuple[object, int] | None:
    """What tells a file from a later one of the same name; None: there is none."""
    if isinstance(file, S3Path):
        return file.version()
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def sha256(file: Location) -> str:
    """Hash of a file's bytes. Raises OSError, StoreError."""
    if isinstance(file, S3Path):
        return hashlib.sha256(file.read_bytes()).hexdigest()
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def parquet(file: Location) -> "Path | pa.BufferReader":
    """A Parquet file as pyarrow reads it. Raises FileNotFoundError, StoreError."""
    if isinstance(file, Path):
        return file
    import pyarrow as pa

    return pa.BufferReader(file.read_bytes())


def tables_below(root: Location) -> list[tuple[str, ...]]:
    """The Delta tables two or three levels below a root, by the names of their folders."""
    if isinstance(root, S3Path):
        below = [key.removeprefix(f"{root.key}/").partition("/_delta_log/") for key in root.below()]
        found = {tuple(table.split("/")) for table, log, _ in below if log}
    else:
        logs = [*root.glob("*/*/_delta_log"), *root.glob("*/*/*/_delta_log")]
        found = {log.parent.relative_to(root).parts for log in logs}
    return sorted(parts for parts in found if len(parts) in (2, 3))


def scan(place: S3Path, table: "DeltaTable") -> "Dataset":
    """The files of a table's version as pyarrow reads them on demand, with the columns and types of the table."""
    import pyarrow as pa
    from pyarrow import dataset

    keys = [f"{file.bucket}/{file.key}" for file in files_of(place, table) if isinstance(file, S3Path)]
    return dataset.dataset(
        keys,
        schema=pa.schema(table.schema().to_arrow()),
        format="parquet",
        filesystem=arrow_filesystem(place),
        partitioning=dataset.partitioning(flavor="hive"),
        partition_base_dir=f"{place.bucket}/{place.key}",
    )
