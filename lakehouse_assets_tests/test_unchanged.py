"""Identical results change nothing: a day that comes out as it was is noted, and nobody has to read it again."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from types import MappingProxyType

import pyarrow as pa
import pyspark.sql.types as T
import pytest
from deltalake import CommitProperties, write_deltalake
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse_assets.platform.contracts.base_contracts import SilverEvent
from lakehouse_assets.platform.contracts.casting import parse
from lakehouse_assets.platform.contracts.contract import Contract, column, table_metadata
from lakehouse_assets.platform.contracts.rules import Rate
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.scd import Scd
from lakehouse_assets.platform.declare.table import Overwrite, ReplaceDays, Table, TableKey, day, full
from lakehouse_assets.platform.orchestration.asset_events import materialization
from lakehouse_assets.platform.orchestration.staleness import Staleness
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.results.audit_log import audit_path
from lakehouse_assets.platform.results.check_results import evaluations
from lakehouse_assets.platform.results.step_result import Outcome
from lakehouse_assets.platform.scd.scd_table import ScdTable
from lakehouse_assets.platform.storage.commit_actions import actions_of, changes_rows, log_file
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, DayRows, InputVersion, Kind
from lakehouse_assets.platform.storage.delta_table import (
    commit_at,
    last_commit,
    query_rows,
    version_of,
)
from lakehouse_assets.platform.transform.unchanged import _quarantine_stands, _whole, standing
from lakehouse_assets.platform.validation.row_digests import RUN_COLUMNS
from lakehouse_assets.serving.publish import _last_change
from lakehouse_assets_tests.change_tables import _Change, changes, current, items, snapshots
from lakehouse_assets_tests.gmv_histories import TABLES
from lakehouse_assets_tests.history_model import CHANGE, ITEM, Row
from lakehouse_assets_tests.lake_driver import LakeDriver
from lakehouse_assets_tests.test_commits import GOLD, deliver, to_silver
from lakehouse_assets_tests.test_history import change

DAYS = [date(2024, 3, 1) + timedelta(days=n) for n in range(4)]


# ---- what stands of a day, by the log alone ----


@dataclass(frozen=True)
class Entry:
    """A commit of a table: by whom, which days, and how many commits its writer had not seen (of its base)."""

    kind: str
    days: frozenset[date]
    unseen: int = 0


@dataclass
class Log:
    """A Delta log written by hand, and beside it what each day holds: None where nobody can say."""

    folder: Path
    entries: list[Entry] = field(default_factory=list)
    truth: dict[date, str | None] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        version = len(self.entries)
        base = max(-1, version - 1 - entry.unseen)
        unseen = [one for one in self.entries[base + 1 :] if one.kind in ("foreign", "stream")]
        if entry.kind in ("step", "unchanged"):
            overtaken = frozenset().union(*[one.days for one in unseen])
            known = {d for d in entry.days if self.truth.get(d)}
            days = entry.days if entry.kind == "step" else entry.days - known
            digests = {d: f"{version:016x}" if d in days else self.truth[d] for d in entry.days}
            self.truth |= {d: None if d in overtaken else digest for d, digest in digests.items()}
            rows = {d: DayRows(1, 1, 0, 0, str(digest)) for d, digest in digests.items()}
            metadata = CommitMetadata("t", "r", f"a{version}", days, "c", {}, rows, base=base if base >= 0 else None)
            self.write(version, replace(metadata, unchanged=entry.days - days), days)
        elif entry.kind in ("erasure", "adoption"):
            self.truth |= dict.fromkeys(entry.days, None)
            metadata = CommitMetadata(
                "t", "r", f"a{version}", entry.days, "c", {}, base=version - 1, kind=Kind(entry.kind)
            )
            self.write(version, metadata, frozenset())
        elif entry.kind == "stream":
            self.truth |= dict.fromkeys(entry.days, None)
            metadata = CommitMetadata("t", "r", f"a{version}", frozenset(), "c", {}, base=version - 1, kind=Kind.STREAM)
            self.write(version, metadata, entry.days)
        else:
            compacts = entry.kind == "compaction"
            self.truth |= {} if compacts else dict.fromkeys(entry.days, None)
            self.write(version, None, entry.days, changes=not compacts)
        self.entries.append(entry)

    def write(self, version: int, metadata: CommitMetadata | None, days: Iterable[date], changes: bool = True) -> None:
        info = {
            "commitInfo": {"timestamp": 0, "operation": "WRITE"}
            | ({"userMetadata": metadata.dump()} if metadata else {})
        }
        bounds = {str(d): {"feed_day": str(d)} for d in days}
        files = [
            {"add": {"path": f"{version}-{d}", "dataChange": changes, "stats": stats}}
            for d, of in bounds.items()
            for stats in [json.dumps({"numRecords": 1, "minValues": of, "maxValues": of})]
        ]
        file = log_file(self.folder, version)
        file.parent.mkdir(exist_ok=True)
        file.write_text("\n".join(json.dumps(action) for action in [info, *files]))


some_days = st.frozensets(st.sampled_from(DAYS), min_size=1)
kinds = st.sampled_from(["step", "unchanged", "foreign", "compaction", "erasure", "adoption", "stream"])
OLD = frozenset(DAYS[:1])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.builds(Entry, kinds, some_days, st.integers(0, 2)), max_size=9))
@example([Entry("step", OLD), Entry("unchanged", OLD), Entry("compaction", OLD)])
@example([Entry("step", OLD), Entry("foreign", OLD), Entry("step", OLD, unseen=1)])
@example([Entry("foreign", OLD), Entry("step", OLD)])
def test_what_stands_of_a_day_is_what_its_last_commit_wrote_or_unknown(entries: list[Entry]) -> None:
    with TemporaryDirectory() as folder:
        log = Log(Path(folder))
        for entry in entries:
            log.add(entry)
        found = standing(log.folder, len(entries) - 1, DAYS)
        assert {d: of.rows.digest for d, of in found.items()} == {d: told for d, told in log.truth.items() if told}


def test_a_table_that_is_one_state_is_not_published_again(tmp_path: Path) -> None:
    log = Log(tmp_path)
    for kind in ("step", "unchanged", "unchanged"):
        log.add(Entry(kind, OLD))
    assert _last_change(tmp_path, 2) == 0
    log.add(Entry("foreign", OLD))
    assert _last_change(tmp_path, 3) == 3


digests = st.sampled_from(["", "a", "b"])
amounts = st.integers(0, 1)
some_rows = st.builds(
    lambda n, kept, left, twice, of: DayRows(n, kept, left, twice, of[0], None, {}, of[1], of[2]),
    amounts, amounts, amounts, amounts, st.tuples(digests, digests, digests),
)  # fmt: skip


@settings(deadline=None)
@given(some_rows, some_rows)
@example(DayRows(2, 1, 1, 0, "a", None, {}, "a"), DayRows(2, 1, 1, 0, "a", None, {}, "b"))
@example(DayRows(2, 1, 1, 0, "a"), DayRows(2, 1, 1, 0, "a"))  # of former code: nothing says which rows left
def test_rows_are_the_same_only_if_all_three_kinds_are_known_to_be(one: DayRows, other: DayRows) -> None:
    def told(rows: DayRows) -> tuple[object, ...]:
        left = rows.quarantined_digest if rows.quarantined else "none"
        twice = rows.duplicates_digest if rows.duplicates else "none"
        return rows.rows_in, rows.kept, rows.quarantined, rows.duplicates, rows.digest, left, twice

    assert one.same_rows(other) == (told(one) == told(other) and "" not in told(one))
    assert DayRows.from_json(one.as_json()).same_rows(one) == one.same_rows(one)
    added = replace(one, before=3)
    assert DayRows.from_json(added.as_json()).of_the_day().kept == one.kept + 3


@settings(deadline=None)
@given(one=st.lists(some_rows, min_size=1, max_size=3), other=st.lists(some_rows, min_size=1, max_size=3))
@example(
    one=[DayRows(2, 1, 1, 0, "a" * 16, quarantined_digest="b" * 16)],
    other=[DayRows(2, 1, 1, 0, "a" * 16, quarantined_digest="c" * 16)],
)
@example(
    one=[DayRows(2, 1, 1, 0, "a" * 16, quarantined_digest="b" * 16)],
    other=[DayRows(2, 1, 0, 1, "a" * 16, duplicates_digest="b" * 16)],
)
def test_a_table_that_is_one_state_is_the_same_if_rows_of_each_kind_are(
    one: list[DayRows], other: list[DayRows]
) -> None:
    """As a whole: its step may lay the same rows on other days."""

    def whole_of(rows: list[DayRows]) -> list[tuple[int, int]]:
        kinds = ("kept", "digest"), ("quarantined", "quarantined_digest"), ("duplicates", "duplicates_digest")
        return [
            (
                sum(getattr(of, count) for of in rows),
                sum(int(getattr(of, digest), 16) for of in rows if getattr(of, count)) % 2**64,
            )
            for count, digest in kinds
        ]

    if any(digest is None for rows in (one, other) for _, digest in _whole(dict(zip(DAYS, rows, strict=False)))):
        return
    same = _whole(dict(zip(DAYS, one, strict=False))) == _whole(dict(zip(DAYS, other, strict=False)))
    assert same == (whole_of(one) == whole_of(other))


def test_a_day_of_which_a_compacted_quarantine_has_no_row_stands(tmp_path: Path) -> None:
    """The bounds of its one file span the day; its rows do not have it."""
    rows = pa.table({"feed_day": pa.array([DAYS[0], DAYS[2]], pa.date32())})
    write_deltalake(str(tmp_path / "q"), rows)
    nothing = DayRows(1, 1, 0, 0, "a" * 16)
    assert list(_quarantine_stands(tmp_path / "q", {DAYS[1]: nothing, DAYS[2]: nothing})) == [DAYS[1]]


def test_a_state_that_is_noted_as_unchanged_names_the_changes_that_are_in_it(tmp_path: Path) -> None:
    """Another run's changes came since: they are still to be folded."""
    lake = Lake(tmp_path / "lake", tmp_path / "landing")
    assert isinstance(current.write, Scd)
    state = ScdTable(None, lake, current, current.write)  # type: ignore[arg-type]  # commits without Spark
    path, input_version = lake.path(current.key), state._input_version
    metadata = CommitMetadata("t", "r", "r#1", frozenset(DAYS[:1]), "code", {input_version: InputVersion(0, "all")})
    rows = pa.table({"feed_day": pa.array(DAYS[:1], pa.date32())})
    write_deltalake(
        str(path), rows, commit_properties=CommitProperties(custom_metadata={"userMetadata": metadata.dump()})
    )
    for _ in range(2):
        write_deltalake(str(lake.changes(current.key)), rows, mode="append")
    made = replace(metadata, attempt="r#2", days=frozenset(), unchanged=frozenset(DAYS[:1]), inputs={}, base=0)
    version = state.metadata_only(None, made, 0)  # type: ignore[arg-type]  # of the plan it needs nothing
    last = commit_at(path, version)
    assert last is not None
    assert last.metadata is not None
    assert last.metadata.inputs[input_version].version == 0, "and not 1, which is the newest"


