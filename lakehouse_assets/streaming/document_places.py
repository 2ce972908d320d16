"""The places that documents arrive in: what lies below a bucket's path or a folder, and the bytes of one object.

A listing opens no file. One object that cannot be read says so by itself, and hides none of the others.
"""

import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.settings import settings
from lakehouse_assets.streaming.s3_client import Moved, Unreadable, listed_objects, read_object, split

EPOCH = datetime(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)
_SAYS_A_DAY = re.compile(r"(?<!\d)\d{4}-\d{2}-\d{2}(?!\d)")


class NoSuchPlace(LakehouseError):
    """The bucket, the path in it, or the folder does not exist."""


@dataclass(frozen=True, order=True)
class Object:
    """An object: when it was last changed (microseconds since 1970, UTC), its path as text, the store's hash of it.

    Of a file, `stamp` is what changes with its content. `problem`: why it can be no document.
    """

    changed: int
    path: str
    etag: str = ""
    size: int = 0
    stamp: tuple[int, ...] = ()
    problem: str | None = None
    file: str = field(default="", repr=False)

    @property
    def arrival(self) -> datetime | None:
        """When it was last changed, naive, UTC; None where no calendar has it."""
        try:
            return EPOCH + timedelta(microseconds=self.changed)
        except OverflowError:
            return None

    @property
    def day_in_path(self) -> str | None:
        """What its name, else the nearest of its folders that does, says of its day."""
        found = (_SAYS_A_DAY.search(name) for name in reversed(self.path.split("/")))
        return next((one[0] for one in found if one), None)


def listed(place: str, suffix: str) -> Iterator[Object]:
    """The objects below a place whose names end so, capital letters or not. Raises NoSuchPlace, S3Error."""
    return _of_bucket(place, suffix) if place.startswith("s3://") else _of_folder(Path(place), suffix)


def bytes_of(one: Object) -> bytes:
    """What an object holds. Raises Unreadable, Moved, S3Error."""
    if one.problem:
        raise Unreadable(one.problem)
    if one.path.startswith("s3://"):
        return read_object(settings(), *split(one.path), one.etag)
    try:
        data = Path(one.file).read_bytes()
        stamp = _stamp(os.stat(one.file))
    except FileNotFoundError as error:
        raise Moved(f"{one.path} was removed while it was read.") from error
    except OSError as error:
        raise Unreadable(f"{one.path} cannot be read: {error.strerror}") from error
    if stamp != one.stamp:
        raise Moved(f"{one.path} was changed while it was read.")
    return data


def md5(data: bytes) -> str:
    """Hash of a file, as a store has one of its objects."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def normal(place: str) -> str:
    """A place as it is compared: one scheme of buckets; of a folder the whole path."""
    for scheme in ("s3a://", "s3n://", "s3://"):
        if place.startswith(scheme):
            return "s3://" + place.removeprefix(scheme)
    return os.path.abspath(place) if place else place


def name_below(path: str, places: Collection[str]) -> str:
    """What identifies a document: its path without the place; composed Unicode, the extension in small letters."""
    roots = [root for place in places if place and path.startswith(root := place.rstrip("/") + "/")]
    name = unicodedata.normalize("NFC", path.removeprefix(max(roots, key=len, default="")))
    stem, dot, extension = name.rpartition(".")
    return name if "/" in extension else f"{stem}{dot}{extension.lower()}"


def _of_bucket(place: str, suffix: str) -> Iterator[Object]:
    bucket, prefix = split(place)
    for one in listed_objects(settings(), bucket, prefix):
        if one.key.lower().endswith(suffix.lower()):
            changed = (one.changed.astimezone(UTC).replace(tzinfo=None) - EPOCH) // MICROSECOND
            yield Object(changed, f"s3://{bucket}/{one.key}", one.etag, one.size)


def _of_folder(folder: Path, suffix: str) -> Iterator[Object]:
    if not folder.is_dir():
        raise NoSuchPlace(f"Path does not exist: {folder}. Make it, or name another (LAKEHOUSE_DOCUMENTS).")
    hidden: list[OSError] = []
    for where, folders, files in os.walk(folder, onerror=hidden.append):
        for name in sorted(folders):
            if name.lower().endswith(suffix.lower()):
                path = os.path.join(where, name)
                yield Object(0, _as_text(path), problem=f"{_as_text(path)} is a folder, no document", file=path)
        for name in sorted(files):
            if name.lower().endswith(suffix.lower()):
                yield from _file(os.path.join(where, name))
    for error in hidden:
        path = _as_text(os.fsdecode(error.filename))
        yield Object(0, path, problem=f"the folder {path} cannot be listed: {error.strerror}", file=error.filename)


def _file(path: str) -> Iterator[Object]:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        if os.path.islink(path):
            yield Object(0, _as_text(path), problem=f"{_as_text(path)} is a link to nothing", file=path)
        return  # else it was renamed or removed since it was listed
    except OSError as error:
        yield Object(0, _as_text(path), problem=f"{_as_text(path)} cannot be read: {error.strerror}", file=path)
        return
    if not stat.S_ISREG(found.st_mode):
        yield Object(0, _as_text(path), problem=f"{_as_text(path)} is no file", file=path)
        return
    yield Object(found.st_mtime_ns // 1000, _as_text(path), "", found.st_size, _stamp(found), file=path)


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    """What changes with the content of a file, whatever time it is given."""
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _as_text(path: str) -> str:
    """A path as text; bytes that are no UTF-8 as `\\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
