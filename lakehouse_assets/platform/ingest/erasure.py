"""Erasure of a subject on request: its rows leave the landed files, and no landing brings them back.

The list of the erased holds pseudonyms, so it says nothing about whom it keeps out. Landed files are rewritten without
the subject's rows, the old ones are removed; the tables made of them are then made again, and their old files removed
as well (`ops/forget.py`).
"""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import write_deltalake

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.common.identifier import NormalForm
from lakehouse_assets.platform.ingest.delivery import of_subject
from lakehouse_assets.platform.ingest.file_readers import LandingError, NotNow
from lakehouse_assets.platform.ingest.manifest import ADD, REMOVE, Entry, Manifest, ManifestMoved, current
from lakehouse_assets.platform.ingest.manifest import FOLDER as MANIFEST
from lakehouse_assets.platform.ingest.parts import locked, publish, stage, stored
from lakehouse_assets.platform.ingest.pseudonyms import key, pseudonym
from lakehouse_assets.platform.storage.delta_table import query_rows
from lakehouse_assets.platform.storage.location import Location, answering, parquet, storage_options
from lakehouse_assets.platform.storage.statistics_properties import stats_properties
from lakehouse_assets.settings import settings

FOLDER = "_erased"
ERASED = "erased from "
STATISTICS = ("erased_at",)
_ATTEMPTS = 20
_SCHEMA = pa.schema(
    [("pseudonym", pa.string()), ("erased_at", pa.timestamp("us", tz="UTC")), ("pseudonym_key_id", pa.string())]
)


class OtherKey(LakehouseError):
    """Subjects were erased under another key of pseudonyms: with this one nobody can tell who they were."""


@dataclass(frozen=True)
class Rewritten:
    """A landed part that held the subject."""

    feed_day: date
    name: str
    rows_removed: int


@dataclass(frozen=True)
class Subject:
    """Whose rows are erased: those whose `column` has the same normal form as `key`."""

    column: str
    form: NormalForm
    key: str

    def rows(self, rows: pa.Table) -> pa.ChunkedArray:
        """Which rows are the subject's."""
        return of_subject(rows, self.column, self.key, self.form)

    def days(self, file: Location) -> set[date]:
        """Feed days on which a Parquet file has rows of the subject; none where it has no such columns."""
        held = pq.ParquetFile(parquet(file))
        if not {self.column, DAY_COLUMN} <= set(held.schema_arrow.names):
            return set()
        rows = held.read(columns=[self.column, DAY_COLUMN])
        return set(rows.filter(self.rows(rows))[DAY_COLUMN].to_pylist())

    def days_in_quarantine(self, file: Location) -> set[date]:
        """The same of rows that are kept whole, as JSON."""
        rows = pq.ParquetFile(parquet(file)).read(columns=["row", DAY_COLUMN]).to_pylist()
        return {row[DAY_COLUMN] for row in rows if self._is_in(row["row"])}

    def is_in(self, file: Location) -> bool:
        """Whether a file tells of the subject, by identifier or by pseudonym; not of one that is being written."""
        try:
            held = pq.ParquetFile(parquet(file))
        except (pa.ArrowInvalid, FileNotFoundError):
            return False
        names = {pseudonym(self.key.strip()), pseudonym(self.form.of(self.key))}
        columns = [name for name in held.schema_arrow.names if name in (self.column, "row", "_row")]
        texts = [text for column in held.read(columns=columns).columns for text in column.unique().to_pylist()]
        meant = self.form.of(self.key)
        return any(
            isinstance(text, str) and (text in names or self.form.of(text) == meant or self._is_in(text))
            for text in texts
        )

    def _is_in(self, row: str) -> bool:
        try:
            values = json.loads(row)
        except ValueError:
            return False
        value = values.get(self.column) if isinstance(values, dict) else None
        return isinstance(value, str) and self.form.of(value) == self.form.of(self.key)


def erased(root: Location, domain: str) -> frozenset[str]:
    """Pseudonyms of the subjects that a domain has erased. Raises OtherKey, NoKey, StoreError."""
    folder = root / domain / FOLDER
    rows = query_rows(folder, "SELECT * FROM t")
    # A list of before key ids were kept in it has none; they were then of the key that there was.
    others = {row["pseudonym"]: of for row in rows if (of := row.get("pseudonym_key_id")) not in (None, _key_id())}
    if others:
        then = ", ".join(sorted(set(others.values())))
        raise OtherKey(
            f"{len(others)} subjects of {domain} were erased under the key {then!r}, and now there is {_key_id()!r}: "
            f"nobody could keep them out. Set that key again; or move {folder} away and erase them under the new one."
        )
    return frozenset(row["pseudonym"] for row in rows)


def _key_id() -> str:
    return key(settings()).id