# ---- real tables ----

ALL = Rate(1.0)


class Said(_Change, SilverEvent):
    """What was said of items, by day."""

    class Config:
        metadata = table_metadata(key=("feed_day", "record_hash"), key_tolerate=ALL)


class Total(Contract):
    """How many items there are by price."""

    price: T.StringType = column("price", nullable=True)
    items: T.LongType = column("items")


def _said(landed: DataFrame) -> DataFrame:
    return parse(landed, Said)


def _total(current: DataFrame) -> DataFrame:
    return current.groupBy(F.col("price").cast("string").alias("price")).agg(F.count("*").alias("items"))


message = Table(
    TableKey("test", "silver", "said"), Said, _said, MappingProxyType({"landed": day(changes)}), ReplaceDays(), "landed"
)
total = Table(
    TableKey("test", "gold", "total"), Total, _total, MappingProxyType({"current": full(current)}), Overwrite()
)
CATALOG = Catalog((changes, message, current, total, items, snapshots))

Content = Mapping[date | None, Counter[str]]


class Lakeside:
    """A lake, and what each table held of each day when it was last made."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.driver = LakeDriver(spark, Lake(folder / "lake", folder / "landing"), CATALOG)
        self.folder, self.files = folder, 0
        self.held: dict[TableKey, dict[date, object]] = {}
        self.seen: Counter[str] = Counter()

    @property
    def lake(self) -> Lake:
        return self.driver.lake

    def land(self, source: str, of_day: date, rows: Sequence[Row]) -> None:
        columns = CHANGE if source == "changes" else ITEM
        self.files += 1
        file = self.folder / f"{self.files}.csv"
        with file.open("w", newline="") as stream:
            lines = csv.DictWriter(stream, columns, lineterminator="\n")
            lines.writeheader()
            lines.writerows(rows)
        self.driver.land(f"test/{source}", file, day=of_day, replace=True, allow_shrinking=True)

    def content(self, table: Table) -> Content:
        """The rows of a table, or of the changes it is made of, by day, without run times."""
        path = self.lake.changes(table.key) if isinstance(table.write, Scd) else self.lake.path(table.key)
        found: dict[date | None, Counter[str]] = {}
        for number, place in enumerate((path, self.lake.quarantine(table.key))):
            for row in query_rows(place, "SELECT * FROM t"):
                text = repr([number, *[str(row[name]) for name in sorted(row) if name not in RUN_COLUMNS]])
                found.setdefault(row.get("feed_day"), Counter())[text] += 1
        return found

    def make(self, table: Table, days: Sequence[date]) -> frozenset[date]:
        """Make the days; those whose rows changed. Judged by what the table and its quarantine really hold."""
        path = self.lake.path(table.key)
        before = self.version_of_files(table)
        outcome = self.driver.make(str(table.key), days)
        assert not [of.reasons for of in outcome.days if of.reasons]
        now, known = self.content(table), self.held.setdefault(table.key, {})
        last = last_commit(path)
        assert last is not None
        metadata = last.metadata
        assert metadata is not None
        assert metadata.made == set(days)
        whole_table = isinstance(table.write, Overwrite)
        held = {of: (now if whole_table else now.get(of), metadata.rows[of].duplicates) for of in days}
        different = {of for of in days if held[of] != known.get(of)}
        if whole_table:  # one state: it is what it was as a whole, or all of it is new
            known.update(dict.fromkeys(known, (now, 0)))
            different = set(days) if different else set()
        known.update(held)
        assert metadata.days == different
        wrote = changes_rows(actions_of(path, last.version))
        assert wrote == bool(different) or (isinstance(table.write, Scd) and not wrote)
        assert {of.day for of in outcome.days if of.unchanged} == metadata.unchanged
        if not different:
            assert self.version_of_files(table) == before
        self.seen["some" if different and metadata.unchanged else "all" if different else "none"] += 1
        return metadata.days

    def version_of_files(self, table: Table) -> list[object]:
        """The quarantine's and the changes' versions, and the newest version of the table that changed a row."""
        path = self.lake.path(table.key)
        changing = [v for v in range((version_of(path) or 0) + 1) if changes_rows(actions_of(path, v))]
        return [version_of(self.lake.quarantine(table.key)), version_of(self.lake.changes(table.key)), changing[-1:]]

    def stale(self, *tables: Table) -> dict[TableKey, set[date]]:
        staleness = Staleness(self.lake, CATALOG)
        staleness.refresh()
        return {table.key: set(stale_days) for table in tables if (stale_days := staleness.stale_days(table))}


A, B = change("I", 1), change("U", 2, price="2")
BAD, OTHER_BAD = change("I", 3, item="b", price="much"), change("I", 3, item="b", price="more")
DELIVERIES = {
    "one row": [A],
    "another": [B],
    "one in quarantine": [A, BAD],
    "another in quarantine": [A, OTHER_BAD],
    "a duplicate": [A, A],
    "as one row, without it": [A, B],
}


@pytest.mark.slow
def test_only_days_whose_rows_differ_count_as_changed(spark: SparkSession, tmp_path: Path) -> None:
    """Deliveries that repeat, in ranges: at times nothing changes, at times some days, at times all."""
    rng, side, held = Random(5), Lakeside(spark, tmp_path), dict[date, str]()
    tables = (changes, message, current, total)
    days = DAYS[:3]
    for turn, again in enumerate(([], days, days[1:], [])):  # `again`: days of which nothing else comes
        for of_day in days:
            wanted = held[of_day] if of_day in again else rng.choice(list(DELIVERIES))
            if held.get(of_day) != wanted:
                side.land("changes", of_day, DELIVERIES[wanted])
            held[of_day] = wanted
        for number, table in enumerate(tables):
            changed = side.make(table, days)
            assert turn != 1 or not changed
            if not changed:
                assert not side.stale(*tables[number + 1 :]), "nothing that reads it has to be made"
        assert not side.stale(*tables)
    assert min(side.seen[kind] for kind in ("none", "some", "all")) > 0


def _again(tables: Sequence[str], driver: LakeDriver, days: Sequence[date]) -> Outcome:
    """Make the days once more: noted, not written. The last table's outcome."""
    for table in tables:
        path = driver.lake.path(TableKey.parse(table))
        outcome = driver.make(table, days)
        last = commit_at(path, version_of(path) or 0)
        assert last is not None
        assert last.metadata is not None
        assert last.metadata.days == set()
        assert last.metadata.unchanged >= set(days)
        assert not changes_rows(actions_of(path, last.version))
        assert all(of.unchanged for of in outcome.days)
    return outcome


