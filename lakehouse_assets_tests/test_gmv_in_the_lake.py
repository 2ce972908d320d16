"""GMV through landing, bronze, silver and gold on real Spark and Delta, judged by the plain-Python model."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from pyspark.sql import DataFrame, SparkSession

from lakehouse_assets.platform.declare.table import Ledger as Write
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.ledger import incremental
from lakehouse_assets.platform.ledger.ledger import everything, rows_to_append
from lakehouse_assets.platform.planning.plan import make_plan
from lakehouse_assets.platform.planning.reader import read_inputs, read_table
from lakehouse_assets_tests.gmv_histories import (
    TABLES,
    Feeds,
    History,
    Land,
    Publish,
    history,
    landed,
    schedule,
    write_csv,
)
from lakehouse_assets_tests.gmv_model import Key, Ledger, figures
from lakehouse_assets_tests.lake_driver import LakeDriver

HISTORIES = 300  # of each seed; 1,000 and more with the marker random_histories
Figures = dict[Key, tuple[Decimal, int]]


def as_of(rows: Iterable[tuple[object, ...]], k: date | None) -> Figures:
    """Per key the newest row known at k, vanished keys left out: the rule of design, on rows of the ledger."""
    best: dict[Key, tuple[date, int, Decimal, int]] = {}
    for gmv_date, subsidiary, product, gmv, purchases, effective, version in rows:
        if k is None or effective <= k:  # type: ignore[operator]
            key: Key = (gmv_date, subsidiary, product)  # type: ignore[assignment]
            found = (effective, version, gmv, purchases)
            if key not in best or found[:2] > best[key][:2]:  # type: ignore[operator]
                best[key] = found  # type: ignore[assignment]
    return {key: (gmv, n) for key, (_, _, gmv, n) in best.items() if (gmv, n) != (0, 0)}


LEDGER = ("gmv_date", "subsidiary", "product_id", "gmv", "purchases", "effective_date", "version")


class Lakeside:
    """Plays a schedule for many histories at once: in the lake, and in the model of each."""

    def __init__(self, driver: LakeDriver, folder: Path, histories: list[History]) -> None:
        self.driver, self.folder, self.histories = driver, folder, histories
        self.feeds = Feeds()
        self.model = Ledger()
        self.ways: list[bool | None] = []  # per publication: all purchases, or the touched (True: of old days as well)

    def play(self, step: int, operation: Land | Publish) -> None:
        if isinstance(operation, Land):
            self.land(step, operation)
        else:
            self.publish(operation.days)

    def land(self, step: int, operation: Land) -> None:
        parts = landed(self.histories, step)
        self.feeds.land(parts, replace=operation.replace)
        changed: dict[str, set[date]] = defaultdict(set)
        for (table, day), rows in parts.items():
            file = write_csv(self.folder / f"{step}-{table}-{day}.csv", table, rows)
            self.driver.land(f"gmv/{table}", file, day=day, replace=operation.replace)
            changed[table].add(day)
        for table, days in changed.items():
            self.driver.make(f"gmv/bronze/{table}", days)
            self.driver.make(f"gmv/silver/{table}", days)

    def publish(self, days: Iterable[date]) -> None:
        asked = tuple(days)
        self.model.publish(self.feeds.events(), asked)
        self.compare_ways(asked)
        self.driver.make("gmv/gold/gmv", asked)

    def compare_ways(self, days: tuple[date, ...]) -> None:
        """What is published by looking at the touched purchases is what looking at all of them gives."""
        spark, lake, catalog = self.driver.spark, self.driver.lake, self.driver.catalog
        gold = catalog.table(TableKey.parse("gmv/gold/gmv"))
        assert isinstance(gold.write, Write)
        plan = make_plan(lake, gold, days)
        since = incremental.since_last(lake, catalog, plan)
        self.ways.append(None if since is None else any(since.stale.values()))
        if since is None:
            return
        steps, ledger = incremental.steps_of(plan), read_table(spark, lake, gold, plan.base)
        frame = gold(**read_inputs(spark, lake, plan, catalog))
        touched, whole = (
            rows_to_append(news, ledger, gold.write, steps, gold.compiled.spark_schema[gold.write.figure].dataType)
            for news in (incremental.news(spark, lake, catalog, plan), everything(frame, gold.write, steps))
        )
        assert not news_differ(touched, whole)

    def ledger(self) -> list[tuple[object, ...]]:
        return self.driver.rows("gmv/gold/gmv", *LEDGER)

    def judge(self) -> None:
        """Every row of the ledger, every as-of answer and the current table are what the model says."""
        rows = self.ledger()
        expected = sorted((*row.key, *row.figure, row.effective_date, row.version) for row in self.model.rows)
        assert rows == expected
        current = self.driver.rows("gmv/gold/gmv_current", *LEDGER)
        assert as_of(current, None) == self.model.current()


def news_differ(one: DataFrame, other: DataFrame) -> list[object]:
    """Rows that only one of two publications would append."""
    return [*one.exceptAll(other).union(other.exceptAll(one)).limit(5).collect()]


MORE = pytest.mark.random_histories


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1, *[pytest.param(seed, marks=MORE) for seed in (2, 3, 4)]])
def test_random_histories_agree_with_the_model_after_every_operation(
    spark: SparkSession, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Immutability and convergence: late, re-sent, replaced and corrected files, in any order of publishing."""
    monkeypatch.setattr(incremental, "MOST_TOUCHED", 10.0)
    plan = schedule(seed)
    lakeside = Lakeside(LakeDriver.at(spark, tmp_path), tmp_path, [history(seed, index) for index in range(HISTORIES)])
    closed: dict[date, Figures] = {}
    for step, operation in enumerate(plan.operations):
        lakeside.play(step, operation)
        if isinstance(operation, Land):
            continue
        lakeside.judge()
        rows = lakeside.ledger()
        for day, answer in closed.items():
            assert as_of(rows, day) == answer, f"the closed day {day} changed"
        newest = lakeside.model.newest
        assert newest is not None
        assert as_of(rows, None) == figures(lakeside.feeds.events(), newest)
        first = min(row[5] for row in rows) if rows else newest  # type: ignore[type-var]
        for n in range((newest - first).days):  # type: ignore[operator]
            closed[first + timedelta(days=n)] = as_of(rows, first + timedelta(days=n))  # type: ignore[operator]
    assert set(lakeside.ways) == {None, True, False}, "published in every way"


