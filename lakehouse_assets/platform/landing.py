"""Landing: source files laid out by feed day as immutable parts, one Delta commit per landed file."""

import hashlib
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse_assets.platform.drift import Drift, day_in_name, read_drifting
from lakehouse_assets.platform.landed_files import TEXT, LandingError, NotNow, format_of, read_rows, whole_text
from lakehouse_assets.platform.landing_days import split_by_day
from lakehouse_assets.platform.landing_manifest import ADD, FOLDER, REPLACE, Entry, Manifest, ManifestMoved, current
from lakehouse_assets.platform.landing_store import discard, locked, publish, stage
from lakehouse_assets.platform.store import Location, sha256

__all__ = ["EventFiles", "Landed", "LandingError", "Part", "land", "manifest_version", "parts", "rows_by_day", "verify"]

PART_COLUMNS = ("source_file", "row_number", "feed_day", "landing")
_ATTEMPTS = 20


@dataclass(frozen=True)
class EventFiles:
    """What a source delivers: its columns in order, the column a file is split by, the earliest day accepted.

    `day_in_name`: a file's name, else its folder's, says the day. `drift`: how files may differ. `most_missing`: the
    files are full snapshots, of which one that has fewer rows than the one before, by more than this share, is refused.
    `subject`: the column that says whose a row is, by which it can be erased on request. `streamed`: its files also
    come as a stream (`streaming/inbox.py`).
    `day_formats`: how the day column writes its days, besides ISO, in strptime's letters.
    `whole`: a file is one record, its text the only column; its day is that of its last change.
    """

    columns: tuple[str, ...]
    day_column: str | None = None
    first_day: date = date(2000, 1, 1)
    day_in_name: bool = False
    drift: Drift | None = None
    most_missing: float | None = None
    subject: str | None = None
    streamed: bool = False
    day_formats: tuple[str, ...] = ()
    whole: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for a declaration that cannot be landed."""
        clash = set(self.columns) & set(PART_COLUMNS)
        if clash or len(set(self.columns)) != len(self.columns) or not self.columns:
            raise ValueError(f"source columns must be distinct and none of {', '.join(PART_COLUMNS)}: {self.columns}")
        if self.day_column is not None and self.day_column not in self.columns:
            raise ValueError(f"the day column {self.day_column!r} is none of {self.columns}")
        if self.whole and len(self.columns) != 1:
            raise ValueError(f"a file that is one record has one column, not {self.columns}")


@dataclass(frozen=True)
class Part:
    """One landed Parquet file: the rows that one source file holds of one feed day. Size in bytes."""

    feed_day: date
    landing: int
    name: str
    path: Location
    format: str
    size: int
    sha256: str
    source_sha256: str
    rows: int


@dataclass(frozen=True)
class Landed:
    """What a landing did: rows per feed day, and the manifest version that holds them."""

    table: str
    name: str
    days: dict[date, int]
    already_landed: bool
    version: int


@dataclass(frozen=True)
class _Delivery:
    """A source file, read and split: `days` holds the source columns and `row_number`, per feed day."""

    name: str
    format: str
    sha256: str
    days: dict[date, pa.Table]


def land(
    root: Location,
    table: str,
    source: EventFiles,
    file: Path,
    *,
    day: date | None = None,
    replace: bool = False,
    today: date,
    really: bool = False,
) -> Landed:
    """Land one file under `root`, whole or not at all. `really`: also a snapshot that has shrunken, even to nothing.

    A new name adds to its days, a known name supersedes its part of those days, `replace` replaces those days
    whole; bytes that are already there are not landed again. The file is held in memory. Raises LandingError.
    """
    folder = _folder(root, table)
    delivery = _read(source, file, day, today, _not_erased(root, table, source), really)
    with locked(folder):
        for _ in range(_ATTEMPTS):
            manifest = Manifest(folder)
            if source.most_missing is not None and not really:
                _refuse_shrunken(manifest, delivery, source.most_missing)
            try:
                return _land(table, folder, manifest, delivery, replace)
            except ManifestMoved:  # a lander on another machine, where the lock does not reach
                continue
    raise NotNow(f"{table}: other landings came first {_ATTEMPTS} times. Land {file} again later.")


def rows_by_day(source: EventFiles, file: Path, *, today: date) -> dict[date, pa.Table]:
    """The rows of a file as they would be landed: per feed day the source's columns as text, and `row_number`.

    Raises LandingError.
    """
    return _read(source, file, None, today, lambda rows: rows, really=False).days


def manifest_version(root: Location, table: str) -> int | None:
    """Delta version of the table's manifest; None when nothing was ever landed."""
    return Manifest(_folder(root, table)).version


