"""Delta tables read without a JVM: versions, commits and their notes, schemas. Spark alone writes data tables."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from enum import Enum
from typing import Any, Self

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import TableNotFoundError

from lakehouse_assets.platform.days import read_days, write_days
from lakehouse_assets.platform.store import Location, answering, storage_options
from lakehouse_assets.platform.touched import actions_of, info_of, touched_days


@dataclass(frozen=True)
class Pin:
    """One version of an input and the days that were read of it. `version` None: the table did not exist yet."""

    version: int | None
    days: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class DayRows:
    """What became of the rows of one day. `digest` is independent of row order and of run times."""

    rows_in: int
    kept: int
    quarantined: int
    duplicates: int
    digest: str
    newest: datetime | None = None
    broken: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> list[Any]:
        """As a commit's note holds it: what is not the rule is left out."""
        counts = [self.rows_in, self.kept, self.quarantined, self.duplicates, self.digest]
        newest = self.newest.isoformat() if self.newest else None
        return [*counts, newest, dict(self.broken)] if self.newest or self.broken else counts

    @classmethod
    def from_json(cls, found: list[Any]) -> Self:
        """What `as_json` wrote."""
        rows_in, kept, quarantined, duplicates, digest, *rest = found
        newest, broken = rest or (None, {})
        when = datetime.fromisoformat(newest) if newest else None
        return cls(rows_in, kept, quarantined, duplicates, digest, when, broken)


class Kind(Enum):
    """A step's own commit; one that adopts days written outside Dagster; one that erased rows on request; an append of
    a stream."""

    STEP = "step"
    ADOPTION = "adoption"
    ERASURE = "erasure"
    STREAM = "stream"


@dataclass(frozen=True)
class Note:
    """What a commit says of itself (Delta's `userMetadata`): who wrote which days, of which versions, by which code.

    `base` is the version it was computed from (None: there was no table), `requested` the days that were to be made;
    `unjudged` days that commits made outside Dagster had touched before and that nobody has judged yet; `position`
    how far a stream has read its source; `emptied` days whose snapshot really has no row.
    """

    table: str
    run_id: str
    attempt: str
    days: frozenset[date]
    code_version: str
    inputs: Mapping[str, Pin]
    rows: Mapping[date, DayRows] = field(default_factory=dict)
    published: date | None = None
    base: int | None = None
    requested: frozenset[date] = frozenset()
    unjudged: frozenset[date] = frozenset()
    kind: Kind = Kind.STEP
    position: Mapping[str, Any] | None = None
    emptied: frozenset[date] = frozenset()

    def dump(self) -> str:
        """One line of JSON with sorted keys."""
        content = {
            "table": self.table,
            "run_id": self.run_id,
            "attempt": self.attempt,
            "days": write_days(self.days),
            "code_version": self.code_version,
            "inputs": {name: pin.as_json() for name, pin in self.inputs.items()},
            "rows": {str(day): rows.as_json() for day, rows in self.rows.items()},
            "published": str(self.published) if self.published else None,
            "base": self.base,
            "requested": write_days(self.requested),
            "unjudged": write_days(self.unjudged),
            "kind": self.kind.value,
            "position": self.position,
            "emptied": write_days(self.emptied),
        }
        return json.dumps(content, sort_keys=True, separators=(",", ":"))

    @classmethod
    def load(cls, text: str | None) -> Self | None:
        """The note of a commit; None when the commit is not one of ours (a notebook, maintenance)."""
        if not text or not text.startswith('{"attempt":'):
            return None
        content = json.loads(text)
        return cls(
            table=content["table"],
            run_id=content["run_id"],
            attempt=content["attempt"],
            days=read_days(content["days"]),
            code_version=content["code_version"],
            inputs={name: Pin(**pin) for name, pin in content["inputs"].items()},
            rows={date.fromisoformat(day): DayRows.from_json(rows) for day, rows in content["rows"].items()},
            published=date.fromisoformat(content["published"]) if content["published"] else None,
            base=content["base"],
            requested=read_days(content["requested"]),
            unjudged=read_days(content["unjudged"]),
            kind=Kind(content["kind"]),
            position=content.get("position"),
            emptied=read_days(content.get("emptied", "")),
        )


@dataclass(frozen=True)
class Commit:
    """One version of a table."""

    version: int
    operation: str
    note: Note | None
    timestamp: int = 0  # milliseconds since 1970


def open_table(path: Location, version: int | None = None) -> DeltaTable | None:
    """The table as of a version (default: the latest), or None if there is none. Raises StoreError."""
    try:
        with answering(path):
            return DeltaTable(str(path), version=version, storage_options=storage_options(path))
    except TableNotFoundError:
        return None


def version_of(path: Location) -> int | None:
    """The latest version, or None if there is no table."""
    found = open_table(path)
    return found.version() if found else None


def commits(path: Location, *, after: int = -1, until: int | None = None) -> Iterator[Commit]:
    """Commits from the newest, or `until`, down to `after` (exclusive), as far back as the log goes.

    The log is read itself: of a table opened at an older version, delta-rs 1.6.6 tells the newest commits as the
    history of that version.
    """
    newest = version_of(path) if until is None else until
    for version in range(-1 if newest is None else newest, after, -1):
        commit = commit_at(path, version)
        if commit is None:
            return
        yield commit


