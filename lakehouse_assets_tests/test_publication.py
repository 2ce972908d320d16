"""Publishing what new days touch: the rows are those that looking at everything gives, and when which is done."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql.types import StructField

from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.ledger import affected_keys, incremental
from lakehouse_assets.platform.planning.plan import make_plan
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.storage import delta_writer
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata
from lakehouse_assets.platform.storage.delta_table import open_table, version_of
from lakehouse_assets.platform.transform.materialize import materialize
from lakehouse_assets_tests.dagster_lake import marketplace_day
from lakehouse_assets_tests.gmv_histories import (
    TABLES,
    Feeds,
    History,
    Land,
    Publish,
    Row,
    history,
    landed,
    row_hash,
    schedule,
    write_csv,
)
from lakehouse_assets_tests.gmv_model import Ledger, figures
from lakehouse_assets_tests.lake_driver import LakeDriver
from lakehouse_assets_tests.test_gmv_in_the_lake import LEDGER, MORE, as_of

GOLD = TableKey.parse("gmv/gold/gmv")
DAYS = [date(2023, 2, 1) + timedelta(days=n) for n in range(10)]


def since(driver: LakeDriver, *days: date) -> incremental.Since | None:
    """What a publication of these days would look at."""
    plan = make_plan(driver.lake, driver.catalog.table(GOLD), days)
    return incremental.since_last(driver.lake, driver.catalog, plan)


class Silver:
    """Silver tables of random histories, written without landing and bronze, and the ledger made of them."""

    def __init__(self, spark: SparkSession, folder: Path, histories: list[History]) -> None:
        self.driver, self.histories = LakeDriver.at(spark, folder), histories
        self.rows: dict[tuple[str, date], list[Row]] = {}
        self.feeds, self.model = Feeds(), Ledger()

    def land(self, step: int, operation: Land) -> None:
        parts = landed(self.histories, step)
        self.feeds.land(parts, replace=operation.replace)
        for part, rows in parts.items():
            self.rows[part] = rows if operation.replace else self.rows.get(part, []) + rows
        for table in operation.tables:
            self._write(table, operation.days, f"{step}")

    def _write(self, table: str, days: Sequence[date], attempt: str) -> None:
        key = TableKey("gmv", "silver", table)
        schema = self.driver.catalog.table(key).compiled.spark_schema
        unique = {(day, row_hash(row)): row for day in days for row in self.rows.get((table, day), [])}
        typed = [[_value(field, day, sha, row) for field in schema] for (day, sha), row in unique.items()]
        path = self.driver.lake.path(key)
        metadata = CommitMetadata(str(key), attempt, f"{attempt}/{table}", frozenset(days), "code", {})
        frame = self.driver.spark.createDataFrame(typed, schema)
        delta_writer.replace_days(
            frame, delta_writer.Target(path, str(key), schema), metadata, version_of(path), "feed_day", days
        )

    def publish(self, operation: Publish) -> None:
        driver, gold = self.driver, self.driver.catalog.table(GOLD)
        driver.runs += 1
        materialize(Step(driver.spark, driver.lake, driver.catalog, f"run-{driver.runs}"), gold, operation.days)
        self.model.publish(self.feeds.events(), operation.days)

    def judge(self) -> None:
        """Every row of the ledger is what the model says."""
        expected = sorted((*row.key, *row.figure, row.effective_date, row.version) for row in self.model.rows)
        assert self.driver.rows(str(GOLD), *LEDGER) == expected


def _value(field: StructField, day: date, sha: str, row: Row) -> object:
    match field.name:
        case "feed_day" | "processed_date":
            return day
        case "version":
            return 1
        case "record_hash":
            return sha
    text = row[field.name].replace(",", ".")
    match field.dataType.typeName():
        case _ if not text:
            return None
        case "long":
            return int(text)
        case "date":
            return date.fromisoformat(text)
        case "timestamp_ntz":
            return datetime.fromisoformat(text)
        case "decimal":
            return Decimal(text)
    return text


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.nightly
@pytest.mark.parametrize("seed", [7, 8, *[pytest.param(seed, marks=MORE) for seed in range(11, 17)]])
def test_random_histories_published_by_touched_entities_agree_with_the_model(
    spark: SparkSession, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entities are looked up by delta-rs for odd seeds, by Spark for even ones."""
    monkeypatch.setattr(incremental, "MOST_TOUCHED", 10.0)
    monkeypatch.setattr(affected_keys, "FEW_ROWS", affected_keys.FEW_ROWS if seed % 2 else -1)
    silver = Silver(spark, tmp_path, [history(seed, index) for index in range(200)])
    touched = []
    for step, operation in enumerate(schedule(seed).operations):
        if isinstance(operation, Land):
            silver.land(step, operation)
            continue
        found = since(silver.driver, *operation.days)
        touched.append(found and any(found.stale.values()))
        silver.publish(operation)
        silver.judge()
    assert {True, False} & set(touched), "some publication looked at touched entities only"


