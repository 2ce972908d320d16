"""Tables with a state on real Spark and Delta, judged by a fold in plain Python: nothing ever goes backwards."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from pyspark.sql import SparkSession

from lakehouse_assets.platform.common.fault_injection import VARIABLE, Failpoint
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.transform import step_write
from lakehouse_assets_tests import history_model as model
from lakehouse_assets_tests.change_tables import OF_CHANGES, catalog
from lakehouse_assets_tests.history_model import CHANGE, ITEM, Change, Row
from lakehouse_assets_tests.lake_driver import LakeDriver

HISTORIES = 300
DAYS = [date(2024, 3, 1) + timedelta(days=n) for n in range(6)]
SAID = ("shop", "item", "price", "color", "is_deleted")
CHANGED = (*SAID, "feed_day", "record_hash")
VALID = ("effective_from", "effective_to", "is_current")


class Lakeside:
    """A lake and what it must hold. Rows of a day come in files; `make` builds days as they were landed by then."""

    def __init__(self, spark: SparkSession, folder: Path, source: str) -> None:
        lake = Lake(folder / "lake", folder / "landing")
        self.driver = LakeDriver(spark, lake, catalog)
        self.folder, self.source, self.files = folder, source, 0
        folder.mkdir(exist_ok=True)
        self.tables = OF_CHANGES if source == "changes" else ("snapshots",)
        self.landed: dict[date, list[Row]] = {}
        self.made: dict[date, list[Row]] = {}

    def land(self, day: date, rows: Sequence[Row], replace: bool = False) -> None:
        columns = CHANGE if self.source == "changes" else ITEM
        self.files += 1
        file = self.folder / f"{self.files}.csv"
        with file.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        self.driver.land(f"test/{self.source}", file, day=day, replace=replace)
        self.landed[day] = [*([] if replace else self.landed.get(day, [])), *rows]

    def make(self, days: Collection[date]) -> None:
        self.driver.make(f"test/bronze/{self.source}", days)
        for table in self.tables:
            outcome = self.driver.make(f"test/silver/{table}", days)
            assert all(day.reconciled and not day.reasons for day in outcome.days)
            if self.source == "changes":
                ties = model.ties([Change(row, day) for day in days for row in self.landed.get(day, [])])
                assert {day.day: day.rows.ties for day in outcome.days if day.rows.ties} == {
                    day: number for day, number in ties.items() if number
                }
        self.made |= {day: list(self.landed.get(day, [])) for day in days}

    def rows(self, table: str, *columns: str) -> list[tuple[object, ...]]:
        found = self.driver.read(f"test/silver/{table}").select(*columns).toArrow()
        return sorted(zip(*[column.to_pylist() for column in found.columns], strict=True), key=repr)

    def changes(self) -> list[Change]:
        return [Change(row, day) for day, rows in self.made.items() for row in rows]

    def judge(self) -> None:
        if self.source == "items":
            assert self.rows("snapshots", *SAID, *VALID) == model.of_snapshots(self.made)
            return
        changes = self.changes()
        assert self.rows("current", *CHANGED) == sorted(model.current(changes), key=repr)
        if "prices" in self.tables:
            assert self.rows("prices", *CHANGED, *VALID) == model.versions(changes, (0,))


def change(op: str, at: int | str, item: str = "a", price: str = "1", color: str = "", shop: int = 1) -> Row:
    """A change at a minute of 1 March 2024."""
    time = str(datetime(2024, 3, 1) + timedelta(minutes=at)) if isinstance(at, int) else at
    return {"op": op, "modified_date": time, "shop": str(shop), "item": item, "price": price, "color": color}


def random_changes(rng: Random, shop: int) -> list[Row]:
    """A few changes of few keys at few times, so that ties, deletes and late changes abound."""
    return [
        change(
            rng.choice("IUUD"),
            rng.randrange(8),
            rng.choice("ab"),
            rng.choice(["1", "2", "", "much"] if rng.random() < 0.1 else ["1", "2", ""]),
            rng.choice(["", "red"]),
            shop,
        )
        for _ in range(rng.randint(0, 3))
    ]


def random_snapshot(rng: Random, shop: int) -> list[Row]:
    """A shop's items: each there or not; at times one that is malformed, or twice."""
    rows: list[Row] = []
    for item in "abc":
        for _ in range(rng.choice([0, 1, 1, 1, 1, 2])):
            price = rng.choice(["1", "2", ""] if rng.random() < 0.9 else ["much"])
            rows.append({"shop": str(shop), "item": item, "price": price, "color": rng.choice(["", "red"])})
    return rows


