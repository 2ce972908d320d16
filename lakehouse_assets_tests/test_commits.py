"""Commits that count once: races, killed clients, lost answers, doubled backfills. All on real Spark and Delta."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from deltalake.transaction import create_table_with_add_actions
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.types import DateType, LongType, StructField, StructType

from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.planning.plan import make_plan
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.storage import delta_writer
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, InputVersion
from lakehouse_assets.platform.storage.data_files import active_files
from lakehouse_assets.platform.storage.delta_table import commits, version_of
from lakehouse_assets.platform.storage.s3 import StoreError
from lakehouse_assets.platform.transform.materialize import materialize
from lakehouse_assets.settings import Settings
from lakehouse_assets_tests.dagster_lake import marketplace_day
from lakehouse_assets_tests.gmv_histories import TABLES, Feeds, write_csv
from lakehouse_assets_tests.gmv_model import figures
from lakehouse_assets_tests.lake_driver import LakeDriver
from lakehouse_assets_tests.test_gmv_in_the_lake import LEDGER, as_of

pytestmark = pytest.mark.slow

DAYS = [date(2023, 2, 1) + timedelta(days=n) for n in range(4)]
ONE, TWO = DAYS[:2]
NUMBERS = StructType([StructField("feed_day", DateType()), StructField("n", LongType())])
GOLD = "gmv/gold/gmv"


def metadata(attempt: str, *days: date) -> CommitMetadata:
    return CommitMetadata("t", attempt, attempt, frozenset(days), "code", {"landed": InputVersion(3, "2023-02-01")})


def deliver(driver: LakeDriver, days: Sequence[date], tables: Sequence[str], purchases: int = 3) -> Feeds:
    """Land these days of these sources; returns what the judge is told."""
    feeds = Feeds()
    for day in days:
        for (table, _), rows in marketplace_day(day, purchases).items():
            if table in tables:
                feeds.land({(table, day): rows}, replace=False)
                driver.land(f"gmv/{table}", write_csv(driver.lake.landing.parent / f"{table}-{day}.csv", table, rows))
    return feeds


def to_silver(driver: LakeDriver, days: Sequence[date], tables: Sequence[str]) -> None:
    for table in tables:
        driver.make(f"gmv/bronze/{table}", days)
        driver.make(f"gmv/silver/{table}", days)


@pytest.fixture(scope="module")
def silver(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[LakeDriver, Feeds]:
    """Two days in silver, and what the judge is told of them."""
    driver = LakeDriver.at(spark, tmp_path_factory.mktemp("silver"))
    feeds = deliver(driver, DAYS[:2], TABLES)
    to_silver(driver, DAYS[:2], TABLES)
    return driver, feeds


def unpublished(silver: LakeDriver, folder: Path) -> LakeDriver:
    """A lake with the same silver and no gold."""
    driver = LakeDriver.at(silver.spark, folder)
    (driver.lake.tables / "gmv").mkdir(parents=True)
    (driver.lake.tables / "gmv" / "silver").symlink_to(silver.lake.tables / "gmv" / "silver")
    return driver


def in_another_process(code: str, *arguments: object) -> "subprocess.Popen[str]":
    """Run code in a process of its own, on the same server."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_of_two_writers_that_started_from_the_same_version_the_second_loses(
    spark: SparkSession, tmp_path: Path
) -> None:
    target = delta_writer.Target(tmp_path / "t", "t", NUMBERS)

    def write(n: int, attempt: str, base: int | None) -> int:
        frame = spark.createDataFrame([(ONE, n)], NUMBERS)
        return delta_writer.replace_days(frame, target, metadata(attempt, ONE), base, "feed_day", [ONE])

    def numbers() -> list[int]:
        return [row.n for row in spark.read.format("delta").load(str(target.path)).collect()]

    assert write(1, "first", None) == 0
    with pytest.raises(delta_writer.ConcurrentCommit, match="another run committed"):
        write(2, "created it too", None)
    assert write(3, "second", 0) == 1
    with pytest.raises(delta_writer.ConcurrentCommit, match="after version 0"):
        write(4, "late", 0)
    assert numbers() == [3]
    found = list(commits(target.path))
    assert [commit.metadata and commit.metadata.run_id for commit in found] == ["second", "first"]
    assert found[0].metadata == metadata("second", ONE), "what a commit says of itself can be read back"