def commit_at(path: Location, version: int) -> Commit | None:
    """One commit; None when the log no longer has it. Which days a stream brought is seen in what it brought."""
    info = info_of(path, version)
    if info is None:
        return None
    note = Note.load(info.get("userMetadata"))
    if note and note.kind is Kind.STREAM:
        note = replace(note, days=stream_days(path, version))
    return Commit(version, info.get("operation", "unknown"), note, info.get("timestamp", 0))


def last_commit(path: Location, version: int | None = None) -> Commit | None:
    """The newest commit of a step at or before `version`: neither maintenance nor a notebook's, adopted or not."""
    of_steps = (commit for commit in commits(path, until=version) if commit.note and commit.note.kind is Kind.STEP)
    return next(of_steps, None)


def stream_days(path: Location, version: int) -> frozenset[date]:
    """Feed days of an append of a stream: known only when it is written, so its note does not have them."""
    return touched_days(path, actions_of(path, version))[0]


def last_position(path: Location, version: int | None = None) -> Mapping[str, Any] | None:
    """How far a table's stream has read its source, as of a version; None: no commit says."""
    return next(positions(path, version), None)


def positions(path: Location, version: int | None = None) -> Iterator[Mapping[str, Any]]:
    """How far a table's stream had read its source after each of its commits, as of a version, the newest first.

    Of a table that somebody brought back to an older version, those of that version: rows and position stay together.
    """
    for commit in commits(path, until=version):
        if commit.note and commit.note.position is not None:
            yield commit.note.position
        if commit.operation == "RESTORE":
            restored = (info_of(path, commit.version) or {}).get("operationParameters", {}).get("version")
            if restored not in (None, ""):
                yield from positions(path, int(restored))
            return


def last_note(path: Location, version: int | None = None) -> Note | None:
    """The note of the newest step at or before `version`."""
    last = last_commit(path, version)
    return last.note if last else None


def may_hold(path: Location, column: str, days: Collection[date], version: int | None = None) -> bool:
    """Whether, by the statistics of its files, the table (default: its newest version) may have rows of these days."""
    if not days:
        return False
    return any(rows is None or rows for rows in _rows_of_files(path, version, column, min(days), max(days)))


def rows_within(path: Location, version: int | None, column: str, first: date | None, last: date) -> int:
    """At most so many rows of days `first`..`last` a version has, by the statistics of its files; None: no table."""
    return sum(rows or 0 for rows in _rows_of_files(path, version, column, first, last)) if version is not None else 0


def rows_of_days(path: Location, version: int, column: str, days: Collection[date]) -> dict[date, int] | None:
    """Rows of each of these days, by the statistics of files that hold one day each.

    None where one holds several, or where rows of a file may be deleted without writing it anew (deletion vectors).
    """
    table = open_table(path, version)
    if table is not None and "deletionVectors" in (table.protocol().reader_features or ()):
        return None
    found: dict[date, int] = {}
    of = _files_of(table, path)
    unknown = [None] * len(of.get("path", ()))
    for rows, low, high in zip(
        *[of.get(name, unknown) for name in ("num_records", f"min.{column}", f"max.{column}")], strict=True
    ):
        if rows is None or low is None or high is None:
            return None
        if low == high and low in days:
            found[low] = found.get(low, 0) + rows
        elif low != high and any(low <= day <= high for day in days):
            return None
    return found


def bytes_of(path: Location, version: int | None, column: str, values: Collection[object]) -> int:
    """Size of the files of these values of a partition column, as of a version."""
    found = files(path, version)
    of = zip(found.get(f"partition.{column}", ()), found.get("size_bytes", ()), strict=True)
    return sum(size for value, size in of if value in values)


def _rows_of_files(
    path: Location, version: int | None, column: str, first: date | None, last: date
) -> Iterator[int | None]:
    """Rows of each file that may hold a day of `first`..`last`; None where its statistics do not tell."""
    found = files(path, version)
    unknown = [None] * len(found.get("path", ()))
    counts = found.get("num_records", unknown)
    lows, highs = (found.get(f"{bound}.{column}", unknown) for bound in ("min", "max"))
    for count, low, high in zip(counts, lows, highs, strict=True):
        if low is None or high is None or (low <= last and (first is None or high >= first)):
            yield count


def ask(path: Location, query: str, version: int | None = None) -> list[dict[str, Any]]:
    """Rows of SQL over a table, which it calls `t`, by delta-rs's own engine; none where there is no table.

    Its pyarrow dataset aborts the interpreter at exit (deltalake 1.6.6, pyarrow 26). Raises StoreError.
    """
    table = open_table(path, version)
    if table is None:
        return []
    with answering(path):
        return pa.table(QueryBuilder().register("t", table).execute(query).read_all()).to_pylist()


def files(path: Location, version: int | None) -> dict[str, list[Any]]:
    """The files of a version, column by column, with their statistics; nothing where there is no table.

    Raises StoreError.
    """
    return _files_of(open_table(path, version), path)


def _files_of(table: DeltaTable | None, path: Location) -> dict[str, list[Any]]:
    if table is None:
        return {}
    with answering(path):
        return pa.table(table.get_add_actions(flatten=True)).to_pydict()