@pytest.mark.slow
def test_a_ledger_made_again_and_its_companion_are_noted(spark: SparkSession, tmp_path: Path) -> None:
    driver, days = LakeDriver.at(spark, tmp_path), [date(2023, 2, 1), date(2023, 2, 2)]
    deliver(driver, days, TABLES, purchases=2)
    to_silver(driver, days, TABLES)
    driver.make(GOLD, days)
    appended = driver.rows(GOLD, "gmv_date", "product_id", "gmv", "version")
    again = _again((GOLD,), driver, days)
    ledger, by_day = driver.catalog.table(TableKey.parse(GOLD)), Counter(of for (of,) in driver.rows(GOLD, "feed_day"))
    assert all(by_day[of] for of in days)
    for of in again.days:  # a day says what the table has of it, though nothing was added
        assert (
            materialization(ledger, driver.lake, again, of).metadata["dagster/partition_row_count"].value
            == (by_day[of.day])
        )
        _, conservation, *_ = evaluations(ledger.compiled, again, of)
        assert conservation.description == f"{by_day[of.day]} in = {by_day[of.day]} kept + 0 quarantined + 0 duplicates"
    query = f"SELECT feed_day, kept, restated FROM t WHERE \"table\" = '{GOLD}' AND run_id = '{again.run_id}'"  # noqa: S608
    audited = query_rows(audit_path(driver.lake.tables, "gmv"), query)
    assert {(row["feed_day"], row["kept"], row["restated"]) for row in audited} == {(of, by_day[of], 0) for of in days}
    current = commit_at(driver.lake.path(TableKey("gmv", "gold", "gmv_current")), 1)
    assert current is not None
    assert current.metadata is not None
    assert current.metadata.unchanged == set(days)
    assert driver.rows(GOLD, "gmv_date", "product_id", "gmv", "version") == appended
    driver.make(GOLD, [date(2023, 2, 3)])  # a day without news is published, and is new to who reads it
    last = last_commit(driver.lake.path(TableKey.parse(GOLD)))
    assert last is not None
    assert last.metadata is not None
    assert (last.metadata.days, last.metadata.published) == ({date(2023, 2, 3)}, date(2023, 2, 3))


