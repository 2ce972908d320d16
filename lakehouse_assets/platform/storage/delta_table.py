"""Delta tables read without a JVM: versions, commits and their notes, schemas."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from enum import Enum
from typing import Any, Self

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import DeltaError, TableNotFoundError

from lakehouse_assets.platform.common.days import read_days, write_days
from lakehouse_assets.platform.storage.commit_actions import actions_of, info_of, touched_days
from lakehouse_assets.platform.storage.location import Location, answering, storage_options
from lakehouse_assets.platform.storage.log_handles import shared
from lakehouse_assets.platform.storage.table_features import Reader, refusal_to_open, require

FORMAT = 2
"""Of a table's files and commits, noted in each. 2: files in folders of attempts, with columns that no schema names."""
MARK = json.dumps({"format": FORMAT}, separators=(",", ":"))
"""What a commit says of itself that makes no day: maintenance, a new column."""


@dataclass(frozen=True)
class Pin:
    """One version of an input and the days that were read of it. `version` None: the table did not exist yet.

    `at`: when that version was committed (milliseconds since 1970), as its log says: it tells the version from the same
    one of a table made anew.
    """

    version: int | None
    days: str
    at: int | None = field(default=None, compare=False)

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "at" or value is not None}


@dataclass(frozen=True)
class DayRows:
    """What became of the rows of one day. Digests are independent of row order and of run times.

    `digest` is of the rows kept; the other two of the rows in quarantine, with the rules they broke, and of exact
    duplicates; "": not known, where there are such rows. `before`: rows that the table had of the day already, where
    a commit adds to them (a ledger); elsewhere a day is replaced. `ties`: changes that lost to others of the same day
    and sequence, by the declared rule of ties or by content.
    """

    rows_in: int
    kept: int
    quarantined: int
    duplicates: int
    digest: str
    newest: datetime | None = None
    broken: Mapping[str, int] = field(default_factory=dict)
    quarantined_digest: str = ""
    duplicates_digest: str = ""
    before: int = 0
    ties: int = 0

    def of_the_day(self) -> Self:
        """The figures of the table's day: what was added, and what it was added to."""
        return replace(self, rows_in=self.rows_in + self.before, kept=self.kept + self.before, before=0)

    def same_rows(self, other: Self) -> bool:
        """Whether the rows kept, in quarantine and exact duplicates are known to be the same."""
        return (
            self._counts == other._counts
            and self.digest == other.digest != ""
            and self.same_quarantine(other)
            and (not self.duplicates or self.duplicates_digest == other.duplicates_digest != "")
        )

    def same_quarantine(self, other: Self) -> bool:
        """Whether the rows in quarantine are known to be the same, by the same rules."""
        if not self.quarantined:
            return not other.quarantined
        return self.quarantined == other.quarantined and self.quarantined_digest == other.quarantined_digest != ""

    @property
    def _counts(self) -> tuple[int, int, int, int]:
        return self.rows_in, self.kept, self.quarantined, self.duplicates

    def as_json(self) -> list[Any]:
        """As a commit's note holds it: what is not the rule is left out."""
        counts = [*self._counts, self.digest]
        newest = self.newest.isoformat() if self.newest else None
        others: list[Any] = []
        if self.quarantined or self.duplicates or self.before or self.ties:
            others = [self.quarantined_digest, self.duplicates_digest, *([self.before] if self.before else [])]
            others = [*others[:2], self.before, self.ties] if self.ties else others
        return [*counts, newest, dict(self.broken), *others] if self.newest or self.broken or others else counts

    @classmethod
    def from_json(cls, found: list[Any]) -> Self:
        """What `as_json` wrote."""
        rows_in, kept, quarantined, duplicates, digest, *rest = found
        newest, broken, *others = rest or (None, {})
        when = datetime.fromisoformat(newest) if newest else None
        return cls(rows_in, kept, quarantined, duplicates, digest, when, broken, *others)


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

    `days` are those whose rows it changed, `unchanged` those that were made as well and came out as they were: they
    are as new as the inputs noted, and nobody who reads them has to read them again. `rows` has both.
    `key` and `nullable` are the contract's: its key, and the columns that may be NULL (None: of former code).
    `base` is the version it was computed from (None: there was no table), `requested` the days that were to be made;
    `unjudged` days that commits made outside Dagster had touched before and that nobody has judged yet; `position`
    how far a stream has read its source, `door` the way by which it came; `emptied` days whose snapshot really has no
    row.
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
    unchanged: frozenset[date] = frozenset()
    key: tuple[str, ...] | None = None
    nullable: frozenset[str] | None = None
    door: str | None = None

    @property
    def made(self) -> frozenset[date]:
        """The days that were made of the inputs noted, whether their rows changed or not."""
        return self.days | self.unchanged

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
            "unchanged": write_days(self.unchanged),
            "key": self.key,
            "nullable": None if self.nullable is None else sorted(self.nullable),
            "door": self.door,
            "format": FORMAT,
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
            unchanged=read_days(content.get("unchanged", "")),
            key=None if content.get("key") is None else tuple(content["key"]),
            nullable=None if content.get("nullable") is None else frozenset(content["nullable"]),
            door=content.get("door"),
        )