@pytest.mark.slow
def test_publishing_order_does_not_matter_once_silver_is_complete(spark: SparkSession, tmp_path: Path) -> None:
    """Order independence and idempotence: any order of days, one range, everything twice: the same as-of answers."""
    source = LakeDriver.at(spark, tmp_path)
    lakeside = Lakeside(source, tmp_path, [history(9, index) for index in range(40)])
    lands = [(n, op) for n, op in enumerate(schedule(9).operations) if isinstance(op, Land)]
    for step, operation in lands:
        lakeside.land(step, operation)
    days = sorted({event.feed_day for event in _all_events(lakeside)})
    span = [days[0] + timedelta(days=n) for n in range((days[-1] - days[0]).days + 1)]
    some = Random(9).sample(span, 4)
    orders = {"range": [span], "backwards": [span[-1:], span[:1]], "random": [*[[day] for day in some], span[-2:]]}
    answers = []
    for order, steps in orders.items():
        driver = _same_silver(source, tmp_path / order)
        for asked in steps:
            driver.make("gmv/gold/gmv", asked)
        rows = driver.rows("gmv/gold/gmv", *LEDGER)
        answers.append({day: as_of(rows, day) for day in span})
        driver.make("gmv/gold/gmv", span)
        assert driver.rows("gmv/gold/gmv", *LEDGER) == rows, "publishing again appended something"
    assert answers[0] == answers[1] == answers[2]


def _all_events(lakeside: Lakeside):  # type: ignore[no-untyped-def]
    events = lakeside.feeds.events()
    return [*events.purchases, *events.items, *events.extras]


def _same_silver(source: LakeDriver, folder: Path) -> LakeDriver:
    """A lake whose silver is the source's and whose gold is empty."""
    driver = LakeDriver.at(source.spark, folder)
    (driver.lake.tables / "gmv").mkdir(parents=True)
    (driver.lake.tables / "gmv" / "silver").symlink_to(source.lake.tables / "gmv" / "silver")
    return driver


def test_a_range_is_what_day_by_day_gives(spark: SparkSession, tmp_path: Path) -> None:
    """Bronze and silver of a range, and their outcomes per day, equal those of single days in order."""
    lakeside = Lakeside(LakeDriver.at(spark, tmp_path), tmp_path, [history(5, index) for index in range(20)])
    step, operation = next((n, op) for n, op in enumerate(schedule(5).operations) if isinstance(op, Land))
    lakeside.land(step, operation)
    single = LakeDriver.at(spark, tmp_path / "single")
    single.lake.landing.parent.mkdir()
    single.lake.landing.symlink_to(lakeside.driver.lake.landing)
    for table in operation.tables or TABLES:
        for day in operation.days:
            bronze = single.make(f"gmv/bronze/{table}", [day])
            silver = single.make(f"gmv/silver/{table}", [day])
            assert all(d.reconciled for d in (*bronze.days, *silver.days))
        together = lakeside.driver.make(f"gmv/silver/{table}", operation.days)
        columns = single.read(f"gmv/silver/{table}").columns
        assert single.rows(f"gmv/silver/{table}", *columns) == lakeside.driver.rows(f"gmv/silver/{table}", *columns)
        for day in together.days:
            (alone,) = single.make(f"gmv/silver/{table}", [day.day]).days
            assert (alone.rows, alone.rules) == (day.rows, day.rules)