# Each case is a shop of its own, so that all of them live side by side. A change is its op, minute, and what differs
# from price 1 and no color; days are parted by |. Then the versions of the price: - is deleted, ~ is NULL.
CASES = {
    "an older update after a newer row": ("I1 U5=5 | U3=3", "1 3 5"),
    "an older update after a delete, in a later batch": ("I1 D5 | U3=3", "1 3 -"),
    "an older insert after a delete": ("D5 | | I1", "1 -"),
    "delete before insert": ("D1 | I2", "- 1"),
    "delete, then inserted again": ("I1 | D2 | I3=9", "1 - 9"),
    "inserted again with what it said before": ("I1 D2 I3", "1 - 1"),
    "an insert sent again after its update": ("I1 U2=2 | I1", "1 2"),
    "the same change three times": ("I1 I1 | I1", "1"),
    "a tie of delete and update: the delete": ("I1 U2=2 D2", "1 -"),
    "in whichever order they are delivered": ("I1 D2 U2=2", "1 -"),
    "a tie over two batches": ("I1 U2=2 | D2", "1 -"),
    "the update sent again after the delete of its time": ("I1 U2=2 D2 | U2=2", "1 -"),
    "a tracked column becomes NULL and comes back": ("I1 U2=~ | U3", "1 ~ 1"),
    "NULL stays NULL": ("I1=~ U2=~", "~"),
    "an untracked column opens no version": ("I1 U2:red", "1"),
    "a late change between two equal ones": ("I1 U5 | U3=3", "1 3 1"),
    "two deletes": ("I1 D2 | D4", "1 -"),
    "a malformed change leaves and the rest stays": ("I1 U2=much", "1"),
    "the same change in a full load and in CDC": ("I1 U5=5 | I1 I5=5 | U7=7", "1 5 7"),
    "a full load after a delete it knows nothing of": ("I1 D5 | I1", "1 -"),
    "a key that changes: the old one is deleted": ("I1 | D2 I2@b", "1 -"),
}
TOLD = re.compile(r"([IUD])(\d+)(?:=(\S+?))?(?::(\w+))?(?:@(\w))?$")


def told(text: str, shop: int) -> list[Row]:
    """The changes of one day of a case."""
    found = []
    for word in text.split():
        match = TOLD.match(word)
        assert match is not None, word
        op, minute, price, color, item = match.groups()
        message = "" if price == "~" else price or "1"
        found.append(change(op, int(minute), item or "a", message, color or "", shop))
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "order", [(0, 1, 2), pytest.param((2, 1, 0), marks=pytest.mark.nightly)], ids=["in order", "backwards"]
)
def test_every_case_by_name(spark: SparkSession, tmp_path: Path, order: tuple[int, ...]) -> None:
    """In whichever order the days come. Then a day is replaced by other content, and brought back."""
    lake = Lakeside(spark, tmp_path, "changes")
    batches: list[list[Row]] = [[], [], []]
    for shop, (days, _) in enumerate(CASES.values()):
        for batch, text in zip(batches, days.split("|"), strict=False):
            batch += told(text, shop)
    for place in order:
        lake.land(DAYS[place], batches[place])
        lake.make([DAYS[place]])

    def judge() -> None:
        lake.judge()
        now = {row[:2]: row[2:] for row in lake.rows("current", "shop", "item", "price", "is_deleted")}
        known: dict[object, list[object]] = defaultdict(list)
        for row in sorted(lake.rows("prices", "shop", "item", "effective_from", "price", "is_deleted"), key=repr):
            known[row[:2]].append("-" if row[4] else "~" if row[3] is None else str(int(row[3])))  # type: ignore[call-overload]
        for shop, (case, (_, versions)) in enumerate(CASES.items()):
            price, is_deleted = now[shop, "a"]
            assert known[shop, "a"] == versions.split(), case
            assert ("-" if is_deleted else "~" if price is None else str(int(price))) == versions.split()[-1], case  # type: ignore[call-overload]

    judge()
    if order == (0, 1, 2):
        lake.land(DAYS[0], [change("I", 4, price="7", shop=0), change("I", 1, shop=999)], replace=True)
        lake.make([DAYS[0]])
        lake.judge()
        lake.land(DAYS[0], batches[0], replace=True)
        lake.make(DAYS[:3])
        judge()
        assert not [row for row in lake.rows("current", "shop") if row == (999,)], "no longer held by any day"