@dataclass(frozen=True)
class Commit:
    """One version of a table."""

    version: int
    operation: str
    note: Note | None
    timestamp: int = 0  # milliseconds since 1970


def open_table(path: Location, version: int | None = None, *, fresh: bool = False) -> DeltaTable | None:
    """The table as of a version (default: the latest), or None if there is none.

    `fresh`: not by a handle that the step shares (`log_handles.py`). Raises StoreError, UnknownFeature.
    """
    return _load(path, version) if fresh else shared(path, version, lambda: _load(path, version))


def _load(path: Location, version: int | None) -> DeltaTable | None:
    try:
        with answering(path):
            return DeltaTable(str(path), version=version, storage_options=storage_options(path))
    except TableNotFoundError:
        return None
    except DeltaError as error:
        refusal = refusal_to_open(error, path)
        if refusal is None:
            raise
        raise refusal from error


def version_of(path: Location, *, fresh: bool = False) -> int | None:
    """The latest version, or None if there is no table. `fresh`: as in `open_table`."""
    found = open_table(path, fresh=fresh)
    return found.version() if found else None


def commits(path: Location, *, after: int = -1, until: int | None = None) -> Iterator[Commit]:
    """Commits from the newest, or `until`, down to `after` (exclusive), as far back as the log goes.

    The log is read itself: of a table opened at an older version, delta-rs 1.6.6 tells the newest commits as the
    history of that version.
    """
    newest = version_of(path, fresh=True) if until is None else until
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
    """How far a table's stream has read its source, as of a version; None: no commit says.

    Of a table that somebody brought back to an older version, the position of that version: rows and position stay
    together.
    """
    for commit in commits(path, until=version):
        if commit.note and commit.note.position is not None:
            return commit.note.position
        if commit.operation == "RESTORE":
            restored = (info_of(path, commit.version) or {}).get("operationParameters", {}).get("version")
            return None if restored in (None, "") else last_position(path, int(restored))
    return None


def last_note(path: Location, version: int | None = None) -> Note | None:
    """The note of the newest step at or before `version`."""
    last = last_commit(path, version)
    return last.note if last else None


def ask(path: Location, query: str, version: int | None = None) -> list[dict[str, Any]]:
    """Rows of SQL over a table, which it calls `t`; none where there is no table. Raises StoreError, UnknownFeature."""
    table = open_table(path, version)
    return ask_table(table, path, query) if table is not None else []


def ask_table(table: DeltaTable, path: Location, query: str) -> list[dict[str, Any]]:
    """Rows of SQL over an opened version, which it calls `t`, by delta-rs's own engine.

    Its pyarrow dataset aborts the interpreter at exit (deltalake 1.6.6, pyarrow 26). Raises StoreError, UnknownFeature.
    """
    require(Reader.DELTA_RS, table, path, str(path))
    with answering(path):
        return pa.table(QueryBuilder().register("t", table).execute(query).read_all()).to_pylist()
