"""Documents of a bucket or a folder as the source of a bronze table: each object, as it was then, exactly once.

An object is known by its path below the place and its ETag: one that was overwritten is another document, and one
that moved along with the whole place (a renamed bucket or folder) is not. Which are read already is read from the table
itself, so there is no list of them to lose.
"""

import base64
import logging
import time
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake.exceptions import DeltaError

from lakehouse_assets.platform.common.source_days import SourceDays
from lakehouse_assets.platform.declare.stream_source import OUTSIDE, TOO_LARGE, UNREADABLE, Fresh, SetAside
from lakehouse_assets.platform.storage.location import Location
from lakehouse_assets.platform.storage.table_features import UnknownFeature
from lakehouse_assets.platform.streams.set_aside import beside, identities
from lakehouse_assets.platform.streams.stream_log import log_of
from lakehouse_assets.settings import settings
from lakehouse_assets.streaming.document_places import (
    Object,
    bytes_of,
    listed,
    md5,
    name_below,
    normal,
)
from lakehouse_assets.streaming.known_documents import known_documents
from lakehouse_assets.streaming.s3_client import Moved, Unreadable

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

BATCH = 5_000
LARGEST = 64 * 2**20
"""Bytes of a document from which on Spark's server could not hold it beside others."""
ANOTHER_TRY = 300.0
"""Seconds after which an object that could not be read is tried again; one that changed is tried at once."""


class DayFrom(Enum):
    """What says the day of a document: its last change, or its path (its name, else the nearest folder that does)."""

    MODIFIED = "modified"
    PATH = "path"


@dataclass
class Memory:
    """What a process that reads documents need not find out again: hashes of files, and what it tried in vain."""

    hashes: dict[str, tuple[tuple[int, ...], str]] = field(default_factory=dict)
    tried: dict[Object, float] = field(default_factory=dict)


@dataclass
class Taken:
    """The documents of a batch, and those that no batch may hold."""

    documents: list[tuple[Object, str, bytes, date]] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)
    size: int = 0
    looked_at: int = 0


