"""A plain model of what is behind: it knows what every day read, never a version, and is told what happens to a lake.

Beside it the same is written as Delta logs, as Spark, delta-rs, a notebook or a person would leave them.
"""

import json
import shutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from lakehouse_assets.platform.declare.table import LANDING_LAYER, Ledger, Overwrite, Read, Span, Table, TableKey
from lakehouse_assets.platform.fingerprint.code_version import code_version
from lakehouse_assets.platform.ingest.landing import manifest_path
from lakehouse_assets.platform.planning.plan import Lake, landed_name
from lakehouse_assets.platform.results.audit_log import AUDIT, append_audit
from lakehouse_assets.platform.storage.commit_actions import log_file
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, InputVersion, Kind

Content = dict[date, int]
START = 1_700_000_000_000  # milliseconds
FIELD = {"name": "feed_day", "type": "date", "nullable": True, "metadata": {}}
SCHEMA = json.dumps({"type": "struct", "fields": [FIELD]})
METADATA = {"id": "t", "format": {"provider": "parquet", "options": {}}, "schemaString": SCHEMA}
HEAD: list[dict[str, object]] = [
    {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
    {"metaData": METADATA | {"partitionColumns": [], "configuration": {}, "createdTime": START}},
]


@dataclass
class Log:
    """A Delta table: by day the change that a reader sees, and the days that nobody has judged yet."""

    path: Path
    landed: bool = False
    version: int = -1
    content: Content = field(default_factory=dict)
    unvalidated: set[date] = field(default_factory=set)
    at: int | None = None

    def commit(self, now: int, metadata: CommitMetadata | None, days: Iterable[date], changes: bool = True) -> None:
        """One more entry of the log."""
        self.version, self.at = self.version + 1, START + now * 1000
        info: dict[str, object] = {"timestamp": self.at, "operation": "WRITE"}
        if metadata is not None:
            info["userMetadata"] = metadata.dump()
        actions: list[dict[str, object]] = [{"commitInfo": info}, *(HEAD if self.version == 0 else [])]
        for day in days:
            bounds = {"minValues": {"feed_day": str(day)}, "maxValues": {"feed_day": str(day)}, "numRecords": 1}
            file = {"path": f"{self.version}-{day}.parquet", "partitionValues": {}, "size": 1, "modificationTime": 0}
            actions.append({"add": file | {"dataChange": changes, "stats": json.dumps(bounds)}})
        file = log_file(self.path, self.version)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(map(json.dumps, actions)))

    def happens(self, now: int, what: str, days: Collection[date]) -> None:
        """A step, one whose days came out as they were (`unchanged`), a stream, a person (`external`), an adoption, an
        erasure, maintenance, or a table made anew.
        """
        match what:
            case "anew":
                shutil.rmtree(self.path, ignore_errors=True)
                self.version, self.at, self.content, self.unvalidated = -1, None, {}, set()
            case "maintenance":
                self.commit(now, None, days, changes=False)
            case _ if self.landed:
                self.commit(now, None, days)
                self.content |= dict.fromkeys(days, now)
            case "external":
                self.commit(now, None, days)
                self.unvalidated |= set(days)
            case "stream":
                self.commit(now, self._note(Kind.STREAM, (), self.unvalidated), days)
                self.content |= dict.fromkeys(days, now)
            case "unchanged":
                self.commit(now, self._note(Kind.STEP, (), self.unvalidated, set(days) & self.content.keys()), ())
            case "erasure":
                self.commit(now, self._note(Kind.ERASURE, days, self.unvalidated), ())
            case "adoption":
                self.commit(now, self._note(Kind.ADOPTION, self.unvalidated, ()), ())
                self.content |= dict.fromkeys(self.unvalidated, now)
                self.unvalidated = set()
            case _:
                self.unvalidated -= set(days)
                self.commit(now, self._note(Kind.STEP, days, self.unvalidated), days)
                self.content |= dict.fromkeys(days, now)

    def _note(
        self, kind: Kind, days: Iterable[date], unvalidated: Iterable[date], unchanged: Iterable[date] = ()
    ) -> CommitMetadata:
        return CommitMetadata(
            "t", "r", "r", frozenset(days), "c", {}, base=None if self.version < 0 else self.version,
            unvalidated=frozenset(unvalidated), kind=kind, unchanged=frozenset(unchanged),
        )  # fmt: skip


