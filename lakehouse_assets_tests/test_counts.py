"""How often a step asks Spark and opens a Delta log: independent of the speed of the machine."""

from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.results.step_result import Status
from lakehouse_assets.samples.gmv.feeds import generate as purchases
from lakehouse_assets.samples.loyalty import feeds as loyalty
from lakehouse_assets.settings import settings
from lakehouse_assets_tests.counted import ACTION, ANALYSIS, OPENING, counted
from lakehouse_assets_tests.lake_driver import LakeDriver

pytestmark = pytest.mark.slow

FIRST = date(2023, 1, 1)
EVENTS = ("product_item", "purchase", "purchase_extra_info")


def made(driver: LakeDriver, days: list[date], tables: list[str]) -> dict[str, Counter[str]]:
    """Make the days of each table, and count what that took."""
    found = {}
    for table in tables:
        with counted() as counts:
            outcome = driver.make(table, days)
        assert {day.status for day in outcome.days} == {Status.COMMITTED}, outcome.days
        found[table] = counts
    return found


@pytest.fixture(scope="module")
def gmv(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> LakeDriver:
    """A lake for GMV."""
    return LakeDriver.at(spark, tmp_path_factory.mktemp("counted"))


@pytest.fixture(scope="module")
def new_day(gmv: LakeDriver, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Counter[str]]:
    """A new day of GMV after some others, by table; the ledger with the current figures beside it."""
    folder, driver = tmp_path_factory.mktemp("feeds"), gmv
    days = [FIRST + timedelta(days=n) for n in range(6)]
    purchases(folder / "feeds", days[0], days[-1], 40, seed=7, defects=0.0)
    tables = [*[f"gmv/bronze/{of}" for of in EVENTS], *[f"gmv/silver/{of}" for of in EVENTS], "gmv/gold/gmv"]
    for part in (days[:4], days[4:5], days[5:]):
        for table in EVENTS:
            for day in part:
                driver.land(f"gmv/{table}", folder / "feeds" / table / f"{day}.csv", day)
        counts = made(driver, part, tables)
    return counts


def test_a_step_writes_its_rows_in_one_action(new_day: dict[str, Counter[str]]) -> None:
    actions = {table: counts[ACTION] for table, counts in new_day.items()}
    gold = actions.pop("gmv/gold/gmv")
    assert actions == dict.fromkeys(actions, 1)
    assert gold == 2, "the ledger, and the current figures beside it"


def test_a_step_asks_spark_for_no_schema_that_it_knows(new_day: dict[str, Counter[str]]) -> None:
    asked = {table: counts[ANALYSIS] for table, counts in new_day.items()}
    assert max(asked.values()) <= 2, asked


def test_to_select_a_transaction_date_is_to_open_its_files_alone(
    gmv: LakeDriver, new_day: dict[str, Counter[str]]
) -> None:
    for table in (f"gmv/silver/{of}" for of in EVENTS):
        opened = DeltaTable(str(gmv.lake.path(TableKey.parse(table)))).to_pyarrow_dataset()
        assert len(list(opened.get_fragments())) > 2, "four days in a file, two in files of their own"
        day = FIRST + timedelta(days=5)
        held = opened.get_fragments(filter=ds.field("transaction_date") == pa.scalar(day))
        assert len(list(held)) == 1


def test_a_new_day_opens_few_logs(new_day: dict[str, Counter[str]]) -> None:
    opened = {table: counts[OPENING] for table, counts in new_day.items()}
    assert sum(opened.values()) <= 30, opened


@pytest.fixture(scope="module")
def new_changes(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Counter[str]]]:
    """A new day of the loyalty programme after some others: snapshots with history, and change data."""
    folder = tmp_path_factory.mktemp("changes")
    driver = LakeDriver.at(spark, folder)
    days = [date(2024, 2, 1) + timedelta(days=n) for n in range(14)]
    done = loyalty.invented_transactions(days[0], days[-1], customers=30, a_day=10, seed=7)
    loyalty.write_changes(folder / "feeds", done, days[0], days[-1], 7, 0.1)
    loyalty.write_snapshots(folder / "feeds", done, days[0], days[-1], 7)
    tables = [f"loyalty/{layer}/{of}" for layer in ("bronze", "silver") for of in ("clientes", "transacao")]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LAKEHOUSE_PSEUDONYM_KEY", "a key of these tests, 32 characters or more")
        settings.cache_clear()
        for part in (days[:12], days[12:13], days[13:]):
            for of in ("clientes", "transacao"):
                for day in part:
                    for file in (folder / "feeds" / of).glob(f"{day}.*"):
                        driver.land(f"loyalty/{of}", file, day)
            counts = made(driver, part, tables)
        yield counts
    settings.cache_clear()


def test_a_table_with_a_state_takes_three_actions(new_changes: dict[str, Counter[str]]) -> None:
    actions = {table: counts[ACTION] for table, counts in new_changes.items()}
    assert max(actions.values()) <= 3, actions
