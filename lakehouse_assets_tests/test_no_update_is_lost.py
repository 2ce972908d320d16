"""Every way of losing an update, with Dagster's own daemon: gold ends right, and nothing runs where nothing changed.

One lake through all of it, as it would be lived: each test starts where the one before came to rest. Every day has one
purchase, so GMV is the sum of the values landed last.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterRunStatus
from dagster._core.scheduler.instigation import SensorInstigatorData
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from lakehouse_assets.platform.common.fault_injection import VARIABLE, Failpoint
from lakehouse_assets.platform.orchestration.unreported_commits_sensor import EXTERNAL_COMMITS_JOB
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.storage import delta_writer
from lakehouse_assets.platform.storage.commit import WriteError, commit
from lakehouse_assets.platform.storage.target import Target
from lakehouse_assets.platform.transform import materialize
from lakehouse_assets.settings import Settings, settings
from lakehouse_assets_tests.daemon import Daemon, daemon, made
from lakehouse_assets_tests.dagster_lake import DagsterLake, dagster_lake, marketplace_day
from lakehouse_assets_tests.gmv_histories import TABLES, Row

pytestmark = pytest.mark.slow

D1, D2, D3, D4, D5, D6 = (date(2023, 3, 1) + timedelta(days=n) for n in range(6))
ITEM = ("gmv/bronze/product_item", "gmv/silver/product_item")
GOLD = ("gmv/gold/gmv", "gmv/gold/gmv_current")
EVERYTHING = [f"gmv/{layer}/{table}" for layer in ("bronze", "silver") for table in TABLES] + [*GOLD]


@dataclass
class Shop:
    """What was landed, and what the platform made of it."""

    lake: DagsterLake
    daemon: Daemon
    values: dict[date, Decimal] = field(default_factory=dict)

    def open(self, *days: date) -> None:
        """A first delivery of days: one purchase each."""
        for day in days:
            self.lake.land(marketplace_day(day, 1))
            self.values[day] = Decimal("1.50")

    def correct(self, day: date, value: int) -> None:
        """The item of a day's purchase is delivered again, with another value; the other two tables stay."""
        (item,) = marketplace_day(day, 1)["product_item", day]
        again: Row = item | {"purchase_value": f"{value},00", "transaction_datetime": f"{day} 20:00:00"}
        self.lake.land({("product_item", day): [again]}, "--replace")
        self.values[day] = Decimal(value)

    def is_right(self) -> bool:
        """Whether gold says what was landed."""
        ((total,),) = self.lake.sql("select sum(gmv) from gmv.gold.gmv_current")
        return bool(total == sum(self.values.values()))

    def rests(self) -> bool:
        """Whether the sensors ask for nothing."""
        return self.daemon.tick() == []

    def kill_at(self, place: Failpoint, table: str, day: date) -> None:
        """Materialize the table's day in a process that is killed there; then do what run monitoring does."""
        command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "lakehouse_assets.definitions"]
        environment = os.environ | {VARIABLE: f"{place.value}:{table}"}
        killed = subprocess.run(
            [*command, "--select", f'key:"{table}"', "--partition", str(day)], env=environment, capture_output=True
        )
        assert killed.returncode == -9, killed.stderr.decode()
        for run in self.lake.instance.get_runs():
            if run.status is DagsterRunStatus.STARTED:
                self.lake.instance.report_run_failed(run)