def manifest_path(root: Location, table: str) -> Location:
    """Folder of the Delta table in which the landings of a table are listed."""
    return _folder(root, table) / FOLDER


def parts(root: Location, table: str, days: Collection[date] | None = None, version: int | None = None) -> list[Part]:
    """Parts that hold for `days` (None: all), now or as of a manifest version, by (feed_day, landing, name)."""
    folder = _folder(root, table)
    return [_part(folder, entry) for entry in current(Manifest(folder, version).entries(days))]


def verify(part: Part) -> None:
    """Raises LandingError when the part's file is missing or is not what was landed."""
    try:
        found = sha256(part.path)
    except OSError as error:
        why = error.strerror or "it is not there"
        raise LandingError(f"{part.path}: the landed part of {part.name} cannot be read: {why}.") from error
    if found != part.sha256:
        raise LandingError(
            f"{part.path}: not what was landed from {part.name}: sha256 {found}, expected {part.sha256}. "
            "Restore the file, or land its source again with --replace."
        )


def _folder(root: Location, table: str) -> Location:
    if not re.fullmatch(r"[a-z][a-z0-9_]*/[a-z][a-z0-9_]*", table):
        raise LandingError(f"{table!r} is no source table. Name it <domain>/<table>, for example gmv/purchase.")
    return root.absolute() / table


def _not_erased(root: Location, table: str, source: EventFiles) -> Callable[[pa.Table], pa.Table]:
    """Takes the rows of erased subjects out of a file."""
    from lakehouse_assets.platform.erasure import without_erased

    subject = source.subject
    if subject is None:
        return lambda rows: rows
    return lambda rows: without_erased(root, table.split("/")[0], subject, rows)


def _read(
    source: EventFiles,
    file: Path,
    day: date | None,
    today: date,
    keep: Callable[[pa.Table], pa.Table],
    really: bool,
) -> _Delivery:
    if file.is_dir():
        raise LandingError(f"{file}: a folder. Name the files in it, for example {file}/*.csv")
    if not file.exists():
        raise LandingError(f"{file}: no such file.")
    if not file.is_file():
        raise LandingError(f"{file}: not a regular file. Write it to disk first.")
    if not file.name.isprintable():
        raise LandingError(f"{file!r}: a file name that cannot be shown. Rename the file.")
    kind = format_of(file)
    data = _bytes(file)
    if not data and source.most_missing is not None:
        rows = pa.table({name: pa.array([], TEXT) for name in source.columns})
    elif source.whole:
        rows = pa.table({source.columns[0]: pa.array([whole_text(str(file), data)], TEXT)})
        day = day or datetime.fromtimestamp(file.stat().st_mtime, UTC).date()
    elif source.drift:
        rows = read_drifting(str(file), kind, data, source.columns, source.drift)
    else:
        rows = read_rows(str(file), kind, data, source.columns)
    if source.most_missing is not None and rows.num_rows == 0 and not really:
        raise LandingError(
            f"{file}: a snapshot without a row: a broken extract. A day without a file says nothing. If all that there "
            "was is really deleted: --yes-really"
        )
    if day is None and source.day_in_name:
        day = day_in_name((file.name, file.absolute().parent.name))
    rows = rows.append_column("row_number", pa.array(np.arange(1, rows.num_rows + 1, dtype=np.int64)))
    rows = keep(rows)
    days = split_by_day(str(file), rows, source.day_column, source.first_day, day, today, source.day_formats)
    return _Delivery(file.name, kind, hashlib.sha256(data).hexdigest(), days)


def _bytes(file: Path) -> bytes:
    """A file's content, all of one moment. Raises LandingError where it changed meanwhile."""
    try:
        before = file.stat()
        data = file.read_bytes()
        after = file.stat()
    except OSError as error:
        raise LandingError(f"{file}: cannot be read: {error.strerror}.") from error
    same = all(getattr(before, name) == getattr(after, name) for name in ("st_ino", "st_size", "st_mtime_ns"))
    if not same or len(data) != after.st_size:
        raise NotNow(f"{file}: it was changed while it was read. Nothing was landed: land it when it is complete.")
    return data


