"""What people and machines do to a lake: deleted tables and files, foreign tables, full disks, wrong arguments."""

import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from random import Random

import psutil
import pytest
from pyspark.sql import SparkSession

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.ingest.landing import parts
from lakehouse_assets.platform.planning.plan import LostInput
from lakehouse_assets.platform.planning.reader import MissingPart
from lakehouse_assets.platform.results.audit_log import failed_days
from lakehouse_assets.platform.runtime.sessions import close_session, open_session
from lakehouse_assets.platform.runtime.spark_server import ensure_server, server_status, stop_server
from lakehouse_assets.platform.storage.commit import WriteError
from lakehouse_assets.platform.storage.delta_table import version_of
from lakehouse_assets.platform.storage.schema_evolution import SchemaMismatch
from lakehouse_assets.settings import Settings
from lakehouse_assets_tests.dagster_lake import dagster_lake, marketplace_day
from lakehouse_assets_tests.gmv_histories import write_csv
from lakehouse_assets_tests.lake_driver import LakeDriver
from lakehouse_assets_tests.test_gmv_in_the_lake import LEDGER

pytestmark = pytest.mark.slow

ONE, TWO = date(2023, 2, 1), date(2023, 2, 2)
BRONZE, SILVER, GOLD = "gmv/bronze/purchase", "gmv/silver/purchase", "gmv/gold/gmv"


def deliver(driver: LakeDriver, *days: date, tables: tuple[str, ...] = ("purchase",), purchases: int = 3) -> None:
    """Land these days and make bronze."""
    for table in tables:
        for day in days:
            rows = marketplace_day(day, purchases)[table, day]
            driver.land(f"gmv/{table}", write_csv(driver.lake.landing.parent / f"{table}-{day}.csv", table, rows))
        driver.make(f"gmv/bronze/{table}", days)


def failed(driver: LakeDriver) -> set[date]:
    """Days of silver that block what reads them."""
    return set(failed_days(driver.lake.tables, "gmv", SILVER, driver.lake.path(TableKey.parse(SILVER))))


def test_a_deleted_table_is_rebuilt_and_is_not_taken_for_an_empty_one(spark: SparkSession, tmp_path: Path) -> None:
    """Gold refuses to publish from what is gone, or only half there again: in a ledger a zero would stay for ever."""
    driver = LakeDriver.at(spark, tmp_path)
    deliver(driver, ONE, TWO, tables=("purchase", "product_item"))
    for table in (SILVER, "gmv/silver/product_item"):
        driver.make(table, [ONE, TWO])
    driver.make(GOLD, [ONE, TWO])
    ledger = driver.rows(GOLD, *LEDGER)
    assert ledger

    shutil.rmtree(driver.lake.path(TableKey.parse(SILVER)))
    with pytest.raises(LostInput, match=r"gmv/silver/purchase is gone: gmv/gold/gmv was made from its version 0"):
        driver.make(GOLD, [TWO])
    driver.make(SILVER, [TWO])
    with pytest.raises(
        LostInput, match=r"made anew, without 2023-02-01\. .*Materialize these days of gmv/silver/purch"
    ):
        driver.make(GOLD, [TWO])
    driver.make(SILVER, [ONE])
    driver.make(GOLD, [TWO])
    assert driver.rows(GOLD, *LEDGER) == ledger


def test_a_day_that_failed_before_its_table_was_deleted_can_be_repaired(spark: SparkSession, tmp_path: Path) -> None:
    """Versions begin anew with the table; what failed at version 2 is repaired at version 0."""
    driver = LakeDriver.at(spark, tmp_path)
    deliver(driver, ONE, TWO)
    for _ in range(2):
        driver.make(SILVER, [ONE])
    rows = [row | {"release_date": "soon"} for row in marketplace_day(TWO, 120)["purchase", TWO]]
    driver.land("gmv/purchase", write_csv(tmp_path / "bad.csv", "purchase", rows), day=TWO, replace=True)
    driver.make(BRONZE, [TWO])
    driver.make(SILVER, [TWO])
    assert failed(driver) == {TWO}
    shutil.rmtree(driver.lake.path(TableKey.parse(SILVER)))
    assert failed(driver) == {TWO}, "deleting it repaired nothing"
    good = marketplace_day(TWO, 120)["purchase", TWO]
    driver.land("gmv/purchase", write_csv(tmp_path / "good.csv", "purchase", good), day=TWO, replace=True)
    driver.make(BRONZE, [TWO])
    driver.make(SILVER, [ONE, TWO])
    assert failed(driver) == set()


