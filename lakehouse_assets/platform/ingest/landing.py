"""Landing: source files laid out by feed day as immutable parts, one Delta commit per delivery."""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse_assets.platform.common.typed_text import TEXT
from lakehouse_assets.platform.declare.source_files import EventFiles
from lakehouse_assets.platform.ingest.delivery import Delivered, Delivery, read
from lakehouse_assets.platform.ingest.delivery_names import FileSet, one
from lakehouse_assets.platform.ingest.erasure import erased
from lakehouse_assets.platform.ingest.file_readers import LandingError, NotNow
from lakehouse_assets.platform.ingest.manifest import ADD, FOLDER, REPLACE, Entry, Manifest, ManifestMoved, current
from lakehouse_assets.platform.ingest.parts import discard, locked, publish, stage
from lakehouse_assets.platform.ingest.superseding import change, once, removals, superseded
from lakehouse_assets.platform.storage.location import Location, sha256
from lakehouse_assets.platform.storage.s3 import S3Path

__all__ = ["EventFiles", "Landed", "LandingError", "Part", "land", "manifest_version", "parts", "verify"]

_ATTEMPTS = 20


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
    """What a landing did: rows per feed day, and the manifest version that holds them.

    `notes`: what a file says otherwise than it was landed, what of other days it superseded. `stays`: what of other
    deliveries stays on its days.
    """

    table: str
    name: str
    days: dict[date, int]
    already_landed: bool
    version: int
    notes: tuple[str, ...] = ()
    stays: tuple[str, ...] = ()


def land(
    root: Location,
    table: str,
    source: EventFiles,
    file: Path | FileSet,
    *,
    day: date | None = None,
    replace: bool = False,
    today: date,
    allow_shrinking: bool = False,
) -> Landed:
    """Land one delivery under `root`, whole or not at all. `allow_shrinking`: also a snapshot that has shrunken, or is
    empty.

    A new name adds to its days, a known name supersedes all that it brought, `replace` replaces its days whole. The
    same bytes of one name are not landed again, of several names their rows count once. Files are held in memory.
    Raises LandingError, StoreError, LakehouseError of a bucket without conditional puts; of erased subjects OtherKey,
    NoKey.
    """
    folder = folder_of(root, table)
    files = file if isinstance(file, FileSet) else one(file)
    put: list[Entry] = []
    gone = _erased(root, table, source)
    delivery = read(source, files, day, today, gone, allow_shrinking)
    with locked(folder):
        for _ in range(_ATTEMPTS):
            manifest = Manifest(folder)
            manifest.prove()
            # Who is erased after this look also commits to the manifest: then this landing loses and looks again.
            if (now := _erased(root, table, source)) != gone:
                gone, delivery = now, read(source, files, day, today, now, allow_shrinking)
            if source.most_missing is not None and not allow_shrinking:
                _refuse_shrunken(manifest, delivery, source.most_missing)
            try:
                landed = _land(table, source, folder, manifest, delivery, replace, put)
            except ManifestMoved:  # a lander on another machine, where the lock does not reach
                continue
            _take_back(folder, put)
            return landed
    raise NotNow(f"{table}: other landings came first {_ATTEMPTS} times. Land {files.name} again later.")


def manifest_version(root: Location, table: str) -> int | None:
    """Delta version of the table's manifest; None when nothing was ever landed."""
    return Manifest(folder_of(root, table)).version


def manifest_path(root: Location, table: str) -> Location:
    """Folder of the Delta table in which the landings of a table are listed."""
    return folder_of(root, table) / FOLDER


def parts(root: Location, table: str, days: Collection[date] | None = None, version: int | None = None) -> list[Part]:
    """Parts that hold for `days` (None: all), now or as of a manifest version, by (feed_day, landing, name)."""
    folder = folder_of(root, table)
    return [_part(folder, entry) for entry in once(current(Manifest(folder, version).entries(days)))]


def verify(part: Part) -> None:
    """Raises LandingError when the part's file is missing or is not what was landed."""
    try:
        found = sha256(part.path)
    except OSError as error:
        why = error.strerror or "it is not there"
        raise LandingError(
            f"{part.path}: the landed part of {part.name} cannot be read: {why}. Restore it, or land its source again."
        ) from error
    if found != part.sha256:
        raise LandingError(
            f"{part.path}: not what was landed from {part.name}: sha256 {found}, expected {part.sha256}. "
            "Restore the file, or land its source again."
        )


def folder_of(root: Location, table: str) -> Location:
    if not re.fullmatch(r"[a-z][a-z0-9_]*/[a-z][a-z0-9_]*", table):
        raise LandingError(f"{table!r} is no source table. Name it <domain>/<table>, for example gmv/purchase.")
    return root.absolute() / table


