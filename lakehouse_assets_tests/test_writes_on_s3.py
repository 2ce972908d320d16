"""Writes to tables in a bucket of a real S3 server: what Spark leaves there, who may commit, two homes at once."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from pyspark.errors import PySparkException

from lakehouse_assets import defs as domains
from lakehouse_assets.platform.common.fault_injection import Failpoint
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.runtime.sessions import close_session, open_session
from lakehouse_assets.platform.runtime.spark_launch import NO_DELTA_WRITES
from lakehouse_assets.platform.runtime.spark_server import stop_server
from lakehouse_assets.platform.storage import commit
from lakehouse_assets.platform.storage.data_files import list_parquet
from lakehouse_assets.platform.storage.delta_table import commits, version_of
from lakehouse_assets.platform.storage.location import storage_options
from lakehouse_assets.platform.storage.parquet_files import write_parquet
from lakehouse_assets.platform.storage.s3 import S3Path
from lakehouse_assets.platform.transform import materialize
from lakehouse_assets.settings import settings
from lakehouse_assets_tests.dagster_lake import marketplace_day
from lakehouse_assets_tests.gmv_histories import write_csv
from lakehouse_assets_tests.lake_driver import LakeDriver
from lakehouse_assets_tests.s3_lake import BUCKET, SERVER, s3_lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAYS = [date(2023, 5, day) for day in range(1, 7)]
BRONZE, SILVER = "gmv/bronze/purchase", "gmv/silver/purchase"
served = [pytest.mark.slow, pytest.mark.nightly]  # resolves jars of the S3 server and of S3A, which takes minutes


def test_of_tasks_that_have_not_committed_no_file_is_named(tmp_path: Path) -> None:
    unfinished = ("_temporary/0/b.parquet", "p=1/__magic_job-1/c.parquet", ".d.parquet")
    for name in ("p=1/a.parquet", "_x=1/e.parquet", *unfinished):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [file.name for file, _ in list_parquet(tmp_path)] == ["e.parquet", "a.parquet"]


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[SparkSession]":
    """A session of a home whose roots are in a bucket."""
    with s3_lake(tmp_path_factory.mktemp("s3")):
        session = open_session(settings(), "tests")
        yield session
        close_session(session)


@pytest.fixture
def place(spark: "SparkSession", request: pytest.FixtureRequest) -> S3Path:
    """A prefix of the test's own."""
    assert isinstance(settings().lake, S3Path)
    return S3Path(BUCKET, f"places/{request.node.name}", settings().s3_endpoint)


def objects(place: S3Path) -> list[str]:
    """What the S3 server keeps below a place, folders of unfinished uploads and of temporary files among it."""
    folder = SERVER.folder(settings()) / "data" / place.bucket / place.key
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*"))