MORE = pytest.mark.random_histories
SEEDS = [(1, HISTORIES), *[pytest.param(seed, 2_500, marks=MORE) for seed in (2, 3, 4, 5)]]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("seed", "histories"), SEEDS)
def test_random_changes_give_what_sorting_and_folding_gives(
    spark: SparkSession, tmp_path: Path, seed: int, histories: int
) -> None:
    """Late, re-sent, duplicated and replaced changes; days made in any order, alone or as a range, and again."""
    rng = Random(f"changes {seed}")
    lake = Lakeside(spark, tmp_path, "changes")
    sent: list[Row] = []
    for step in range(6):
        days = rng.sample(DAYS, rng.randint(1, 3))
        for day in days:
            rows = [row for shop in range(histories) for row in random_changes(rng, shop)]
            again = rng.sample(sent, min(len(sent), histories // 3))
            lake.land(day, [*rows, *again, *rng.sample(rows, len(rows) // 10)], replace=rng.random() < 0.4)
            sent += rows
        first = min(days)
        lake.make([day for day in DAYS if first <= day <= max(days)] if step % 3 == 2 else days)
        if step in (2, 5):
            lake.judge()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("seed", "histories"), SEEDS)
def test_random_snapshots_give_what_folding_them_gives(
    spark: SparkSession, tmp_path: Path, seed: int, histories: int
) -> None:
    """Snapshots in any order, late, replaced, missing, with malformed rows."""
    rng = Random(f"snapshots {seed}")
    lake = Lakeside(spark, tmp_path, "items")
    for step in range(6):
        days = rng.sample(DAYS, rng.choice([1, 1, 2]))
        if step in (1, 2):
            days = [DAYS[2 + step]]  # forward, as every day
        for day in days:
            lake.land(day, [row for shop in range(histories) for row in random_snapshot(rng, shop)], replace=True)
        lake.make(DAYS if step == 4 else days)
        lake.judge()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_range_equals_day_by_day(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows, the same changes kept beside them, and the same counts and digests of every day.

    The range is made as if it had millions of rows.
    """
    rng, days = Random("ranges"), DAYS[:3]
    for source, random_rows in (("changes", random_changes), ("items", random_snapshot)):
        lake = Lakeside(spark, tmp_path / source, source)
        for day in days:
            lake.land(day, [row for shop in range(HISTORIES) for row in random_rows(rng, shop)])
        lake.driver.make(f"test/bronze/{source}", days)
        copied = Lake(tmp_path / f"{source}-range", lake.driver.lake.landing)
        shutil.copytree(lake.driver.lake.tables, copied.tables)
        ranged = LakeDriver(spark, copied, catalog)
        for table in lake.tables:
            by_day = [lake.driver.make(f"test/silver/{table}", [day]).days[0] for day in days]
            with monkeypatch.context() as large:
                large.setattr(step_write, "MANY_ROWS", -1)
                assert ranged.make(f"test/silver/{table}", days).days == tuple(by_day)
            key = TableKey.parse(f"test/silver/{table}")
            assert contents(spark, copied.path(key)) == contents(spark, lake.driver.lake.path(key))
            assert contents(spark, copied.changes(key)) == contents(spark, lake.driver.lake.changes(key))


def contents(spark: SparkSession, path: Path) -> list[tuple[object, ...]]:
    """All rows of a table, without the day of the run."""
    found = spark.read.format("delta").load(str(path)).drop("processed_date").toArrow()
    return sorted(zip(*[column.to_pylist() for column in found.columns], strict=True), key=repr)


MAKE = """
import sys
from datetime import date
from pathlib import Path
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.runtime.sessions import open_session
from lakehouse_assets.settings import settings
from lakehouse_assets_tests.change_tables import catalog
from lakehouse_assets_tests.lake_driver import LakeDriver
folder, table, day = Path(sys.argv[1]), sys.argv[2], date.fromisoformat(sys.argv[3])
lake = Lake(folder / "lake", folder / "landing")
LakeDriver(open_session(settings(), "killed"), lake, catalog).make(table, [day])
"""
CURRENT = "test/silver/current"


@pytest.mark.slow
@pytest.mark.parametrize(
    "place",
    [
        f"{Failpoint.AFTER_SWAP.value}:{CURRENT}__changes",
        pytest.param(f"{Failpoint.BEFORE_SWAP.value}:{CURRENT}", marks=pytest.mark.nightly),
        pytest.param(f"{Failpoint.AFTER_SWAP.value}:{CURRENT}", marks=pytest.mark.nightly),
    ],
    ids=["changes committed", "before the table", "table committed"],
)
def test_killed_between_changes_and_table_the_next_commit_catches_up(
    spark: SparkSession, tmp_path: Path, place: str
) -> None:
    """Even the commit of another day: the table says up to which version of the changes it was folded."""
    lake = Lakeside(spark, tmp_path, "changes")
    lake.tables = ("current",)
    lake.land(DAYS[0], told("I1 I1@b", 1))
    lake.make(DAYS[:1])
    lake.land(DAYS[1], told("U2=2 D2@b", 1))
    lake.driver.make("test/bronze/changes", [DAYS[1]])
    environment = os.environ | {VARIABLE: place, "PYTHONPATH": str(Path(__file__).parents[1])}
    killed = subprocess.run(
        [sys.executable, "-c", MAKE, str(tmp_path), CURRENT, str(DAYS[1])], env=environment, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    lake.land(DAYS[2], told("U1=9 I3@c", 1))
    lake.make(DAYS[2:3])
    lake.made[DAYS[1]] = lake.landed[DAYS[1]]
    lake.judge()
    lake.make(DAYS[1:2])
    lake.judge()
