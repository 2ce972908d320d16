"""Landed parts on disk or in a bucket: written under a lock and published together, or put one by one.

On disk a part is staged, synced and moved to its place while no other landing of the table runs. A bucket has no lock:
an object is put whole or not at all, the same rows have the same key, and the manifest's commit tells two landings
apart. There a part that no manifest names is left, because another landing may be about to name it; only an erasure
removes it, whose commit no such landing survives.
"""

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
from filelock import FileLock, Timeout

from lakehouse_assets.platform.ingest.file_readers import NotNow
from lakehouse_assets.platform.storage.location import Location
from lakehouse_assets.platform.storage.s3 import S3Path

_STAGING = "_staging"
_LOCK_SECONDS = 600


@contextmanager
def locked(folder: Location) -> Iterator[None]:
    """One landing of a table at a time on this machine; leftovers of a killed one are removed. Raises NotNow."""
    if isinstance(folder, S3Path):
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=_LOCK_SECONDS):
            shutil.rmtree(folder / _STAGING, ignore_errors=True)
            (folder / _STAGING).mkdir()
            try:
                yield
            finally:
                shutil.rmtree(folder / _STAGING, ignore_errors=True)
    except Timeout as error:
        raise NotNow(
            f"{folder}: another landing, or an erasure, runs since {_LOCK_SECONDS} s. Try again when it ended."
        ) from error
    except OSError as error:
        raise NotNow(f"{folder}: cannot be written: {error}. Nothing was landed: land again when it can.") from error


def stage(folder: Location, part: str, data: pa.Buffer) -> None:
    """Write one part where `publish` finds it."""
    if isinstance(folder, S3Path):
        (folder / part).write_bytes(data.to_pybytes())
        return
    with _staged(folder, part).open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def publish(folder: Location, parts: Collection[str]) -> None:
    """Move staged parts to their places, so that a crash of the machine cannot undo it."""
    if isinstance(folder, S3Path):
        return
    for part in parts:
        target = folder / part
        target.parent.mkdir(exist_ok=True)
        _staged(folder, part).replace(target)
        _sync_folder(target.parent)
    _sync_folder(folder)


def discard(folder: Location, parts: Collection[str]) -> None:
    """Remove published parts that no manifest names."""
    if isinstance(folder, S3Path):
        return
    for part in parts:
        target = folder / part
        target.unlink(missing_ok=True)
        if target.parent.exists() and not any(target.parent.iterdir()):
            target.parent.rmdir()


def stored(folder: Location) -> list[Location]:
    """All published parts, whether a manifest names them or not."""
    found: list[Location] = (
        [replace(folder, key=key) for key in folder.below() if key.endswith(".parquet")]
        if isinstance(folder, S3Path)
        else [*folder.glob("*/*.parquet")]
    )
    return [part for part in found if part.parent.parent == folder and not part.parent.name.startswith("_")]


def _staged(folder: Path, part: str) -> Path:
    return folder / _STAGING / part.replace("/", "-")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
