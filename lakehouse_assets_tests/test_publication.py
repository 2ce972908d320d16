"""When a publication looks at the entities that new days touch, and when at everything.

That both append the same rows is tested with random histories in test_gmv_in_the_lake.py.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from lakehouse_assets.platform import publication
from lakehouse_assets.platform.delta import open_table
from lakehouse_assets.platform.plan import make_plan
from lakehouse_assets.platform.table import TableKey
from lakehouse_assets_tests.dagster_lake import marketplace_day
from lakehouse_assets_tests.gmv_histories import TABLES, Feeds, write_csv
from lakehouse_assets_tests.gmv_model import figures
from lakehouse_assets_tests.lake_driver import LakeDriver
from lakehouse_assets_tests.test_gmv_in_the_lake import LEDGER, as_of

GOLD = TableKey.parse("gmv/gold/gmv")
DAYS = [date(2023, 2, 1) + timedelta(days=n) for n in range(10)]


def since(driver: LakeDriver, *days: date) -> publication.Since | None:
    """What a publication of these days would look at."""
    plan = make_plan(driver.lake, driver.catalog.table(GOLD), days)
    return publication.since_last(driver.lake, driver.catalog, plan)


class Shop:
    """Days of a marketplace, landed and made; then corrections of its items."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.driver, self.feeds = LakeDriver.at(spark, folder), Feeds()

    def deliver(self, *days: date, tables: Sequence[str] = TABLES, value: str | None = None) -> None:
        for table in tables:
            for day in days:
                rows = [
                    row | ({"purchase_value": value} if value else {}) for row in marketplace_day(day, 2)[table, day]
                ]
                self.feeds.land({(table, day): rows}, replace=True)
                file = write_csv(self.driver.lake.landing.parent / f"{table}-{day}.csv", table, rows)
                self.driver.land(f"gmv/{table}", file, replace=True)
            for layer in ("bronze", "silver"):
                self.driver.make(f"gmv/{layer}/{table}", days)

    def publish(self, *days: date) -> None:
        self.driver.make(str(GOLD), days)

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

    shop.deliver(DAYS[3], tables=item, value="100,00")
    shop.deliver(DAYS[9], tables=item)
    found = since(shop.driver, DAYS[9])
    assert found is not None
    assert found.touched("purchase", DAYS[9]) == {DAYS[9]}
    assert found.touched("product_item", DAYS[9]) == {DAYS[3], DAYS[9]}
    shop.publish(DAYS[9])
    assert shop.is_right(DAYS[9])
    assert since(shop.driver, *DAYS) is None, "who asks for every day gets every day recomputed"
    with monkeypatch.context() as changed:
        changed.setattr(publication, "code_version", lambda table: "changed")
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
