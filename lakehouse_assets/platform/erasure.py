"""Erasure of a subject on request: its rows leave the landed files, and no landing brings them back.

The list of the erased holds pseudonyms, so it says nothing about whom it keeps out. Landed files are rewritten without
the subject's rows, the old ones are removed; the tables made of them are then made again, and their old files removed
as well (`ops/forget.py`).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import QueryBuilder, write_deltalake

from lakehouse_assets.platform.delta import open_table
from lakehouse_assets.platform.errors import LakehouseError
from lakehouse_assets.platform.landing_manifest import ADD, Entry, Manifest, current
from lakehouse_assets.platform.pseudonym import key, pseudonym
from lakehouse_assets.platform.store import Location, parquet, storage_options
from lakehouse_assets.settings import settings

FOLDER = "_erased"
ERASED = "erased from "
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


def erased(root: Location, domain: str) -> frozenset[str]:
    """Pseudonyms of the subjects that a domain has erased. Raises OtherKey, NoKey."""
    folder = root / domain / FOLDER
    table = open_table(folder)
    if table is None:
        return frozenset()
    rows = pa.table(QueryBuilder().register("erased", table).execute("select * from erased")).to_pylist()
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


def remember(root: Location, domain: str, subject: str) -> None:
    """Put a subject on the list, once."""
    if pseudonym(subject) not in erased(root, domain):
        row = {"pseudonym": pseudonym(subject), "erased_at": datetime.now(UTC), "pseudonym_key_id": _key_id()}
        path, rows = root / domain / FOLDER, pa.Table.from_pylist([row], schema=_SCHEMA)
        options = storage_options(path)
        write_deltalake(str(path), rows, mode="append", schema_mode="merge", storage_options=options)


def without_erased(root: Location, domain: str, column: str, rows: pa.Table) -> pa.Table:
    """The rows of a file without those of erased subjects."""
    gone = erased(root, domain)
    if not gone:
        return rows
    there = pc.unique(pc.drop_null(rows[column])).to_pylist()
    named = [value for value in there if pseudonym(value.strip()) in gone]
    return rows.filter(pc.invert(pc.fill_null(pc.is_in(rows[column], pa.array(named, rows[column].type)), False)))


def erased_days(folder: Location) -> set[date]:
    """Feed days of a table whose landed files were rewritten: also by an attempt that was killed."""
    return {entry.feed_day for entry in current(Manifest(folder).entries()) if entry.source_sha256.startswith(ERASED)}


def rewrite_parts(folder: Location, column: str, subject: str) -> list[Rewritten]:
    """Rewrite the landed parts of a table that hold the subject, as landings of their own, and remove the old ones.

    Also parts that no longer hold (superseded landings) are rewritten. Raises LandingError, ManifestMoved.
    """
    manifest = Manifest(folder)
    entries = manifest.entries()
    holding = {entry.part for entry in current(entries)}
    found = [(entry, rows) for entry in entries for rows in _rows(folder / entry.part)]
    new: list[Entry] = []
    done: list[Rewritten] = []
    for entry, rows in found:
        rest = rows.filter(pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(rows[column]), subject), True))
        if rest.num_rows == rows.num_rows:
            continue
        if entry.part in holding:
            landing = 1 + max(e.landing for e in [*entries, *new] if e.feed_day == entry.feed_day)
            new.append(_write(folder, entry, rest, landing))
            done.append(Rewritten(entry.feed_day, entry.name, rows.num_rows - rest.num_rows))
    if new:
        manifest.commit(new)
    for entry, rows in found:
        held = pc.any(pc.equal(pc.utf8_trim_whitespace(rows[column]), subject)).as_py()
        if held:
            (folder / entry.part).unlink(missing_ok=True)
    return done


def _rows(part: Location) -> Iterator[pa.Table]:
    if part.exists():
        yield pq.ParquetFile(parquet(part)).read()


def _write(folder: Location, entry: Entry, rows: pa.Table, landing: int) -> Entry:
    place = rows.schema.get_field_index("landing")
    numbered = rows.set_column(place, "landing", pa.repeat(pa.scalar(landing, pa.int32()), rows.num_rows))
    buffer = pa.BufferOutputStream()
    pq.write_table(numbered, buffer, compression="zstd", store_schema=False)
    data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    part = f"{entry.feed_day.isoformat()}/{landing:06d}-{digest[:16]}.parquet"
    (folder / part).write_bytes(data.to_pybytes())
    source = ERASED + entry.source_sha256.removeprefix(ERASED)
    return Entry(entry.feed_day, landing, entry.name, part, entry.format, data.size, digest, source, rows.num_rows, ADD)
