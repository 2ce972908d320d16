"""What a run prints: a few lines for each table, however many days it makes; and how far Spark is in between."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql.connect.shell.progress import StageInfo

from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.results.progress import EVERY_SECONDS, SparkProgress, ended
from lakehouse_assets.platform.results.step_result import DayOutcome, Outcome, Status
from lakehouse_assets.platform.storage.commit_metadata import DayRows
from lakehouse_assets.settings import Settings
from lakehouse_assets_tests.dagster_lake import DagsterLake, dagster_lake, marketplace_day

KEY = TableKey("gmv", "silver", "purchase")
FIRST = date(2023, 1, 1)
DAYS = [FIRST + timedelta(days=n) for n in range(12)]


@dataclass
class Clock:
    """Seconds, as a test sets them."""

    seconds: float = 0.0
    message: list[str] = field(default_factory=list)

    def __call__(self) -> float:
        return self.seconds


def stage(done: int, of: int, megabytes: int) -> StageInfo:
    return StageInfo(stage_id=0, num_tasks=of, num_completed_tasks=done, num_bytes_read=megabytes * 10**6, done=False)


def test_every_ten_seconds_a_line_says_how_far_spark_is() -> None:
    clock = Clock()
    progress = SparkProgress(KEY, clock.message.append, clock)
    for second in range(0, 61, 2):
        clock.seconds = second
        progress([stage(second, 60, 3), stage(0, 40, 0)], 2, "operation", done=False)
    assert len(clock.message) == 60 // EVERY_SECONDS
    assert clock.message[0] == "gmv/silver/purchase: Spark finished 10 of 100 tasks, 3.0 MB read"
    assert clock.message[-1] == "gmv/silver/purchase: Spark finished 60 of 100 tasks, 3.0 MB read"


def test_a_write_of_a_moment_says_nothing() -> None:
    clock = Clock()
    progress = SparkProgress(KEY, clock.message.append, clock)
    clock.seconds = EVERY_SECONDS - 1
    progress([stage(1, 2, 1)], 1, "operation", done=False)
    clock.seconds = EVERY_SECONDS + 1
    progress([stage(2, 2, 1)], 0, "operation", done=True)
    assert clock.message == []


def test_the_last_line_of_a_step_counts_its_days_and_its_rows() -> None:
    def day(number: int, status: Status, rows: DayRows, *, unchanged: bool = False) -> DayOutcome:
        return DayOutcome(DAYS[number], status, rows, unchanged=unchanged)

    now = datetime.now(UTC)
    days = (
        day(0, Status.COMMITTED, DayRows(1500, 1490, 7, 3, "")),
        day(1, Status.COMMITTED, DayRows(0, 0, 0, 0, ""), unchanged=True),
        day(2, Status.FAILED, DayRows(90, 0, 90, 0, "")),
        day(3, Status.BLOCKED, DayRows(0, 0, 0, 0, "")),
    )
    outcome = Outcome(KEY, "run", "code", {}, 4, 5, days, now, now)
    assert ended(outcome) == (
        "gmv/silver/purchase: 2 days committed in version 5, 1 of them unchanged, 1 of them without rows, "
        "1 day failed, 1 day blocked; 1,490 rows kept, 7 quarantined, 3 exact duplicates"
    )


@pytest.fixture(scope="module")
def lake(spark_home: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterLake]:
    with dagster_lake(tmp_path_factory.mktemp("log")) as lake:
        for day in DAYS:
            lake.land(marketplace_day(day, 3))
        yield lake


def test_a_run_prints_two_lines_a_table_and_records_every_day(lake: DagsterLake) -> None:
    dagster = str(Path(sys.executable).with_name("dagster"))
    done = subprocess.run(
        [
            dagster, "asset", "materialize", "-m", "lakehouse_assets.definitions",
            "--select", 'group:"gmv/*"', "--partition-range", f"{DAYS[0]}...{DAYS[-1]}",
        ],
        capture_output=True, text=True, check=False, env=os.environ,
    )  # fmt: skip
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    tables = [f"gmv/{layer}/{table}" for layer, table in (("bronze", "purchase"), ("gold", "gmv"))]
    by_table = Counter(table for line in printed.splitlines() for table in tables if f" - {table}: " in line)
    assert by_table == dict.fromkeys(tables, 2), printed
    assert f"gmv/bronze/purchase: materializing 12 days, {DAYS[0]}..{DAYS[-1]}" in printed
    assert "gmv/bronze/purchase: 12 days committed in version 0; 36 rows kept" in printed
    for table in tables:
        assert set(lake.materializations(table)) == {str(day) for day in DAYS}
