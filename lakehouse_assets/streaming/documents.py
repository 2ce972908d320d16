"""Documents of a bucket or a folder as the source of a bronze table: each object, as it was then, exactly once.

An object is known by its path below the place and its ETag: one that was overwritten is another document, and one
that moved along with the whole place (a renamed bucket or folder) is not. Which are read already is read from the table
itself, so there is no list of them to lose.
"""

import hashlib
import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyspark.sql.types as T

from lakehouse_assets.platform.contract import Action, Contract, column
from lakehouse_assets.platform.delta import ask, last_position, version_of
from lakehouse_assets.platform.errors import LakehouseError
from lakehouse_assets.platform.store import Location
from lakehouse_assets.platform.stream_source import Fresh
from lakehouse_assets.settings import settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

BATCH = 5_000


class DocumentRow(Contract):
    """Documents as they came, byte for byte: each object of the bucket or folder, and each landed file, once."""

    document: T.StringType = column("text of the document", action=Action.FAIL)
    path: T.StringType = column("object or file it came in", action=Action.FAIL)
    etag: T.StringType = column("hash that the store has of it; of a landed file its MD5", action=Action.FAIL)
    arrival: T.TimestampNTZType = column("when the object was last changed, UTC", nullable=True)
    door: T.StringType = column("the way it came", isin=["file", "s3", "folder"], action=Action.FAIL)
    feed_day: T.DateType = column("day on which it arrived", action=Action.FAIL)


class NoSuchPlace(LakehouseError):
    """The bucket, the path in it, or the folder does not exist."""


class ChangedDocument(LakehouseError):
    """A document is not what it was when the folder was listed: it may be read as it is now."""


@dataclass(frozen=True, order=True)
class Object:
    """An object: where it is, its hash, when it was last changed (naive, UTC)."""

    arrival: datetime
    path: str
    etag: str


@dataclass(frozen=True)
class Documents:
    """Objects below a place: `s3://bucket/input/` or a folder; None: what the settings say. Only names that end so."""

    place: str | None = None
    suffix: str = ".json"
    batch: int = BATCH

    @property
    def door(self) -> str:
        """The way in, as the table's column says it."""
        return "s3" if (self._place() or "").startswith("s3://") else "folder"

    @property
    def permanent(self) -> tuple[type[Exception], ...]:
        """Errors that another try cannot mend: none."""
        return ()

    def end(self, path: Location) -> "frozenset[Object] | None":
        """The objects that are there now; None: no place is configured. Raises NoSuchPlace, S3Error."""
        return frozenset(self._objects()) if self._place() else None

    def lag(self, path: Location) -> int:
        """Objects that are not read yet, by number. Raises NoSuchPlace, S3Error."""
        return len(self._new(path, version_of(path), frozenset(self._objects()))) if self._place() else 0

    def next(
        self, spark: "SparkSession", path: Location, version: int | None, upto: object | None = None
    ) -> Fresh | None:
        """The next documents, oldest first. Raises NoSuchPlace, ChangedDocument, S3Error."""
        there = upto if isinstance(upto, frozenset) else self.end(path)
        if not there:
            return None
        new = self._new(path, version, there)
        if not new:
            return None
        now, place, places = new[: self.batch], self._place() or "", _places(path, version)
        if places and place not in places:
            logging.getLogger(__name__).warning(
                "%s: was read from %s so far, now from %s. %d of the %d documents there were read already and are not "
                "read again.", path, ", ".join(places), place, len(there) - len(new), len(there),
            )  # fmt: skip
        reached = {"place": place, "places": sorted({*places, place})}
        return Fresh(self._read(spark, now), reached, len(new) - len(now))

    def _new(self, path: Location, base: int | None, there: "frozenset[Object]") -> "list[Object]":
        """The objects that the table does not hold, oldest first."""
        places = {*_places(path, base), self._place() or ""}
        known = {(_below(one, places), etag) for one, etag in _known(path, base)}
        return sorted(one for one in there if (_below(one.path, places), one.etag) not in known)

    def _read(self, spark: "SparkSession", objects: list[Object]) -> "DataFrame":
        """The documents of these objects as rows of bronze."""
        columns = {
            "document": [_text(self._bytes(one)) for one in objects],
            "path": [one.path for one in objects],
            "etag": [one.etag for one in objects],
            "arrival": pa.array([one.arrival for one in objects], pa.timestamp("us")),
            "door": [self.door] * len(objects),
            "feed_day": [one.arrival.date() for one in objects],
        }
        return spark.createDataFrame(pa.table(columns), DocumentRow.compiled().spark_schema).coalesce(1)

    def _place(self) -> str | None:
        return self.place or settings().documents

    def _objects(self) -> Iterator[Object]:
        from lakehouse_assets.streaming.s3_client import list_objects, split

        place = self._place() or ""
        if place.startswith("s3://"):
            bucket, prefix = split(place)
            for key, etag, changed in list_objects(settings(), bucket, prefix, required=False):
                if key.endswith(self.suffix):
                    yield Object(changed.astimezone(UTC).replace(tzinfo=None), f"s3://{bucket}/{key}", etag)
            return
        folder = Path(place)
        if not folder.is_dir():
            raise NoSuchPlace(f"Path does not exist: {folder}. Make it, or name another (LAKEHOUSE_DOCUMENTS).")
        for file in sorted(folder.rglob(f"*{self.suffix}")):
            try:
                modified, data = file.stat().st_mtime, file.read_bytes()
            except FileNotFoundError:
                continue  # renamed or removed since it was listed
            yield Object(datetime.fromtimestamp(modified, UTC).replace(tzinfo=None), str(file), _etag(data))

    def _bytes(self, one: Object) -> bytes:
        from lakehouse_assets.streaming.s3_client import read_object, split

        if one.path.startswith("s3://"):
            return read_object(settings(), *split(one.path), one.etag)
        try:
            data = Path(one.path).read_bytes()
        except FileNotFoundError as error:
            raise ChangedDocument(f"{one.path} was removed while it was read. Nothing was written.") from error
        if _etag(data) != one.etag:
            raise ChangedDocument(f"{one.path} was changed while it was read. Nothing was written: read again.")
        return data


def _etag(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _places(path: Location, base: int | None) -> list[str]:
    """Every place that the table was read from, as of a version."""
    position = last_position(path, base) if base is not None else None
    return list(position.get("places", [position["place"]])) if position else []


def _below(path: str, places: Collection[str]) -> str:
    """A path without the place it is in."""
    roots = [root for place in places if place and path.startswith(root := place.rstrip("/") + "/")]
    return path.removeprefix(max(roots, key=len, default=""))


def _known(path: Location, version: int | None) -> set[tuple[str, str]]:
    """Path and ETag of what the table holds from a store."""
    if version is None:
        return set()
    found = ask(path, "SELECT path, etag FROM t WHERE door <> 'file'", version)
    return {(row["path"], row["etag"]) for row in found}


def _text(data: bytes) -> str:
    """Bytes as text; those that are no UTF-8 as base64, so that nothing is lost."""
    import base64

    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(data).decode()
