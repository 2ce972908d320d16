"""The challenge's own events, landed as files and materialized in every way: the same answers as of every day."""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from pyspark.sql import SparkSession

from lakehouse_assets.settings import Settings
from lakehouse_assets_tests.dagster_lake import DagsterLake, dagster_lake
from lakehouse_assets_tests.gmv_histories import CHALLENGE_AS_OF, COLUMNS, TABLES, challenge, write_csv
from lakehouse_assets_tests.gmv_model import Key
from lakehouse_assets_tests.lake_driver import LakeDriver
from lakehouse_assets_tests.test_gmv_in_the_lake import LEDGER, as_of

FIRST, LAST = date(2023, 1, 20), date(2023, 7, 16)
PUBLISHED = (date(2023, 3, 31), LAST)  # days without a file on which somebody asks for figures
ORIGINALS = Path(__file__).parents[2] / "shared" / "data" / "gmv"


@pytest.fixture(scope="module")
def in_dagster(spark_home: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterLake]:
    """The challenge as a user runs it: `lakehouse land`, then one range by Dagster's own command line."""
    with dagster_lake(tmp_path_factory.mktemp("challenge")) as lake:
        for table in TABLES:
            rows = [row for (name, _), part in challenge().items() if name == table for row in part]
            lake.cli("land", f"gmv/{table}", str(write_csv(lake.folder / f"{table}.csv", table, rows)))
        materialize_by_command()
        yield lake


def materialize_by_command() -> None:
    """`dagster asset materialize` over the whole range, in a process of its own."""
    command = [
        str(Path(sys.executable).with_name("dagster")), "asset", "materialize", "-m", "lakehouse_assets.definitions",
        "--select", 'group:"gmv/*"', "--partition-range", f"{FIRST}...{LAST}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def told(lake: DagsterLake, day: date) -> dict[Key, tuple[Decimal, int]]:
    """What `lakehouse gmv --as-of` says, vanished keys left out."""
    output = lake.cli("gmv", "--as-of", str(day), "--by", "subsidiary,product", "--format", "json").stdout
    return {
        (date.fromisoformat(row["gmv_date"]), row["subsidiary"], row["product_id"]): (
            Decimal(row["gmv"]),
            row["purchases"],
        )
        for row in json.loads(output)
        if row["purchases"]
    }


def test_the_events_are_those_of_the_challenge() -> None:
    if not ORIGINALS.is_dir():
        pytest.skip(f"the challenge's files are not beside this checkout: {ORIGINALS}")
    for table in TABLES:
        with (ORIGINALS / f"{table}_events.csv").open(encoding="utf-8", newline="") as file:
            original = list(csv.DictReader(file))
        assert tuple(original[0]) == COLUMNS[table]
        assert original == [row for (name, _), part in challenge().items() if name == table for row in part]


def test_one_range_gives_the_answers_worked_out_by_hand(in_dagster: DagsterLake) -> None:
    assert {day: told(in_dagster, day) for day in CHALLENGE_AS_OF} == CHALLENGE_AS_OF


def test_the_figures_by_subsidiary_are_json_rows_of_these_keys(in_dagster: DagsterLake) -> None:
    january = in_dagster.cli("gmv", "--as-of", "2023-03-31", "--month", "2023-01", "--format", "json").stdout
    assert json.loads(january) == [
        {
            "gmv_date": "2023-01-20",
            "subsidiary": "nacional",
            "gmv": "50.00",
            "purchases": 1,
            "effective_date": "2023-01-23",
            "version": 1,
        },
        {
            "gmv_date": "2023-01-20",
            "subsidiary": "unknown",
            "gmv": "0.00",
            "purchases": 0,
            "effective_date": "2023-01-23",
            "version": 2,
        },
    ]
    assert json.loads(in_dagster.cli("gmv", "--as-of", "2023-01-19", "--format", "json").stdout) == []


def test_everything_twice_changes_nothing(in_dagster: DagsterLake) -> None:
    before = in_dagster.tables()
    assert len(before) == 8
    ledger = in_dagster.rows("gmv.gold.gmv", *LEDGER, "run_id", "processed_at")
    materialize_by_command()
    assert in_dagster.tables() == before
    again = in_dagster.rows("gmv.gold.gmv", *LEDGER, "run_id", "processed_at")
    assert again == ledger, "nothing was appended, and nothing written anew"


@pytest.mark.slow
def test_day_by_day_in_order_gives_the_same(spark: SparkSession, tmp_path: Path) -> None:
    """Only days on which something is delivered or asked for: the days between are carried forward."""
    driver = LakeDriver.at(spark, tmp_path)
    for day in sorted({*(day for _, day in challenge()), *PUBLISHED}):
        for (table, delivered), rows in challenge().items():
            if delivered == day:
                driver.land(f"gmv/{table}", write_csv(tmp_path / f"{table}-{day}.csv", table, rows))
                driver.make(f"gmv/bronze/{table}", [day])
                driver.make(f"gmv/silver/{table}", [day])
        driver.make("gmv/gold/gmv", [day])
    ledger = driver.rows("gmv/gold/gmv", *LEDGER)
    assert {day: as_of(ledger, day) for day in CHALLENGE_AS_OF} == CHALLENGE_AS_OF


def test_gold_in_random_order_gives_the_same_once_silver_is_complete(
    spark: SparkSession, tmp_path: Path, in_dagster: DagsterLake
) -> None:
    driver = LakeDriver.at(spark, tmp_path)
    (driver.lake.tables / "gmv").mkdir(parents=True)
    silver = in_dagster.folder / "root" / "lake" / "gmv" / "silver"
    (driver.lake.tables / "gmv" / "silver").symlink_to(silver)
    days = [day for day in CHALLENGE_AS_OF if day >= FIRST]
    for day in Random(1).sample([*Random(1).sample(days, 4), LAST], 5):
        driver.make("gmv/gold/gmv", [day])
    ledger = driver.rows("gmv/gold/gmv", *LEDGER)
    assert {day: as_of(ledger, day) for day in CHALLENGE_AS_OF} == CHALLENGE_AS_OF