def remember(root: Location, domain: str, subject: str, forms: Collection[NormalForm] = (NormalForm.EXACT,)) -> None:
    """Put a subject on the list, once, in each form in which the domain's sources compare. Raises as `erased`."""
    new = {pseudonym(form.of(subject)) for form in forms} - erased(root, domain)
    if new:
        known = {"erased_at": datetime.now(UTC), "pseudonym_key_id": _key_id()}
        rows = pa.Table.from_pylist([{"pseudonym": one, **known} for one in sorted(new)], schema=_SCHEMA)
        path = root / domain / FOLDER
        with answering(path):
            write_deltalake(
                str(path),
                rows,
                mode="append",
                schema_mode="merge",
                configuration=stats_properties(STATISTICS),
                storage_options=storage_options(path),
            )


def erased_days(folder: Location) -> set[date]:
    """Feed days of a table whose landed files were rewritten: also by an attempt that was killed."""
    return {entry.feed_day for entry in current(Manifest(folder).entries()) if entry.source_sha256.startswith(ERASED)}


def rewrite_parts(folder: Location, who: Subject) -> list[Rewritten]:
    """Rewrite the landed parts of a table that hold the subject, as landings of their own, and remove the old ones.

    Parts that no longer hold (superseded landings) go as well, and those that a killed landing left without naming
    them. It commits even where nothing was found: a landing that read the list of the erased before this subject was on
    it then loses its race, and looks again. Raises LandingError, StoreError.
    """
    read: dict[str, pa.Table | None] = {}
    with locked(folder):
        for _ in range(_ATTEMPTS):
            manifest = Manifest(folder)
            if manifest.version is None:
                _refuse_lost(folder)
                if isinstance(folder, Path):
                    return []  # nothing was landed, and nothing is being landed: this holds the lock
            manifest.prove()
            entries = manifest.entries()
            for entry in entries:
                if entry.action != REMOVE and entry.part not in read:
                    read[entry.part] = _with(who, folder / entry.part)
            found = [(entry, rows) for entry in entries if (rows := read.get(entry.part)) is not None]
            new, done = _without(who, folder, entries, found)
            try:
                manifest.commit(new)
            except ManifestMoved:
                continue
            for entry, _rows in found:
                (folder / entry.part).unlink(missing_ok=True)
            _sweep(who, folder)
            return done
    raise NotNow(f"{folder}: landings came first {_ATTEMPTS} times. Erase again later.")


def _refuse_lost(folder: Location) -> None:
    """Raises LandingError for parts without a manifest: nobody can tell which of them hold."""
    if stored(folder):
        raise LandingError(
            f"{folder}: there are landed parts and no manifest. If it was lost, restore {folder / MANIFEST}; if a "
            "first landing was stopped, land that file again. Then erase again: nothing was removed here."
        )


def _sweep(who: Subject, folder: Location) -> None:
    """After an erasure's commit: remove parts that no manifest names and that hold rows of the erased subject.

    A landing left them that was killed, or that lost its race to the erasure; none that runs can name them any more.
    One that is no Parquet file was not written to its end.
    """
    named = {folder / entry.part for entry in Manifest(folder).entries()}
    for part in stored(folder):
        if part not in named:
            try:
                rows = pq.ParquetFile(parquet(part)).read(columns=[who.column])
            except pa.ArrowInvalid:
                part.unlink(missing_ok=True)
                continue
            if pc.any(who.rows(rows)).as_py():
                part.unlink(missing_ok=True)


def _with(who: Subject, part: Location) -> pa.Table | None:
    """The rows of a part, if the subject is among them."""
    if not part.exists():
        return None
    rows = pq.ParquetFile(parquet(part)).read()
    return rows if pc.any(who.rows(rows)).as_py() else None


def _without(
    who: Subject, folder: Location, entries: list[Entry], found: list[tuple[Entry, pa.Table]]
) -> tuple[list[Entry], list[Rewritten]]:
    """Landings in place of those of `found` that hold, and what was taken from each."""
    holding = {entry.part for entry in current(entries)}
    new: list[Entry] = []
    done: list[Rewritten] = []
    for entry, rows in found:
        if entry.part in holding:
            rest = rows.filter(pc.invert(who.rows(rows)))
            landing = 1 + max(e.landing for e in [*entries, *new] if e.feed_day == entry.feed_day)
            new.append(_write(folder, entry, rest, landing))
            done.append(Rewritten(entry.feed_day, entry.name, rows.num_rows - rest.num_rows))
    return new, done


def _write(folder: Location, entry: Entry, rows: pa.Table, landing: int) -> Entry:
    place = rows.schema.get_field_index("landing")
    numbered = rows.set_column(place, "landing", pa.repeat(pa.scalar(landing, pa.int32()), rows.num_rows))
    buffer = pa.BufferOutputStream()
    pq.write_table(numbered, buffer, compression="zstd", store_schema=False)
    data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    part = f"{entry.feed_day.isoformat()}/{landing:06d}-{digest[:16]}.parquet"
    stage(folder, part, data)
    publish(folder, [part])
    source = ERASED + entry.source_sha256.removeprefix(ERASED)
    return replace(
        entry, landing=landing, part=part, size=data.size, sha256=digest, source_sha256=source, rows=rows.num_rows,
        action=ADD,
    )  # fmt: skip