def _refuse_shrunken(manifest: Manifest, delivery: _Delivery, most_missing: float) -> None:
    """Raises LandingError when fewer rows came than the snapshot before had, by more than the tolerated share."""
    held: dict[date, int] = {}
    for entry in current(manifest.entries()):
        held[entry.feed_day] = held.get(entry.feed_day, 0) + entry.rows
    for day, rows in delivery.days.items():
        before = max((other for other in held if other < day), default=None)
        if before is not None and rows.num_rows < held[before] * (1 - most_missing):
            raise LandingError(
                f"{delivery.name}: {rows.num_rows} rows, where the snapshot of {before} had {held[before]}: more than "
                f"{most_missing:.0%} are missing, as in a broken extract. Nothing was landed. If it is whole, and so "
                "many were deleted: --yes-really"
            )


def _land(table: str, folder: Location, manifest: Manifest, delivery: _Delivery, replace: bool) -> Landed:
    entries = manifest.entries(delivery.days)
    days = {day: rows.num_rows for day, rows in delivery.days.items()}
    if manifest.version is not None and _holds(folder, entries, delivery, replace):
        return Landed(table, delivery.name, days, True, manifest.version)
    landings = {day: 1 + max((e.landing for e in entries if e.feed_day == day), default=0) for day in days}
    written: list[Entry] = []
    try:
        for day, rows in delivery.days.items():
            written.append(_stage(folder, delivery, day, rows, landings[day], REPLACE if replace else ADD))
        publish(folder, [entry.part for entry in written])
        version = manifest.commit(written)
    except OSError as error:
        _discard(folder, written)
        raise NotNow(f"{folder}: cannot be written, nothing was landed: {error}. Is the disk full?") from error
    except (ManifestMoved, LandingError):
        _discard(folder, written)
        raise
    return Landed(table, delivery.name, days, False, version)


def _holds(folder: Location, entries: list[Entry], delivery: _Delivery, replace: bool) -> bool:
    """Whether each of the delivery's days holds these very rows already; with `replace`, whether it holds no others.

    The same source and the same number of rows of a day mean the same rows of that day. A part whose file somebody
    deleted holds nothing.
    """
    found = current(entries)
    there = [entry for entry in found if entry.source_sha256 == delivery.sha256 and (folder / entry.part).is_file()]
    same = {entry.feed_day: entry.rows for entry in there}
    alone = len(found) == len(delivery.days)
    return all(same.get(day) == rows.num_rows for day, rows in delivery.days.items()) and (alone or not replace)


def _stage(folder: Location, delivery: _Delivery, day: date, rows: pa.Table, landing: int, action: str) -> Entry:
    """Write one part under a name of its own in the staging folder. Same rows, same bytes."""
    count = rows.num_rows
    origin = pa.repeat(pa.scalar(delivery.name, TEXT), count)
    table = rows.add_column(rows.num_columns - 1, "source_file", origin)
    table = table.append_column("feed_day", pa.repeat(pa.scalar(day, pa.date32()), count))
    table = table.append_column("landing", pa.repeat(pa.scalar(landing, pa.int32()), count))
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd", store_schema=False)
    data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    part = f"{day.isoformat()}/{landing:06d}-{digest[:16]}.parquet"
    stage(folder, part, data)
    return Entry(day, landing, delivery.name, part, delivery.format, data.size, digest, delivery.sha256, count, action)


def _discard(folder: Location, entries: list[Entry]) -> None:
    """Remove what a failed landing published. A part that the manifest lists is another lander's with the same rows."""
    listed = {entry.part for entry in Manifest(folder).entries({entry.feed_day for entry in entries})}
    discard(folder, [entry.part for entry in entries if entry.part not in listed])


def _part(folder: Location, entry: Entry) -> Part:
    path = folder / entry.part
    return Part(
        entry.feed_day, entry.landing, entry.name, path, entry.format, entry.size, entry.sha256, entry.source_sha256,
        entry.rows,
    )  # fmt: skip
