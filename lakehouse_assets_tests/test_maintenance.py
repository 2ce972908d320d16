"""Compaction and vacuum: fewer files, the same rows, and nobody who writes meanwhile is harmed."""

import json
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql.types import DateType, LongType, StructField, StructType

from lakehouse_assets import defs as domains
from lakehouse_assets.definitions import definitions
from lakehouse_assets.ops import maintenance_job
from lakehouse_assets.ops.maintenance_job import MAINTAIN, Scope
from lakehouse_assets.platform import writer
from lakehouse_assets.platform.catalog import discover
from lakehouse_assets.platform.changes import changed_days
from lakehouse_assets.platform.delta import Note, commits, last_note, open_table, version_of
from lakehouse_assets.platform.errors import LakehouseError
from lakehouse_assets.platform.journal import append, check_results_path
from lakehouse_assets.platform.landing import land, manifest_path, parts
from lakehouse_assets.platform.levels import TableLevels
from lakehouse_assets.platform.maintenance import (
    FEWEST,
    Engine,
    Maintained,
    Place,
    State,
    maintain,
    places,
    spark_once,
    survey,
)
from lakehouse_assets.platform.plan import Lake
from lakehouse_assets.platform.table import TableKey
from lakehouse_assets.settings import settings
from lakehouse_assets_tests.dagster_lake import dagster_lake
from lakehouse_assets_tests.gmv_histories import write_csv

NUMBERS = StructType([StructField("feed_day", DateType()), StructField("n", LongType())])
DAYS = [date(2023, 2, 1) + timedelta(days=n) for n in range(FEWEST)]


def note(attempt: str, *days: date) -> Note:
    return Note("t", attempt, attempt, frozenset(days), "code", {})


class Numbers:
    """A table of one row and one file a day."""

    def __init__(self, spark: SparkSession, path: Path, append_only: bool = False) -> None:
        self.spark = spark
        self.target = writer.Target(path, "t", NUMBERS, append_only)
        self.place = Place("t", path, Engine.SPARK)
        for n, day in enumerate(DAYS):
            self.append(day, n, f"day {n}")

    @property
    def version(self) -> int | None:
        return version_of(self.target.path)

    def append(self, day: date, n: int, attempt: str, base: int | None = -1) -> int:
        frame = self.spark.createDataFrame([(day, n)], NUMBERS)
        return writer.append(frame, self.target, note(attempt, day), self.version if base == -1 else base)

    def replace(self, day: date, n: int, attempt: str, base: int) -> int:
        frame = self.spark.createDataFrame([(day, n)], NUMBERS)
        return writer.replace_days(frame, self.target, note(attempt, day), base, "feed_day", [day])

    def compact(self) -> int:
        maintain(survey(self.place), spark_once(lambda: self.spark))
        return survey(self.place).files

    def rows(self) -> list[int]:
        return sorted(row.n for row in self.spark.read.format("delta").load(str(self.target.path)).collect())


@pytest.mark.slow
def test_compaction_changes_no_row_and_no_day(spark: SparkSession, tmp_path: Path) -> None:
    numbers = Numbers(spark, tmp_path / "t", append_only=True)
    levels = TableLevels(tmp_path / "t")
    levels.read_on()
    before, base = dict(levels.changed), numbers.version
    assert base is not None
    assert survey(numbers.place).due
    assert numbers.compact() == 1
    assert numbers.rows() == list(range(FEWEST))
    levels.read_on()
    assert levels.changed == before, "maintenance is no change"
    assert changed_days(tmp_path / "t", base, base + 1) == frozenset()
    assert last_note(tmp_path / "t") == note(f"day {FEWEST - 1}", DAYS[-1])
    assert len([commit for commit in commits(tmp_path / "t") if commit.note]) == FEWEST
    assert spark.read.format("delta").option("versionAsOf", base).load(str(tmp_path / "t")).count() == FEWEST
    assert not survey(numbers.place).due
    version = numbers.version
    numbers.compact()
    assert numbers.version == version, "nothing to do, nothing done"


@pytest.mark.slow
def test_writers_that_started_before_and_after_a_compaction_do_not_both_win(
    spark: SparkSession, tmp_path: Path
) -> None:
    numbers = Numbers(spark, tmp_path / "t")
    before = numbers.version
    numbers.compact()
    after = numbers.version
    assert before != after
    numbers.append(DAYS[0], 100, "started before", before)
    with pytest.raises(writer.LostRace):
        numbers.append(DAYS[0], 101, "started after", after)
    assert numbers.rows() == [*range(FEWEST), 100]
    assert numbers.append(DAYS[0], 102, "again") == numbers.version


@pytest.mark.slow
def test_a_day_is_replaced_across_a_compaction(spark: SparkSession, tmp_path: Path) -> None:
    numbers = Numbers(spark, tmp_path / "t")
    base = numbers.version
    assert base is not None
    numbers.compact()
    numbers.replace(DAYS[2], 200, "started before", base)
    assert numbers.rows() == sorted({*range(FEWEST), 200} - {2}), "exactly that day, though its file holds others"