def _erased(root: Location, table: str, source: EventFiles) -> frozenset[str]:
    """Pseudonyms of the subjects whose rows are not landed any more."""
    return erased(root, table.split("/")[0]) if source.subject else frozenset()


def _refuse_shrunken(manifest: Manifest, delivery: Delivery, most_missing: float) -> None:
    """Raises LandingError when fewer rows came than the snapshot before had, by more than the tolerated share."""
    held: dict[date, int] = {}
    for entry in once(current(manifest.entries())):
        held[entry.feed_day] = held.get(entry.feed_day, 0) + entry.rows
    for day, rows in delivery.days.items():
        before = max((other for other in held if other < day), default=None)
        if before is not None and rows < held[before] * (1 - most_missing):
            raise LandingError(
                f"{delivery.name}: {rows} rows, where the snapshot of {before} had {held[before]}: more than "
                f"{most_missing:.0%} are missing, as in a broken extract. Nothing was landed. If it is whole, and so "
                "many were deleted: --allow-shrinking"
            )


def _land(
    table: str,
    source: EventFiles,
    folder: Location,
    manifest: Manifest,
    delivery: Delivery,
    replace: bool,
    put: list[Entry],
) -> Landed:
    """One attempt. What it put and did not commit is added to `put`."""
    days = delivery.days
    before = frozenset() if source.dated_by_delivery else manifest.days_of(delivery.name)
    entries = manifest.entries(days.keys() | before)
    found = change(folder, source, current(entries), delivery, replace)
    if manifest.version is not None and not found.new and not found.gone:
        return Landed(table, delivery.name, days, True, manifest.version, delivery.notes)
    landings = {day: max((e.landing for e in entries if e.feed_day == day), default=0) for day in days}
    anew = set(days) if replace else set()
    written: list[Entry] = []
    try:
        for day, file in found.new:
            landings[day] += 1
            written.append(_stage(folder, delivery.name, file, day, landings[day], REPLACE if day in anew else ADD))
            anew.discard(day)
        publish(folder, [entry.part for entry in written])
        version = manifest.commit([*written, *removals(found.gone)])
    except OSError as error:
        _discard(folder, written)
        raise NotNow(f"{folder}: cannot be written, nothing was landed: {error}. Is the disk full?") from error
    except (ManifestMoved, LandingError):
        put += written
        _discard(folder, written)
        raise
    notes = (*delivery.notes, *superseded(found.gone, days))
    return Landed(table, delivery.name, days, False, version, notes, found.stays)


def _stage(folder: Location, delivery: str, file: Delivered, day: date, landing: int, action: str) -> Entry:
    """Write one part under a name of its own in the staging folder. Same rows, same bytes."""
    rows = file.days[day]
    count = rows.num_rows
    origin = pa.repeat(pa.scalar(file.name, TEXT), count)
    table = rows.add_column(rows.num_columns - 1, "source_file", origin)
    table = table.append_column("feed_day", pa.repeat(pa.scalar(day, pa.date32()), count))
    table = table.append_column("landing", pa.repeat(pa.scalar(landing, pa.int32()), count))
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd", store_schema=False)
    data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    part = f"{day.isoformat()}/{landing:06d}-{digest[:16]}.parquet"
    stage(folder, part, data)
    return Entry(
        day, landing, file.name, part, file.format, data.size, digest, file.sha256, count, action, delivery
    )  # fmt: skip


def _discard(folder: Location, entries: list[Entry]) -> None:
    """Remove what a failed landing published. A part that the manifest lists is another lander's with the same rows."""
    listed = {entry.part for entry in Manifest(folder).entries({entry.feed_day for entry in entries})}
    discard(folder, [entry.part for entry in entries if entry.part not in listed])


def _take_back(folder: Location, put: list[Entry]) -> None:
    """Remove what attempts that lost left in a bucket: it may hold rows of somebody who was erased meanwhile.

    Once this landing is committed nobody can name them any more: who put the same before it has lost as well.
    """
    if put and isinstance(folder, S3Path):
        listed = {entry.part for entry in Manifest(folder).entries({entry.feed_day for entry in put})}
        for entry in put:
            if entry.part not in listed:
                (folder / entry.part).unlink()


def _part(folder: Location, entry: Entry) -> Part:
    path = folder / entry.part
    return Part(
        entry.feed_day, entry.landing, entry.name, path, entry.format, entry.size, entry.sha256, entry.source_sha256,
        entry.rows,
    )  # fmt: skip