class TestServed:
    """With the server."""

    pytestmark = served

    def test_spark_leaves_files_of_committed_tasks_and_nothing_else(self, spark: "SparkSession", place: S3Path) -> None:
        rows = spark.range(0, 100, 1, 3).selectExpr("id", "id % 2 AS half")
        write_parquet(rows, place, None, ["half"])
        files = [file for file, _ in list_parquet(place)]
        assert Counter(file.parent.name for file in files) == {"half=0": 3, "half=1": 3}
        assert [name for name in objects(place) if not name.endswith(".parquet")] == ["half=0", "half=1"]
        assert spark.read.parquet(str(place)).agg({"id": "sum"}).collect()[0][0] == sum(range(100))

    def test_a_job_that_fails_leaves_no_file_not_even_of_its_good_tasks(
        self, spark: "SparkSession", place: S3Path
    ) -> None:
        """By the committers for file systems, those of the first tasks would be there."""
        slept = "reflect('java.lang.Thread', 'sleep', if(id > 90, 100L, 0L))"
        rows = spark.range(0, 100, 1, 8).selectExpr("id", f"if(id = 99, raise_error('broken'), {slept}) AS slept")
        with pytest.raises(PySparkException, match="broken"):
            write_parquet(rows, place, None)
        assert list(list_parquet(place)) == []
        assert [name for name in objects(place) if name.endswith(".parquet")] == []

    def test_sessions_read_delta_tables_and_do_not_write_them(self, spark: "SparkSession", place: S3Path) -> None:
        """Delta's log store in Spark could overwrite a commit of delta-rs."""
        for number in range(3):
            write_deltalake(
                str(place), pa.table({"n": [number]}), mode="append", storage_options=storage_options(place)
            )
        assert spark.read.format("delta").load(str(place)).count() == 3
        assert spark.read.format("delta").option("versionAsOf", 0).load(str(place)).count() == 1
        assert spark.sql(f"SELECT * FROM delta.`{place}` VERSION AS OF 1").count() == 2  # noqa: S608
        assert spark.sql(f"DESCRIBE HISTORY delta.`{place}`").count() == 3
        log = [name for name in objects(place) if name.startswith("_delta_log")]
        rows = spark.range(1).selectExpr("id AS n")
        for write in (
            lambda: rows.write.format("delta").mode("append").save(str(place)),
            lambda: rows.write.format("delta").mode("overwrite").save(str(place)),
            lambda: rows.write.format("delta").save(str(place / "new")),
            *(
                lambda statement=statement: spark.sql(statement.format(f"delta.`{place}`")).collect()
                for statement in (
                    "DELETE FROM {} WHERE n = 1",
                    "UPDATE {} SET n = 5",
                    "MERGE INTO {} t USING (SELECT 1 AS n) s ON t.n = s.n WHEN MATCHED THEN DELETE",
                    "OPTIMIZE {}",
                    "RESTORE {} TO VERSION AS OF 0",
                    "ALTER TABLE {} ADD COLUMN more INT",
                    "ALTER TABLE {} SET TBLPROPERTIES ('delta.appendOnly' = 'true')",
                )
            ),
        ):
            with pytest.raises(PySparkException, match=NO_DELTA_WRITES):
                write()
        assert [name for name in objects(place) if name.startswith("_delta_log")] == log
        assert version_of(place / "new") is None
        assert spark.read.format("delta").load(str(place)).count() == 3

    def test_a_spark_job_that_outlives_its_client_changes_nothing_that_a_reader_sees(
        self, spark: "SparkSession", place: S3Path
    ) -> None:
        write_deltalake(str(place), pa.table({"n": [1]}), storage_options=storage_options(place))
        killed = subprocess.Popen(
            [sys.executable, "-c", SLOW_WRITE, place.key],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert killed.stdout is not None
        assert killed.stdout.readline() == "running\n"
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        while not [name for name in objects(place) if name.startswith("attempt-") and name.endswith(".parquet")]:
            assert spark.range(1).count() == 1
        assert version_of(place) == 0
        assert spark.read.format("delta").load(str(place)).collect() == [(1,)]


# Writes rows that take 0.1 s each, and says so when the server is at work.
SLOW_WRITE = """
import sys
from pyspark.sql.types import LongType, StructField, StructType
from lakehouse_assets.platform.storage import delta_writer
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata
from lakehouse_assets.platform.storage.s3 import S3Path
from lakehouse_assets.platform.runtime.sessions import open_session
from lakehouse_assets.settings import settings

spark = open_session(settings(), "killed")
spark.registerProgressHandler(
    lambda stages, inflight_tasks, operation_id, done: print("running", flush=True) if inflight_tasks else None
)
slow = spark.range(0, 60, 1, 1).where("reflect('java.lang.Thread', 'sleep', 100L) IS NOT NULL").selectExpr("id AS n")
place = S3Path(settings().lake.bucket, sys.argv[1], settings().s3_endpoint)
target = delta_writer.Target(place, "t", StructType([StructField("n", LongType())]))
delta_writer.overwrite(slow, target, CommitMetadata("t", "killed", "killed#1", frozenset(), "code", {}), 0)
"""


@pytest.fixture(scope="module")
def homes(spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LakeDriver, LakeDriver]]:
    """Two homes, each with a Spark server of its own, that write one lake. Bronze is made, and a day of silver."""
    here, catalog = settings(), discover(domains)
    there = here.model_copy(update={"home": tmp_path_factory.mktemp("other"), "spark_heap": "700m"})
    lake = Lake(here.lake, here.landing)
    first, second = LakeDriver(spark, lake, catalog), LakeDriver(open_session(there, "other home"), lake, catalog, 100)
    for day in DAYS:
        rows = marketplace_day(day, 4)["purchase", day]
        first.land("gmv/purchase", write_csv(there.home / f"purchase-{day}.csv", "purchase", rows), day)
    first.make(BRONZE, DAYS)
    first.make(SILVER, DAYS[:1])
    yield first, second
    close_session(second.spark)
    stop_server(there)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often the rows of a step were computed, by the session."""
    found: Counter[int] = Counter()
    write_rows = materialize.write_rows

    def counted(lake: Lake, plan: Any, rows: Any, schema: Any) -> Any:
        found[id(rows.sparkSession)] += 1
        return write_rows(lake, plan, rows, schema)

    monkeypatch.setattr(materialize, "write_rows", counted)
    return found


def before_its_commit(monkeypatch: pytest.MonkeyPatch, other: Callable[[], object]) -> None:
    """The other home makes and commits its days just before the first commit of silver."""
    waiting = [other]

    def reach(point: Failpoint, name: str) -> None:
        if point is Failpoint.BEFORE_SWAP and name == SILVER and waiting:
            waiting.pop()()

    monkeypatch.setattr(commit, "inject_fault", reach)


class TestTwoHomes:
    """That write one bucket."""

    pytestmark = served

    def test_on_disjoint_days_both_win_without_computing_again(
        self, homes: tuple[LakeDriver, LakeDriver], written: Counter[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ours, theirs = homes
        before_its_commit(monkeypatch, lambda: theirs.make(SILVER, [DAYS[2]]))
        outcome = ours.make(SILVER, [DAYS[1]])
        assert written == {id(ours.spark): 1, id(theirs.spark): 1}
        assert outcome.base is not None
        assert outcome.version == outcome.base + 2
        assert [row[0] for row in ours.rows(SILVER, "feed_day")] == [day for day in DAYS[:3] for _ in range(4)]

    def test_on_the_same_day_one_wins_and_the_other_plans_again(
        self, homes: tuple[LakeDriver, LakeDriver], written: Counter[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ours, theirs = homes
        before_its_commit(monkeypatch, lambda: theirs.make(SILVER, [DAYS[3]]))
        outcome = ours.make(SILVER, [DAYS[3]])
        assert written == {id(ours.spark): 2, id(theirs.spark): 1}
        of_theirs = next(c for c in commits(ours.lake.path(TableKey.parse(SILVER))) if c.version == outcome.base)
        assert of_theirs.metadata is not None, "planned again at what the other has committed"
        assert (of_theirs.metadata.run_id, outcome.version) == (f"run-{theirs.runs}", of_theirs.version + 1)
        assert [row[0] for row in ours.rows(SILVER, "feed_day")].count(DAYS[3]) == 4

    def test_at_once(self, homes: tuple[LakeDriver, LakeDriver]) -> None:
        path = homes[0].lake.path(TableKey.parse(SILVER))
        before = version_of(path) or 0
        with ThreadPoolExecutor(2) as pool:
            made = [pool.submit(home.make, SILVER, [day]) for home, day in zip(homes, DAYS[4:], strict=True)]
            assert sorted(one.result().version or 0 for one in made) == [before + 1, before + 2]
        days = [row[0] for row in homes[1].rows(SILVER, "feed_day")]
        assert [days.count(day) for day in DAYS[4:]] == [4, 4]