def test_a_foreign_table_in_the_place_of_ours_is_left_alone(spark: SparkSession, tmp_path: Path) -> None:
    driver = LakeDriver.at(spark, tmp_path)
    deliver(driver, ONE)
    path = driver.lake.path(TableKey.parse(SILVER))
    spark.sql("SELECT 1 AS purchase_id, 'theirs' AS owner").write.format("delta").save(str(path))
    with pytest.raises(
        SchemaMismatch, match=r"purchase_id is int, declared bigint; owner is string, not declared"
    ) as why:
        driver.make(SILVER, [ONE])
    assert "nothing was read or written" in str(why.value)
    assert version_of(path) == 0
    assert spark.read.format("delta").load(str(path)).collect()[0].owner == "theirs"


def test_a_landed_file_that_is_gone_is_named(spark: SparkSession, tmp_path: Path) -> None:
    driver = LakeDriver.at(spark, tmp_path)
    deliver(driver, ONE)
    before = driver.rows(BRONZE, "purchase_id")
    (part,) = parts(driver.lake.landing, "gmv/purchase")
    part.path.unlink()
    with pytest.raises(MissingPart, match=rf"{part.path.name} \({part.name}, 2023-02-01\)\. Land {part.name} again"):
        driver.make(BRONZE, [ONE])
    assert driver.rows(BRONZE, "purchase_id") == before
    driver.land("gmv/purchase", tmp_path / "purchase-2023-02-01.csv", day=ONE, replace=True)
    driver.make(BRONZE, [ONE])
    assert driver.rows(BRONZE, "purchase_id") == before


@pytest.fixture
def own_server(spark: SparkSession, tmp_path: Path) -> Iterator[tuple[Settings, psutil.Process]]:
    """A server of the test's own, which may do it harm."""
    here = Settings(home=tmp_path / "own", spark_heap="512m", spark_cores="1")
    ensure_server(here)
    yield here, psutil.Process(server_status(here).pid)
    stop_server(here)


def test_on_a_full_disk_nothing_is_half_written(
    own_server: tuple[Settings, psutil.Process], spark: SparkSession, tmp_path: Path
) -> None:
    """A server that may write no file above 64 KiB meets what it meets on a full disk."""
    settings, process = own_server
    session = open_session(settings, "full disk")
    driver = LakeDriver.at(session, tmp_path)
    deliver(driver, ONE)
    path = driver.lake.path(TableKey.parse(BRONZE))
    before = driver.rows(BRONZE, "purchase_id", "feed_day")
    rows = marketplace_day(TWO, 30_000)["purchase", TWO]
    rows = [row | {"buyer_id": str(Random(n).getrandbits(60))} for n, row in enumerate(rows)]
    driver.land("gmv/purchase", write_csv(tmp_path / "large.csv", "purchase", rows))
    process.rlimit(psutil.RLIMIT_FSIZE, (64 * 1024, psutil.RLIM_INFINITY))
    with pytest.raises(WriteError, match=rf"{BRONZE} was not written, its version is still 0: .*File too large"):
        driver.make(BRONZE, [TWO])
    assert version_of(path) == 0
    process.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
    assert driver.rows(BRONZE, "purchase_id", "feed_day") == before
    close_session(session)
    healthy = LakeDriver.at(spark, tmp_path)
    healthy.runs = driver.runs
    healthy.make(BRONZE, [TWO])
    assert healthy.read(BRONZE).count() == len(before) + 30_000


def test_wrong_arguments_end_in_one_message(spark_home: Settings, tmp_path: Path) -> None:
    good = write_csv(tmp_path / "purchase.csv", "purchase", marketplace_day(ONE, 1)["purchase", ONE])
    with dagster_lake(tmp_path) as lake:
        for arguments, message in [
            (("land", "gmv/purchase", str(good), "--day", "yesterday"), "'yesterday' is not a day"),
            (("land", "gmv/purchase", str(good), "--day", "2999-01-01"), "in the future"),
            (("land", "gmv/refunds", str(good)), "No files are landed as 'gmv/refunds'"),
            (("land", "gmv/purchase", str(tmp_path / "missing.csv")), "no such file"),
            (("sql", "select * from gmv.silver.purchase"), "There is no table gmv.silver.purchase"),
            (("sql", "selec"), "That is no query"),
            (("gmv", "--month", "January"), "is not a month"),
            (("lineage", SILVER, "--day", "2023-02-01"), "never materialized"),
            (("lineage", "purchase", "--day", "2023-02-01"), "is not a table"),
            (("quarantine", "retry", SILVER), "nothing in quarantine"),
        ]:
            assert message in lake.cli(*arguments, fails=True).output
        assert not list(lake.folder.glob("root/landing/**/*.parquet"))


def test_every_error_of_this_page_is_meant_for_the_user() -> None:
    assert all(issubclass(error, LakehouseError) for error in (LostInput, MissingPart, SchemaMismatch, WriteError))