def test_an_answer_lost_after_the_commit_is_recognized(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks between the commit and its answer: the log says that it is ours."""
    target = delta_writer.Target(tmp_path / "t", "t", NUMBERS)
    create, replace = create_table_with_add_actions, DeltaTable.create_write_transaction

    def losing_the_answer(commit: Callable[..., None]) -> Callable[..., None]:
        def committed(*arguments: Any, **options: Any) -> None:
            commit(*arguments, **options)
            raise DeltaError("connection reset by peer")

        return committed

    monkeypatch.setattr(
        "lakehouse_assets.platform.storage.commit.create_table_with_add_actions", losing_the_answer(create)
    )
    monkeypatch.setattr(DeltaTable, "create_write_transaction", losing_the_answer(replace))
    frame = spark.createDataFrame([(ONE, 1)], NUMBERS)
    assert delta_writer.append(frame, target, metadata("mine", ONE), None) == 0
    assert delta_writer.append(frame, target, metadata("mine too", ONE), 0) == 1
    assert version_of(target.path) == 1


def test_files_that_may_be_committed_stay(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 dies at the commit: neither its answer nor the log can be had, so nobody knows what it was."""
    driver = LakeDriver.at(spark, tmp_path)
    deliver(driver, [ONE], ("purchase",))
    swap = delta_writer.commit

    def commits_and_dies(*arguments: Any) -> int:
        swap(*arguments)
        raise StoreError("S3 does not answer")

    monkeypatch.setattr(delta_writer, "commit", commits_and_dies)
    with pytest.raises(StoreError):
        driver.make("gmv/bronze/purchase", [ONE])
    assert len(driver.rows("gmv/bronze/purchase", "source_file")) == 3


def test_what_was_computed_from_an_older_version_is_computed_again(
    silver: tuple[LakeDriver, Feeds], tmp_path: Path
) -> None:
    """Two publications pinned the same ledger: the second sees what the first has appended."""
    driver, feeds = unpublished(silver[0], tmp_path), silver[1]
    gold = driver.catalog.table(TableKey.parse(GOLD))
    stale = make_plan(driver.lake, gold, [ONE])
    driver.make(GOLD, [ONE])
    outcome = materialize(Step(driver.spark, driver.lake, driver.catalog, "stale"), gold, [ONE], plan=stale)
    assert (stale.base, outcome.base, outcome.version) == (None, 0, 1)
    ledger = driver.rows(GOLD, *LEDGER)
    assert len(ledger) == len(figures(feeds.events(), ONE)), "nothing twice"
    assert as_of(ledger, None) == figures(feeds.events(), ONE)


def test_the_ledger_refuses_to_be_rewritten(silver: tuple[LakeDriver, Feeds], tmp_path: Path) -> None:
    driver = unpublished(silver[0], tmp_path)
    driver.make(GOLD, [ONE])
    before = driver.rows(GOLD, *LEDGER)
    path = driver.lake.path(TableKey.parse(GOLD))
    for statement in ("DELETE FROM delta.`{}`", "UPDATE delta.`{}` SET gmv = 0"):
        with pytest.raises(PySparkException, match="DELTA_CANNOT_MODIFY_APPEND_ONLY"):
            driver.spark.sql(statement.format(path)).collect()
    assert driver.rows(GOLD, *LEDGER) == before
    (commit,) = commits(path)
    assert commit.metadata is not None
    assert commit.metadata.published == ONE
    assert commit.metadata.inputs["purchase"] == InputVersion(0, f"..{ONE}"), "the commit says what it was made from"


def test_predicates_are_built_from_days_only() -> None:
    assert delta_writer.days_predicate("feed_day", [DAYS[3], ONE, TWO]) == (
        "(feed_day >= DATE'2023-02-01' AND feed_day <= DATE'2023-02-02')"
        " OR (feed_day >= DATE'2023-02-04' AND feed_day <= DATE'2023-02-04')"
    )
    with pytest.raises((AttributeError, TypeError)):
        delta_writer.days_predicate("feed_day", ["2023-02-01' OR 1=1 --"])  # type: ignore[list-item]


# Replaces a day by rows that take 0.1 s each, and says so when the server is at work.
SLOW_WRITE = """
import sys
from datetime import date
from pathlib import Path
from lakehouse_assets.platform.storage import delta_writer
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata
from lakehouse_assets.platform.storage.delta_table import version_of
from lakehouse_assets.platform.runtime.sessions import open_session
from lakehouse_assets.settings import settings

path, day = Path(sys.argv[1]), date.fromisoformat(sys.argv[2])
spark = open_session(settings(), "killed")
table = spark.read.format("delta").load(str(path))
spark.registerProgressHandler(
    lambda stages, inflight_tasks, operation_id, done: print("running", flush=True) if inflight_tasks else None
)
slow = spark.range(0, 60, 1, 1).where("reflect('java.lang.Thread', 'sleep', 100L) IS NOT NULL")
wrong = slow.crossJoin(table.where(f"feed_day = DATE'{day}'").limit(1)).drop("id")
target = delta_writer.Target(path, "gmv/silver/purchase", table.schema)
note = CommitMetadata("gmv/silver/purchase", "killed", "killed#1", frozenset([day]), "code", {})
try:
    delta_writer.replace_days(wrong, target, note, version_of(path), "feed_day", [day])
except delta_writer.ConcurrentCommit:
    sys.exit(3)
"""


@pytest.mark.parametrize("client", ["killed", "asleep, and woken up when all is done"])
def test_a_spark_job_that_outlives_its_client_changes_nothing_that_a_reader_sees(
    spark: SparkSession, tmp_path: Path, client: str
) -> None:
    """The server works on to the end: its files have no name in the log, and get none when it is too late."""
    driver = LakeDriver.at(spark, tmp_path)
    deliver(driver, DAYS[:2], ("purchase",))
    to_silver(driver, DAYS[:2], ("purchase",))
    columns = [name for name in driver.read("gmv/silver/purchase").columns if name != "processed_date"]
    undisturbed = driver.rows("gmv/silver/purchase", *columns)
    path = driver.lake.path(TableKey.parse("gmv/silver/purchase"))
    writing = in_another_process(SLOW_WRITE, path, ONE)
    assert writing.stdout is not None
    assert writing.stdout.readline() == "running\n"
    writing.send_signal(signal.SIGKILL if client == "killed" else signal.SIGSTOP)
    driver.make("gmv/silver/purchase", [ONE])
    version = version_of(path)
    await_end_of_unnamed_write(path)
    writing.send_signal(signal.SIGCONT)
    assert writing.wait(60) == (-signal.SIGKILL if client == "killed" else 3), "woken up, it has lost the race"
    assert version_of(path) == version
    assert driver.rows("gmv/silver/purchase", *columns) == undisturbed
    assert "killed" not in {commit.metadata.run_id for commit in commits(path) if commit.metadata}


def await_end_of_unnamed_write(path: Path) -> None:
    """Until files lie in an attempt of which no version names one."""
    named = {
        Path(file.at(path)).parents[1] for version in (0, 1) for file in active_files(DeltaTable(str(path), version))
    }
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        attempts = {file.parents[0] for file in path.glob("attempt-*/*.parquet")} - named
        if attempts:
            return
        time.sleep(0.1)
    raise AssertionError("the server's write did not end")


# Publishes, and dies by force at the very moment at which its commit has succeeded.
DIES_AFTER_COMMIT = """
import os, sys
from datetime import date
from pathlib import Path
from lakehouse_assets.platform.runtime.sessions import open_session
from lakehouse_assets.settings import settings
from lakehouse_assets_tests.lake_driver import LakeDriver

os.environ["LAKEHOUSE_FAILPOINT"] = f"after-swap:{sys.argv[2]}"
driver = LakeDriver.at(open_session(settings(), "killed"), Path(sys.argv[1]))
driver.runs = 100
driver.make(sys.argv[2], [date.fromisoformat(day) for day in sys.argv[3:]])
"""


def test_a_run_killed_after_its_commit_is_run_again_and_appends_nothing(
    silver: tuple[LakeDriver, Feeds], spark_home: Settings, tmp_path: Path
) -> None:
    """Nothing was recorded but the commit itself: neither audit nor event."""
    driver, feeds = unpublished(silver[0], tmp_path), silver[1]
    killed = in_another_process(DIES_AFTER_COMMIT, tmp_path, GOLD, ONE, TWO)
    assert killed.wait(timeout=120) == -signal.SIGKILL
    ledger = driver.rows(GOLD, *LEDGER, "run_id")
    assert {row[-1] for row in ledger} == {"run-101"}
    driver.make(GOLD, [ONE, TWO])
    assert driver.rows(GOLD, *LEDGER, "run_id") == ledger
    answers = {day: as_of([row[:-1] for row in ledger], day) for day in (ONE, TWO)}
    assert answers == {day: figures(feeds.events(), day) for day in (ONE, TWO)}


# Waits for a line, then makes bronze, silver and gold of its days.
BACKFILL = """
import sys
from datetime import date
from pathlib import Path
from lakehouse_assets.platform.runtime.sessions import close_session, open_session
from lakehouse_assets.settings import settings
from lakehouse_assets_tests.lake_driver import LakeDriver

spark = open_session(settings(), sys.argv[2])
driver = LakeDriver.at(spark, Path(sys.argv[1]))
driver.runs = int(sys.argv[2])
days = [date.fromisoformat(day) for day in sys.argv[3:]]
print("ready", flush=True)
input()
for table in ("bronze/purchase", "bronze/product_item", "silver/purchase", "silver/product_item", "gold/gmv"):
    driver.make(f"gmv/{table}", days)
close_session(spark)
"""


def test_two_overlapping_backfills_at_once_end_in_the_right_tables(spark: SparkSession, tmp_path: Path) -> None:
    """From an empty lake: they race for the first commit of every table, and of the journals."""
    driver = LakeDriver.at(spark, tmp_path)
    tables = ("purchase", "product_item")
    feeds = deliver(driver, DAYS, tables)
    backfills = [
        in_another_process(BACKFILL, tmp_path, 100, *DAYS[:3]),
        in_another_process(BACKFILL, tmp_path, 200, *DAYS[1:]),
    ]
    for backfill in backfills:
        assert backfill.stdout is not None
        assert backfill.stdout.readline() == "ready\n"
    for backfill in backfills:
        assert backfill.stdin is not None
        backfill.stdin.write("go\n")
        backfill.stdin.flush()
    assert [backfill.wait(timeout=300) for backfill in backfills] == [0, 0]
    for layer in ("bronze", "silver"):
        for table in tables:
            days = [day for (day,) in driver.rows(f"gmv/{layer}/{table}", "feed_day")]
            assert days == [day for day in DAYS for _ in range(3)]
    driver.runs = 300
    driver.make(GOLD, [DAYS[-1]])  # whichever published last may have begun before the other's silver was there
    ledger = driver.rows(GOLD, *LEDGER)
    assert as_of(ledger, None) == figures(feeds.events(), DAYS[-1])