@dataclass(frozen=True)
class Documents:
    """Objects below a place: `s3://bucket/input/` or a folder; None: what the settings say. Only names that end so.

    `days`: those that a document can be of; others are set aside. `day_from`: what says which it is.
    """

    place: str | None = None
    suffix: str = ".json"
    batch: int = BATCH
    days: SourceDays = SourceDays(date(1970, 1, 1))  # noqa: RUF009  (it never changes)
    day_from: DayFrom = DayFrom.MODIFIED
    memory: Memory = field(default_factory=Memory, compare=False, repr=False)

    @property
    def channel(self) -> str:
        """The way in, as the table's column says it."""
        return "s3" if self._place().startswith("s3://") else "folder"

    @property
    def permanent(self) -> tuple[type[Exception], ...]:
        """Errors that another try cannot mend: none."""
        return ()

    def end(self, path: Location) -> "frozenset[Object] | None":
        """The objects that are there now; None: no place is configured. Raises NoSuchPlace, S3Error."""
        if not self._place():
            return None
        there = frozenset(listed(self._place(), self.suffix))
        for gone in self.memory.hashes.keys() - {one.file for one in there}:
            del self.memory.hashes[gone]
        for changed in self.memory.tried.keys() - there:
            del self.memory.tried[changed]
        return there

    def lag(self, path: Location) -> int:
        """Objects that are not read yet and not set aside, by number. Raises NoSuchPlace, S3Error."""
        there, held = self.end(path) or frozenset(), self._set_aside(path) or set()
        waiting = self._waiting(path, log_of(path).version(), there)
        return sum(not self._is_held(one, held) for one in waiting)

    def next(
        self, spark: "SparkSession", path: Location, version: int | None, upto: object | None = None
    ) -> Fresh | None:
        """The next documents, oldest first, as many as a batch may hold. Raises NoSuchPlace, S3Error."""
        there = upto if isinstance(upto, frozenset) else self.end(path)
        if not there:
            return None
        waiting = self._waiting(path, version, there)
        taken = self._take(waiting, held := self._set_aside(path))
        if held is None and not taken.documents:
            taken = self._take(waiting, set())
        if not taken.documents:
            return Fresh(None, {}, 0, taken.set_aside) if taken.set_aside else None
        place, places = self._place(), self._places(path, version)
        if places and place not in map(normal, places):
            logging.getLogger(__name__).warning(
                "%s: was read from %s so far, now from %s. %d of the %d documents there were read already and are not "
                "read again.", path, ", ".join(places), place, len(there) - len(waiting), len(there),
            )  # fmt: skip
        self._tell_of_other_days(taken)
        reached = {"place": place, "places": sorted({*places, place})}
        return Fresh(self._rows(spark, taken), reached, len(waiting) - taken.looked_at, taken.set_aside)

    def _waiting(self, path: Location, base: int | None, there: "frozenset[Object]") -> "list[Object]":
        """The objects that the table does not hold, oldest first. Only one of a name that it holds is read for that."""
        places = {*self._places(path, base), self._place()}
        known = known_documents(path).by_name(base, places)
        return [
            one
            for one in sorted(there)
            if not ((etags := known.get(name_below(one.path, places))) and self._etag(one) in etags)
        ]

    def _take(self, waiting: "list[Object]", held: set[tuple[str, int, str]] | None) -> Taken:
        """The first of these objects, until a batch is full. `held`: what was set aside already; None: none can be."""
        taken, most = Taken(), settings().stream_batch_bytes
        for one in waiting:
            started = bool(taken.documents or taken.size)
            if len(taken.documents) >= self.batch or (started and taken.size + one.size > most):
                break
            taken.looked_at += 1
            if time.monotonic() - self.memory.tried.get(one, -ANOTHER_TRY) < ANOTHER_TRY:
                continue
            day, fault = self._day(one)
            large = one.size > LARGEST
            if (fault or large) and (held is None or self._is_held(one, held)):
                continue
            rule, data = OUTSIDE if fault else UNREADABLE, b""
            try:
                if large:
                    rule, fault = TOO_LARGE, f"it has {one.size} bytes; the most that is read is {LARGEST}"
                else:
                    data = bytes_of(one)
            except Moved:
                continue
            except Unreadable as error:
                if held is None:
                    continue
                self.memory.tried[one] = time.monotonic()
                rule, fault = UNREADABLE, str(error)
            etag = one.etag or (md5(data) if rule in (OUTSIDE, UNREADABLE) and data else "")
            if one.stamp and data:
                self.memory.hashes[one.file] = one.stamp, md5(data)
            if fault or day is None:
                taken.set_aside.append(SetAside(one.path, 1, etag, rule, fault or "", _text(data), None))
            else:
                taken.documents.append((one, one.etag or md5(data), data, day))
            taken.size += len(data)
        return taken

    def _day(self, one: Object) -> tuple[date | None, str | None]:
        """The feed day of a document, and why the source cannot have it."""
        if one.problem:
            return None, one.problem
        if self.day_from is DayFrom.MODIFIED:
            day = self.days.day_of(one.changed // 1000)
            return day, self.days.fault_of_record(day)
        if one.day_in_path is None:
            return None, "no name in its path says its day"
        try:
            day = date.fromisoformat(one.day_in_path)
        except ValueError:
            return None, f"{one.day_in_path} in its path is no day"
        return day, self.days.fault_of_record(day)

    def _tell_of_other_days(self, taken: Taken) -> None:
        """Tell of documents whose path says another day than the one that they are of."""
        others = [one for one, _, _, day in taken.documents if one.day_in_path not in (None, str(day))]
        if others and self.day_from is DayFrom.MODIFIED:
            logging.getLogger(__name__).warning(
                "%d of %d documents are of the day of their last change, and their path says another, the first %s "
                "(%s). Where the path is right, declare Documents(day_from=DayFrom.PATH).",
                len(others), len(taken.documents), others[0].path, others[0].arrival,
            )  # fmt: skip

    def _rows(self, spark: "SparkSession", taken: Taken) -> "DataFrame":
        """The documents as rows of bronze."""
        from lakehouse_assets.streaming.document_rows import DocumentRow

        columns = {
            "document": [_text(data) for _, _, data, _ in taken.documents],
            "path": [one.path for one, *_ in taken.documents],
            "etag": [etag for _, etag, _, _ in taken.documents],
            "arrival": pa.array([one.arrival for one, *_ in taken.documents], pa.timestamp("us")),
            "door": [self.channel] * len(taken.documents),
            "feed_day": [day for *_, day in taken.documents],
        }
        return spark.createDataFrame(pa.table(columns), DocumentRow.compiled().spark_schema).coalesce(1)

    def _place(self) -> str:
        return normal(self.place or settings().documents or "")

    def _places(self, path: Location, base: int | None) -> list[str]:
        """Every place that the table was read from, as of a version."""
        position = log_of(path).position(base) if base is not None else None
        return list(position.get("places", [position["place"]])) if position else []

    def _set_aside(self, path: Location) -> set[tuple[str, int, str]] | None:
        """What was set aside already; None where that cannot be read, and so nothing can be set aside."""
        log = log_of(beside(path))
        try:
            version = log.version()
            if version is None:
                return set()
            return log.once("documents", version, lambda: identities(log.path, (1, 1)))
        except (DeltaError, OSError, UnknownFeature):
            return None

    def _is_held(self, one: Object, held: set[tuple[str, int, str]]) -> bool:
        """Whether it was set aside already, as it is now. One that is too large is not read to find that out."""
        return (one.path, 1, one.etag if one.size > LARGEST else self._etag(one)) in held

    def _etag(self, one: Object) -> str:
        """The hash of an object; of a file it is found out once. None that can be read: empty."""
        if one.etag or one.problem:
            return one.etag
        known = self.memory.hashes.get(one.file)
        if known is None or known[0] != one.stamp:
            try:
                known = self.memory.hashes[one.file] = one.stamp, md5(bytes_of(one))
            except (Moved, Unreadable):
                return ""
        return known[1]


def _text(data: bytes) -> str:
    """Bytes as text; those that are no UTF-8 as base64, so that nothing is lost."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(data).decode()
