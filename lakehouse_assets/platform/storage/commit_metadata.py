"""What a commit says of itself: who wrote which days, of which inputs, by which code, and what became of rows."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from enum import Enum
from typing import Any, Self

from lakehouse_assets.platform.common.days import read_days, write_days

FORMAT = 2
"""Of a table's files and commits, noted in each. 2: files in folders of attempts, with columns that no schema names."""
MARK = json.dumps({"format": FORMAT}, separators=(",", ":"))
"""What a commit says of itself that makes no day: maintenance, a new column."""


@dataclass(frozen=True)
class InputVersion:
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
class CommitMetadata:
    """What a commit says of itself (Delta's `userMetadata`): who wrote which days, of which versions, by which code.

    `days` are those whose rows it changed, `unchanged` those that were made as well and came out as they were: they
    are as new as the inputs noted, and nobody who reads them has to read them again. `rows` has both.
    `key` and `nullable` are the contract's: its key, and the columns that may be NULL (None: of former code).
    `base` is the version it was computed from (None: there was no table), `requested` the days that were to be made;
    `unvalidated` days that commits made outside Dagster had touched before and that nobody has judged yet; `position`
    how far a stream has read its source, `channel` the way by which it came; `empty_snapshots` days whose snapshot
    really has no row.
    """

    table: str
    run_id: str
    attempt: str
    days: frozenset[date]
    code_version: str
    inputs: Mapping[str, InputVersion]
    rows: Mapping[date, DayRows] = field(default_factory=dict)
    published: date | None = None
    base: int | None = None
    requested: frozenset[date] = frozenset()
    unvalidated: frozenset[date] = frozenset()
    kind: Kind = Kind.STEP
    position: Mapping[str, Any] | None = None
    empty_snapshots: frozenset[date] = frozenset()
    unchanged: frozenset[date] = frozenset()
    key: tuple[str, ...] | None = None
    nullable: frozenset[str] | None = None
    channel: str | None = None

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
            "inputs": {name: input_version.as_json() for name, input_version in self.inputs.items()},
            "rows": {str(day): rows.as_json() for day, rows in self.rows.items()},
            "published": str(self.published) if self.published else None,
            "base": self.base,
            "requested": write_days(self.requested),
            "unjudged": write_days(self.unvalidated),
            "kind": self.kind.value,
            "position": self.position,
            "emptied": write_days(self.empty_snapshots),
            "unchanged": write_days(self.unchanged),
            "key": self.key,
            "nullable": None if self.nullable is None else sorted(self.nullable),
            "door": self.channel,
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
            inputs={name: InputVersion(**input_version) for name, input_version in content["inputs"].items()},
            rows={date.fromisoformat(day): DayRows.from_json(rows) for day, rows in content["rows"].items()},
            published=date.fromisoformat(content["published"]) if content["published"] else None,
            base=content["base"],
            requested=read_days(content["requested"]),
            unvalidated=read_days(content["unjudged"]),
            kind=Kind(content["kind"]),
            position=content.get("position"),
            empty_snapshots=read_days(content.get("emptied", "")),
            unchanged=read_days(content.get("unchanged", "")),
            key=None if content.get("key") is None else tuple(content["key"]),
            nullable=None if content.get("nullable") is None else frozenset(content["nullable"]),
            channel=content.get("door"),
        )
