"""Replay: every published day comes out again, row by row; what cannot is answered by name."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.fingerprint.code_version import Fingerprint, code_version
from lakehouse_assets.platform.lineage import replay as replays
from lakehouse_assets.platform.lineage.provenance import LineageError, trace
from lakehouse_assets.platform.lineage.replay import Answer, Replay, replay
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, Kind
from lakehouse_assets.platform.storage.delta_table import commits
from lakehouse_assets.platform.storage.delta_writer import append
from lakehouse_assets.platform.storage.target import Target
from lakehouse_assets.settings import Settings
from lakehouse_assets_tests.dagster_lake import DagsterLake, dagster_lake, marketplace_day
from lakehouse_assets_tests.gmv_histories import TABLES, history, schedule, write_csv
from lakehouse_assets_tests.lake_driver import LakeDriver
from lakehouse_assets_tests.test_gmv_in_the_lake import Lakeside

pytestmark = pytest.mark.slow

D1, D2 = date(2023, 1, 1), date(2023, 1, 2)
SILVER, GOLD = "gmv/silver/purchase", "gmv/gold/gmv"


@pytest.fixture(scope="module")
def two_days(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of two days of three purchases, made in one range."""
    folder = tmp_path_factory.mktemp("two_days")
    lake = LakeDriver.at(spark, folder)
    for day in (D1, D2):
        for (table, of), rows in marketplace_day(day, 3).items():
            lake.land(f"gmv/{table}", write_csv(folder / f"{table}-{of}.csv", table, rows), day)
    for layer in ("bronze", "silver"):
        for table in TABLES:
            lake.make(f"gmv/{layer}/{table}", [D1, D2])
    lake.make(GOLD, [D1, D2])
    return folder


@pytest.fixture
def driver(spark: SparkSession, two_days: Path, tmp_path: Path) -> LakeDriver:
    """A copy of that lake, of the test's own."""
    shutil.copytree(two_days, tmp_path / "copy")
    lake = LakeDriver.at(spark, tmp_path / "copy")
    lake.runs = 100  # names of runs are not used again
    return lake


def answer(driver: LakeDriver, table: str, day: date, version: int | None = None) -> Replay:
    step = Step(driver.spark, driver.lake, driver.catalog, "replay")
    return replay(step, TableKey.parse(table), day, version)


@pytest.mark.nightly
def test_every_published_day_of_a_random_history_replays_to_the_same_rows(spark: SparkSession, tmp_path: Path) -> None:
    lakeside = Lakeside(LakeDriver.at(spark, tmp_path), tmp_path, [history(5, n) for n in range(6)])
    for number, operation in enumerate(schedule(5).operations):
        lakeside.play(number, operation)
    driver = lakeside.driver
    replayed = 0
    for table in (GOLD, "gmv/silver/product_item"):
        for commit in commits(driver.lake.path(TableKey.parse(table))):
            assert commit.metadata is not None
            found = answer(driver, table, max(commit.metadata.rows), commit.version)
            assert (found.version, found.answer) == (commit.version, Answer.SAME), found
            replayed += 1
    assert replayed > 10


def test_each_table_of_a_day_replays(driver: LakeDriver) -> None:
    for table in ("gmv/bronze/purchase", SILVER, GOLD, "gmv/gold/gmv_current"):
        found = answer(driver, table, D2)
        assert (found.answer, found.identical) == (Answer.SAME, True), found
        assert found.rows is not None
        assert found.rows >= 3


def test_an_earlier_commit_of_a_day_is_replayed_from_what_it_read(driver: LakeDriver, tmp_path: Path) -> None:
    rows = marketplace_day(D1, 3)["purchase", D1]
    driver.land("gmv/purchase", write_csv(tmp_path / "again.csv", "purchase", rows[1:]), D1, replace=True)
    driver.make("gmv/bronze/purchase", [D1])
    driver.make(SILVER, [D1])
    assert answer(driver, SILVER, D1).rows == 2
    then = answer(driver, SILVER, D1, version=0)
    assert (then.answer, then.version, then.rows) == (Answer.SAME, 0, 3), then


def test_a_day_that_was_never_made_says_so(driver: LakeDriver) -> None:
    with pytest.raises(LineageError, match="never materialized"):
        answer(driver, SILVER, date(2023, 1, 9))


