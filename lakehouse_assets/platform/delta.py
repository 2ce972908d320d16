"""Delta tables read without a JVM: versions, commits and their notes, schemas. Spark alone writes data tables."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from lakehouse_assets.platform.days import read_days, write_days

HISTORY_PAGE = 50


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
    """A step's own commit; one that adopts days written outside Dagster; one that erased rows on request."""

    STEP = "step"
    ADOPTION = "adoption"
    ERASURE = "erasure"


@dataclass(frozen=True)
class Note:
    """What a commit says of itself (Delta's `userMetadata`): who wrote which days, of which versions, by which code.

    `base` is the version it was computed from (None: there was no table), `requested` the days that were to be made;
    `unjudged` days that commits made outside Dagster had touched before and that nobody has judged yet.
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
        )


@dataclass(frozen=True)
class Commit:
    """One version of a table."""

    version: int
    operation: str
    note: Note | None


def open_table(path: Path, version: int | None = None) -> DeltaTable | None:
    """The table as of a version (default: the latest), or None if there is none."""
    try:
        return DeltaTable(str(path), version=version)
    except TableNotFoundError:
        return None


def version_of(path: Path) -> int | None:
    """The latest version, or None if there is no table."""
    found = open_table(path)
    return found.version() if found else None


def commits(path: Path, *, after: int = -1, until: int | None = None) -> Iterator[Commit]:
    """Commits from the newest down to `after` (exclusive), read page by page."""
    found = open_table(path, until)
    if found is None:
        return
    newest = found.version()
    seen = 0
    limit = min(HISTORY_PAGE, newest - after)
    while limit > seen:
        page = found.history(limit)
        for entry in page[seen:]:
            yield Commit(entry["version"], entry.get("operation", ""), Note.load(entry.get("userMetadata")))
        if len(page) < limit:
            return
        seen, limit = limit, min(limit * 4, newest - after)


def last_note(path: Path, version: int | None = None) -> Note | None:
    """The note of the newest step at or before `version`."""
    notes = (commit.note for commit in commits(path, until=version))
    return next((note for note in notes if note and note.kind is Kind.STEP), None)


def may_hold(path: Path, column: str, days: Collection[date]) -> bool:
    """Whether, by the statistics of its files, the table may have rows of one of these days."""
    table = open_table(path)
    if table is None or not days:
        return False
    files = pa.table(table.get_add_actions(flatten=True))
    first, last = min(days), max(days)
    if f"min.{column}" not in files.column_names:
        return files.num_rows > 0
    bounds = zip(files[f"min.{column}"].to_pylist(), files[f"max.{column}"].to_pylist(), strict=True)
    return any(low is None or high is None or (low <= last and high >= first) for low, high in bounds)