class Shop:
    """Days of a marketplace, landed and made; then corrections of its items."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.driver, self.feeds = LakeDriver.at(spark, folder), Feeds()

    def deliver(self, *days: date, tables: Sequence[str] = TABLES, value: str | None = None, without: int = 0) -> None:
        for table in tables:
            for day in days:
                rows = [
                    row | ({"purchase_value": value} if value else {})
                    for row in marketplace_day(day, 2)[table, day][without:]
                ]
                self.feeds.land({(table, day): rows}, replace=True)
                file = write_csv(self.driver.lake.landing.parent / f"{table}-{day}.csv", table, rows)
                self.driver.land(f"gmv/{table}", file, replace=True)
            for layer in ("bronze", "silver"):
                self.driver.make(f"gmv/{layer}/{table}", days)

    def publish(self, *days: date) -> None:
        self.driver.make(str(GOLD), days)

    def entities_of(self, found: incremental.Since, day: date) -> list[int]:
        """The purchases that a publication of a day looks at."""
        gold = self.driver.catalog.table(GOLD)
        records = incremental.touched_records(self.driver.lake, make_plan(self.driver.lake, gold, [day]), found)
        grouping_key = incremental._grouping_key_of(self.driver.catalog, gold)
        assert grouping_key is not None
        return sorted(
            row.purchase_id for row in affected_keys.look_up(self.driver.spark, records, grouping_key).collect()
        )

    def is_right(self, day: date) -> bool:
        return as_of(self.driver.rows(str(GOLD), *LEDGER), None) == figures(self.feeds.events(), day)


@pytest.mark.slow
def test_when_what_new_days_touch_is_enough(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, item = Shop(spark, tmp_path), ("product_item",)
    shop.deliver(*DAYS[:9])
    assert since(shop.driver, *DAYS[:9]) is None, "nothing is published yet"
    shop.publish(*DAYS[:9])

    shop.deliver(DAYS[3], tables=item, value="100,00", without=1)
    shop.deliver(DAYS[9], tables=item)
    found = since(shop.driver, DAYS[9])
    assert found is not None
    assert found.touched("purchase", DAYS[9]) == {DAYS[9]}
    assert found.touched("product_item", DAYS[9]) == {DAYS[3], DAYS[9]}
    of_days = {int(row["purchase_id"]) for day in (DAYS[3], DAYS[9]) for row in marketplace_day(day, 2)[TABLES[0], day]}
    for few in (affected_keys.FEW_ROWS, -1):
        with monkeypatch.context() as limit:
            limit.setattr(affected_keys, "FEW_ROWS", few)
            assert shop.entities_of(found, DAYS[9]) == sorted(of_days), "also the one that its day has no more"
    shop.publish(DAYS[9])
    assert shop.is_right(DAYS[9])
    assert since(shop.driver, *DAYS) is None, "who asks for every day gets every day recomputed"
    with monkeypatch.context() as changed:
        changed.setattr(incremental, "code_version", lambda table: "changed")
        assert since(shop.driver, DAYS[3]) is None, "other code may say something else of every purchase"

    shop.deliver(DAYS[3], tables=item, value="50,00")
    found = since(shop.driver, DAYS[3])
    assert found is not None
    silver = shop.driver.lake.path(TableKey.parse("gmv/silver/product_item"))
    published = open_table(silver, found.versions["product_item"])
    now = open_table(silver)
    assert published is not None
    assert now is not None
    lost = next(iter(set(published.file_uris()) - set(now.file_uris())))
    Path(lost.removeprefix("file://")).unlink()
    assert since(shop.driver, DAYS[3]) is None, "the version that was published can no longer be read"
    shop.publish(DAYS[3])
    assert shop.is_right(DAYS[9]), "everything was recomputed"