def test_rows_that_somebody_changed_are_counted(driver: LakeDriver) -> None:
    """A commit that pretends: the note says one thing and the rows are others."""
    key = TableKey.parse(SILVER)
    path = driver.lake.path(key)
    (newest,) = commits(path)
    assert newest.metadata is not None
    forged = driver.read(SILVER).withColumn("buyer_id", F.lit(1).cast("long"))
    forged.write.format("delta").mode("overwrite").option("userMetadata", newest.metadata.dump()).save(str(path))
    found = answer(driver, SILVER, D1)
    assert (found.answer, found.rows, found.missing, found.extra) == (Answer.DIFFERENT, 3, 3, 3)


def test_changed_code_is_named_and_the_rows_compared_all_the_same(
    driver: LakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = Fingerprint.parse(code_version(driver.catalog.table(TableKey.parse(SILVER))))
    assert now is not None
    monkeypatch.setattr(replays, "code_version", lambda table: str(replace(now, contract="00000000")))
    found = answer(driver, SILVER, D1)
    assert (found.answer, found.identical) == (Answer.CHANGED_CODE, True)
    assert "the code is another one now (contract)" in found.message


def test_of_a_day_of_the_former_scheme_it_is_unknown_whether_the_code_changed(driver: LakeDriver) -> None:
    key = TableKey.parse(SILVER)
    entry = Path(driver.lake.path(key)) / "_delta_log" / "00000000000000000000.json"
    (newest,) = commits(driver.lake.path(key))
    assert newest.metadata is not None
    entry.write_text(entry.read_text().replace(newest.metadata.code_version, "6e23baf13eb2"))
    entry.with_name(f".{entry.name}.crc").unlink(missing_ok=True)
    found = answer(driver, SILVER, D1)
    assert (found.answer, found.identical, found.rows) == (Answer.UNKNOWN_CODE, True, 3), found
    told = trace(driver.lake, driver.catalog, key, D1)
    assert "code 6e23baf13eb2 (whether it changed since is unknown)" in told.detail


def test_an_erased_row_wins_over_replay(driver: LakeDriver) -> None:
    key = TableKey.parse("gmv/bronze/purchase")
    table = driver.catalog.table(key)
    metadata = CommitMetadata(str(key), "erasure", "erasure#1", frozenset({D1}), "", {}, kind=Kind.ERASURE)
    nothing = driver.spark.createDataFrame([], table.compiled.spark_schema)
    append(
        nothing,
        Target(driver.lake.path(key), str(key), table.compiled.spark_schema),
        metadata,
        driver.lake.version(key),
    )

    assert answer(driver, SILVER, D1).answer is Answer.ERASED
    assert "erased on request by version 1" in answer(driver, "gmv/bronze/purchase", D1).message
    for table in (SILVER, "gmv/bronze/purchase"):
        assert answer(driver, table, D2).answer is Answer.SAME, "nothing of that day was erased"


def test_a_vacuumed_version_is_named(driver: LakeDriver, tmp_path: Path) -> None:
    path = driver.lake.path(TableKey.parse("gmv/bronze/purchase"))
    for day in (D1, D2):
        fewer = marketplace_day(day, 2)["purchase", day]
        driver.land("gmv/purchase", write_csv(tmp_path / f"{day}.csv", "purchase", fewer), day, replace=True)
    driver.make("gmv/bronze/purchase", [D1, D2])
    DeltaTable(str(path)).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    found = answer(driver, SILVER, D1)
    assert found.answer is Answer.VACUUMED
    assert "version 0 of gmv/bronze/purchase were vacuumed" in found.message
    shutil.rmtree(path / "_delta_log")
    assert "older than the table's log" in answer(driver, SILVER, D1).message


def test_a_landed_file_that_was_altered_is_named(driver: LakeDriver) -> None:
    (part, *_) = (driver.lake.landing / "gmv" / "purchase").glob(f"*{D1}*/*.parquet")
    part.write_bytes(part.read_bytes() + b"x")
    found = answer(driver, "gmv/bronze/purchase", D1)
    assert (found.answer, found.rows) == (Answer.LANDED_FILE, None)
    assert "not what was landed" in found.message


@pytest.fixture
def lake(spark_home: Settings, tmp_path: Path) -> Iterator[DagsterLake]:
    with dagster_lake(tmp_path) as found:
        yield found


def test_the_command_proves_a_day(lake: DagsterLake) -> None:
    lake.land(marketplace_day(D1, 2))
    assert lake.run(["gmv/bronze/purchase"], D1).success
    told = json.loads(lake.cli("replay", "gmv/bronze/purchase", "--day", str(D1), "--format", "json").stdout)
    assert (told["answer"], told["rows"], told["missing"], told["extra"]) == ("same", 2, 0, 0)
    assert "same. 2 rows, all the same" in lake.cli("replay", "gmv.bronze.purchase", "--day", str(D1)).stdout