@pytest.mark.slow
def test_a_snapshot_that_says_the_same_is_noted_and_an_empty_one_is_not_none(
    spark: SparkSession, tmp_path: Path
) -> None:
    side, (one, two, three) = Lakeside(spark, tmp_path), DAYS[:3]
    item = {"shop": "1", "item": "a", "price": "1", "color": ""}
    side.land("items", one, [item])
    side.land("items", two, [item, {**item, "item": "b"}])
    for table in ("test/bronze/items", "test/silver/snapshots"):
        side.driver.make(table, [one, two, three])
    rows = side.driver.rows("test/silver/snapshots", "item", "is_deleted", "effective_from")
    _again(("test/bronze/items", "test/silver/snapshots"), side.driver, [one, two, three])
    assert side.driver.rows("test/silver/snapshots", "item", "is_deleted", "effective_from") == rows
    side.land("items", three, [])
    assert side.stale(items) == {items.key: {three}}
    side.driver.make("test/bronze/items", [two, three])
    assert side.stale(snapshots) == {snapshots.key: {three}}
    side.driver.make("test/silver/snapshots", [two, three])
    deleted = side.driver.rows("test/silver/snapshots", "item", "is_deleted", "effective_from")
    assert [row for row in deleted if row[1]] == [("a", True, three), ("b", True, three)]