@dataclass(frozen=True)
class Pinned:
    """What a step saw when it began: of each input its version, its days, and what blocked them."""

    input_versions: Mapping[str, InputVersion]
    content: Mapping[str, Content]
    unvalidated: Mapping[str, frozenset[date]]


@dataclass
class World:
    """A table, its inputs, and what its days have read."""

    lake: Lake
    table: Table
    inputs: dict[str, Log] = field(default_factory=dict)
    built: dict[date, Pinned] = field(default_factory=dict)
    failed: dict[date, Pinned] = field(default_factory=dict)
    newest: Pinned | None = None
    published: date = date.min
    now: int = 0
    ever_failed: bool = False

    def __post_init__(self) -> None:
        for name, read in self.table.reads.items():
            landed = read.table.layer == LANDING_LAYER
            path = manifest_path(self.lake.landing, landed_name(read.table)) if landed else self.lake.path(read.table)
            assert isinstance(path, Path)
            self.inputs[name] = Log(path, landed)
        own = self.lake.path(self.table.key)
        assert isinstance(own, Path)
        self.own = Log(own)
        self.earlier = self.input_version()

    def input_version(self) -> Pinned:
        """What a step that begins now sees."""
        return Pinned(
            {
                name: InputVersion(log.version if log.version >= 0 else None, "", log.at)
                for name, log in self.inputs.items()
            },
            {name: dict(log.content) for name, log in self.inputs.items()},
            {name: frozenset(log.unvalidated) for name, log in self.inputs.items()},
        )

    def happens(self, name: str, what: str, days: Collection[date]) -> None:
        """Something happens to an input, or (`own`) to the table itself."""
        self.earlier = self.input_version()
        self.now += 1
        if name in self.inputs:
            self.inputs[name].happens(self.now, what, days)
            return
        adopted = self.own.unvalidated & self.failed.keys() if what == "adoption" else set[date]()
        self.own.happens(self.now, what if what in ("external", "adoption", "maintenance") else "anew", days)
        self._validated(adopted)
        if self.own.version < 0:
            self.built, self.newest, self.published = {}, None, date.min

    def build(self, days: Collection[date], late: bool, how: str = "") -> None:
        """A step makes days. `late`: of what it saw before the last thing that happened. `how`: `unchanged`, the same
        rows, or `failed`, where all its days break the contract, or one of them that of a table that is one whole.
        """
        unchanged = how == "unchanged"
        pinned = self.earlier if late else self.input_version()
        self.now += 1
        good = sorted(day for day in days if not self._blocked(day, pinned.unvalidated))
        if not good:
            return
        if how == "failed":
            self.ever_failed = True
            self.failed |= dict.fromkeys(good, pinned)
            self._audit("failed", good, pinned)
            return
        if isinstance(self.table.write, Ledger):
            self.published = max(self.published, good[-1])
        metadata = CommitMetadata(
            "t", "r", "r", frozenset() if unchanged else frozenset(good), "c",
            pinned.input_versions,
            published=self.published if self.published > date.min else None,
            base=None if self.own.version < 0 else self.own.version,
            unchanged=frozenset(good) if unchanged else frozenset(),
        )  # fmt: skip
        self.own.commit(self.now, metadata, () if unchanged else good)
        self.own.content |= dict.fromkeys(good, self.now)
        self.built |= dict.fromkeys(good, pinned)
        self.newest = pinned
        self._validated(good)

    def _validated(self, days: Collection[date]) -> None:
        """Days that failed are good now."""
        if self.ever_failed and days:
            self._audit("committed", days, self.input_version())
        self.failed = {day: pinned for day, pinned in self.failed.items() if day not in days}

    def _audit(self, status: str, days: Collection[date], pinned: Pinned) -> None:
        """A run's verdict of days."""
        row = dict.fromkeys(AUDIT.names) | {"table": str(self.table.key), "run_id": "r", "status": status}
        inputs = {name: input_version.as_json() for name, input_version in pinned.input_versions.items()}
        row |= {"base_version": self.own.version, "input_versions": json.dumps(inputs), "digest": "d"}
        row |= {"code_version": code_version(self.table)}
        row["finished"] = datetime.fromtimestamp(START / 1000 + self.now, UTC)
        rows = pa.Table.from_pylist([row | {"feed_day": day} for day in days], schema=AUDIT)
        append_audit(self.lake.tables, self.table.key.domain, rows)

    def stale(self) -> set[date]:
        """Days that are not there, or read something else than they would now."""
        return {day for name, read in self.table.reads.items() for day in self._stale(name, read)}

    def stale_days(self) -> set[date]:
        """Those that can be made now."""
        unvalidated = {name: frozenset(log.unvalidated) for name, log in self.inputs.items()}
        return {day for day in self.stale() if not self._blocked(day, unvalidated) and not self._fails_again(day)}

    def _fails_again(self, day: date) -> bool:
        """Whether it failed of all that it would read now."""
        pinned = self.failed.get(day)
        return pinned is not None and not any(
            self._reads_anew(read, day, self.inputs[name].content, pinned.content[name])
            for name, read in self.table.reads.items()
        )

    def _reads_anew(self, read: Read, day: date, now: Content, seen: Content) -> bool:
        """Whether there is something to read of an input that was not there; of one whole, for whichever day."""
        if isinstance(self.table.write, Overwrite | Ledger):
            return any(seen.get(one) != change for one, change in now.items())
        return _within(read, day, now) != _within(read, day, seen, now)

    def _stale(self, name: str, read: Read) -> set[date]:
        now, write = self.inputs[name].content, self.table.write
        if isinstance(write, Overwrite | Ledger):  # one commit is the whole table
            there = {day for day in self._wanted(read, now) if self._is_there(day)}
            seen = self.newest.content[name] if self.newest else {}
            new = {day: change for day, change in now.items() if seen.get(day) != change}
            return (self._wanted(read, now) - there) | self._wanted(read, new)
        return {
            day
            for day in self._wanted(read, now) | set(self.built)
            if day not in self.built
            or _within(read, day, now) != _within(read, day, self.built[day].content[name], now)
        }

    def _wanted(self, read: Read, content: Content) -> set[date]:
        """Days that a table should have for these days of an input."""
        if read.span is Span.LAST:
            return {day + timedelta(days=n) for day in content for n in range(read.days)}
        if read.span is Span.THROUGH and content and not isinstance(self.table.write, Ledger):
            first, last = min(content), max(content)
            return {first + timedelta(days=n) for n in range((last - first).days + 1)}
        return set(content)

    def _is_there(self, day: date) -> bool:
        return day <= self.published if isinstance(self.table.write, Ledger) else day in self.own.content

    def _blocked(self, day: date, unvalidated: Mapping[str, frozenset[date]]) -> bool:
        return any(
            _is_read(read, day, one, self.published)
            for name, read in self.table.reads.items()
            for one in unvalidated[name]
        )


def _is_read(read: Read, day: date, one: date, through: date = date.min) -> bool:
    first, last = read.bounds(day, day)
    return (first is None or first <= one) and one <= max(last, through)


def _within(read: Read, day: date, content: Content, among: Content | None = None) -> Content:
    """What a day reads of an input, of the days that this has (`among`)."""
    return {
        one: change
        for one, change in content.items()
        if _is_read(read, day, one) and (among is None or one in among)
    }  # fmt: skip


def input_key(name: str, landed: bool) -> TableKey:
    """The key of an input."""
    return TableKey("t", LANDING_LAYER if landed else "silver", name)