def test_journals_are_compacted_by_their_own_engine(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake", tmp_path / "landing")
    path = check_results_path(lake.tables)
    for n in range(FEWEST):
        append(path, pa.table({"n": [n]}))
    (place,) = places(lake, discover(domains), "ops")
    assert place.engine is Engine.DELTA_RS
    done = maintain(survey(place), spark_once(pytest.fail))
    assert (done.before.files, done.files) == (FEWEST, 1)
    table = open_table(path)
    assert table is not None
    assert table.count() == FEWEST
    log = path / "_delta_log" / f"{table.version():020d}.json"
    changes = [json.loads(line) for line in log.read_text().splitlines()]
    assert not any(change.get("add", change.get("remove", {})).get("dataChange") for change in changes)


def land_days(lake: Lake, folder: Path) -> None:
    """A file a day."""
    source = discover(domains).table(TableKey("gmv", "bronze", "purchase_extra_info")).source
    assert source is not None
    for day in DAYS:
        rows = [
            {
                "transaction_datetime": f"{day} 09:00:00",
                "transaction_date": str(day),
                "purchase_id": "1",
                "subsidiary": "x",
            }
        ]
        file = write_csv(folder / f"{day}.csv", "purchase_extra_info", rows)
        land(lake.landing, "gmv/purchase_extra_info", source, file, today=date(2026, 1, 1))


def test_the_manifest_of_landed_files_keeps_every_version(tmp_path: Path) -> None:
    lake, catalog = Lake(tmp_path / "lake", tmp_path / "landing"), discover(domains)
    land_days(lake, tmp_path)
    path = manifest_path(lake.landing, "gmv/purchase_extra_info")
    known = [parts(lake.landing, "gmv/purchase_extra_info", version=version) for version in range(FEWEST)]
    (place,) = places(lake, catalog, "gmv/landing")
    assert maintain(survey(place), spark_once(pytest.fail)).files == 1
    assert [parts(lake.landing, "gmv/purchase_extra_info", version=v) for v in range(FEWEST)] == known
    assert parts(lake.landing, "gmv/purchase_extra_info") == known[-1]
    assert changed_days(path, FEWEST - 1, FEWEST) == frozenset()


def test_every_night_a_run_does_it(tmp_path: Path) -> None:
    """Landed files alone: their manifest needs no Spark."""
    with dagster_lake(tmp_path) as lake, dg.DagsterInstance.ephemeral() as instance:
        land_days(Lake(settings().lake, settings().landing), tmp_path)
        job = definitions.resolve_job_def(MAINTAIN)
        result = job.execute_in_process(instance=instance)
        (output,) = [e for e in result.all_events if e.is_successful_output]
        (row,) = output.step_output_data.metadata["files"].records
        assert dict(row.data) == {
            "table": "gmv/landing/purchase_extra_info", "before": FEWEST, "after": 1, "removed": 0, "remark": "",
        }  # fmt: skip
        assert lake.cli("maintain", "--dry-run", "gmv/landing").output.count(" no ") == 1, "nothing is left to do"
        only = dg.RunConfig({"compact_and_vacuum": Scope(only="gmv/silver/purchases")})
        failed = job.execute_in_process(instance=instance, run_config=only, raise_on_error=False)
        assert not failed.success
    (nightly,) = [one for one in definitions.schedules or () if one.name == f"{MAINTAIN}_nightly"]
    assert isinstance(nightly, dg.ScheduleDefinition)
    assert nightly.default_status is dg.DefaultScheduleStatus.RUNNING


def test_a_table_that_cannot_be_maintained_does_not_keep_the_others_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def maintained(state: State, session: object) -> Maintained:
        if state.place.name == "gmv/landing/purchase_extra_info":
            raise LakehouseError("it could not be compacted")
        return maintain(state, session)  # type: ignore[arg-type]

    monkeypatch.setattr(maintenance_job, "maintain", maintained)
    with dagster_lake(tmp_path), dg.DagsterInstance.ephemeral() as instance:
        land_days(Lake(settings().lake, settings().landing), tmp_path)
        journal = check_results_path(settings().lake)
        for n in range(FEWEST):
            append(journal, pa.table({"n": [n]}))
        job = definitions.resolve_job_def(MAINTAIN)
        result = job.execute_in_process(instance=instance, raise_on_error=False)
        (failed,) = [e for e in result.all_events if e.is_step_failure]
        said = failed.step_failure_data.user_failure_data
        assert said is not None
        assert said.description is not None
        assert "gmv/landing/purchase_extra_info" in said.description
        assert len((open_table(journal) or pytest.fail("no journal")).file_uris()) == 1, "the next one was maintained"


def test_an_unknown_table_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(LakehouseError, match="no table gmv/silver/purchases"):
        places(Lake(tmp_path, tmp_path), discover(domains), "gmv/silver/purchases")