@pytest.fixture(scope="module")
def shop(spark_home: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with dagster_lake(tmp_path_factory.mktemp("shop")) as lake, daemon(lake) as running:
        shop = Shop(lake, running)
        shop.open(D1, D2, D3)
        assert [made(run) for run in running.settle()] == [{name.partition("/")[2] for name in EVERYTHING}]
        assert shop.is_right()
        yield shop


def test_a_late_day_and_only_one_of_three_inputs(shop: Shop) -> None:
    shop.correct(D1, 10)
    (run,) = shop.daemon.settle()
    assert made(run) == {"bronze/product_item", "silver/product_item", "gold/gmv", "gold/gmv_current"}
    assert shop.is_right()


def test_an_update_in_the_tick_after_a_request(shop: Shop) -> None:
    shop.correct(D2, 20)
    (asked,) = shop.daemon.tick()
    shop.correct(D2, 21)
    assert shop.rests(), "one run in flight per table"
    assert shop.daemon.run(asked)
    shop.daemon.settle()
    assert shop.is_right()


def test_an_update_while_gold_runs(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    transformed = materialize.transformed

    def late(step: Step, plan: Any) -> Any:
        if plan.table.key.name == "gmv":
            monkeypatch.undo()
            shop.correct(D3, 31)
            shop.lake.run(ITEM, D3)
        return transformed(step, plan)

    shop.correct(D3, 30)
    (asked,) = shop.daemon.tick()
    monkeypatch.setattr(materialize, "transformed", late)
    assert shop.daemon.run(asked)
    assert not shop.is_right(), "gold pinned what there was when it began"
    (run,) = shop.daemon.settle()
    assert made(run) == {"gold/gmv", "gold/gmv_current"}
    assert shop.is_right()


@pytest.mark.parametrize("tables", [GOLD, (*ITEM, *GOLD)], ids=["alone", "with silver in the same run"])
def test_a_failed_gold_run(shop: Shop, monkeypatch: pytest.MonkeyPatch, tables: tuple[str, ...]) -> None:
    shop.correct(D3, 40 + len(tables))
    if tables == GOLD:
        shop.lake.run(ITEM, D3)
    with monkeypatch.context() as broken:
        broken.setattr(delta_writer, "commit", _fails)
        assert not shop.lake.run(tables, D3).success
    (run,) = shop.daemon.settle()
    assert made(run) == {"gold/gmv", "gold/gmv_current"}, "silver is not made again"
    assert shop.is_right()


def test_a_range_run_of_which_gold_fails(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.open(D4, D5)
    with monkeypatch.context() as broken:
        broken.setattr(delta_writer, "commit", _fails)
        assert not shop.lake.run(EVERYTHING, D4, D5).success
    (run,) = shop.daemon.settle()
    assert made(run) == {"gold/gmv", "gold/gmv_current"}
    assert shop.is_right()


def _fails(target: Target, *arguments: Any) -> int:
    if target.name == "gmv/gold/gmv":
        raise WriteError("the disk is full")
    return commit(target, *arguments)


def test_a_failed_check_and_its_repair(shop: Shop) -> None:
    good = marketplace_day(D6, 1)
    bad = [row | {"release_date": "soon", "purchase_id": str(n)} for row in good["purchase", D6] for n in range(120)]
    shop.lake.land(good | {("purchase", D6): bad})
    shop.daemon.settle()
    assert shop.lake.check_days("gmv/silver/purchase", "contract")["FAILED"] == {str(D6)}
    assert shop.is_right(), "gold of the days before stands, the bad day waits"
    shop.lake.land({("purchase", D6): good["purchase", D6]}, "--replace")
    shop.values[D6] = Decimal("1.50")
    shop.daemon.settle()
    assert str(D6) in shop.lake.check_days("gmv/silver/purchase", "contract")["SUCCEEDED"]
    assert shop.is_right()


def test_daemon_and_code_server_restarted_between_any_two_steps(shop: Shop) -> None:
    shop.correct(D4, 50)
    with daemon(shop.lake, shop.daemon.now) as restarted:
        (asked,) = restarted.tick()
    with daemon(shop.lake, restarted.now) as restarted:
        assert restarted.tick() == [], "the run is still in the queue"
        assert restarted.run(asked)
    with daemon(shop.lake, restarted.now) as restarted:
        assert restarted.settle() == []
    shop.daemon.now = restarted.now
    assert shop.is_right()


def test_a_cursor_lost(shop: Shop) -> None:
    instance = shop.lake.instance
    for state in instance.all_instigator_state():
        assert isinstance(state.instigator_data, SensorInstigatorData)
        instance.update_instigator_state(state.with_data(state.instigator_data._replace(cursor=None)))
    assert shop.daemon.settle() == [], "nothing changed: nothing runs, nothing is reported twice"
    shop.correct(D4, 60)
    shop.daemon.settle()
    assert shop.is_right()


def test_a_commit_by_a_notebook_is_checked_then_counts(shop: Shop, spark: SparkSession) -> None:
    _write(spark, D1, Decimal("70.00"))
    checked, gold = shop.daemon.settle()
    assert (checked.job_name, made(gold)) == (EXTERNAL_COMMITS_JOB, {"gold/gmv", "gold/gmv_current"})
    shop.values[D1] = Decimal("70.00")
    assert shop.is_right()
    newest = shop.lake.materializations("gmv/silver/product_item")[str(D1)][-1]
    assert newest.metadata["code_version"].value == "outside Dagster"


def test_a_notebook_that_breaks_the_contract_blocks_its_day_until_repaired(shop: Shop, spark: SparkSession) -> None:
    _write(spark, D2, Decimal("-1.00"))
    (checked,) = shop.daemon.settle()
    assert checked.job_name == EXTERNAL_COMMITS_JOB
    assert shop.lake.check_days("gmv/silver/product_item", "contract")["FAILED"] == {str(D2)}
    assert "outside Dagster" not in shop.lake.why(shop.lake.run(GOLD, D2)), "judged by now"
    assert shop.is_right(), "gold does not read it"
    assert shop.lake.run(ITEM[1:], D2).success
    shop.daemon.settle()
    assert shop.is_right()


def test_a_run_killed_after_its_commit_and_before_its_event(shop: Shop) -> None:
    shop.correct(D3, 80)
    assert shop.lake.run(ITEM[:1], D3).success
    shop.kill_at(Failpoint.BEFORE_METADATA, ITEM[1], D3)
    version = shop.lake.version(ITEM[1])
    before = len(shop.lake.materializations(ITEM[1])[str(D3)])
    runs = shop.daemon.settle()
    assert len(runs) == 2
    assert EXTERNAL_COMMITS_JOB in [run.job_name for run in runs]
    assert all("silver/product_item" not in made(run) for run in runs), "its day is made: it is only reported"
    events = shop.lake.materializations(ITEM[1])[str(D3)]
    assert (len(events), events[-1].metadata["delta_version"].value) == (before + 1, version)
    recorded = shop.lake.sql(
        "select feed_day, table_version from ops.check_results where \"table\" = 'gmv/silver/product_item'"
    )
    assert (D3, version) in recorded
    assert shop.is_right()


def _write(spark: SparkSession, day: date, value: Decimal) -> None:
    """What a notebook does: change the day's rows in place, without a word to anybody."""
    path: Path = settings().lake / "gmv" / "silver" / "product_item"
    rows = spark.read.format("delta").load(str(path)).where(F.col("feed_day") == F.lit(day)).collect()
    schema = spark.read.format("delta").load(str(path)).schema
    changed = spark.createDataFrame(rows, schema).withColumn("purchase_value", F.lit(value).cast("decimal(18,2)"))
    changed.write.format("delta").mode("overwrite").option("replaceWhere", f"feed_day = '{day}'").save(str(path))
