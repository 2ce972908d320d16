"""A run killed with `kill -9` at every named place: run again, tables and Dagster's record are those of a quiet run."""

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from dagster import DagsterRunStatus

from lakehouse_assets.platform.common.fault_injection import VARIABLE, Failpoint
from lakehouse_assets.platform.runtime.spark_server import ensure_server, server_status, stop_server
from lakehouse_assets.settings import Settings, settings
from lakehouse_assets_tests.dagster_lake import DagsterLake, dagster_lake, marketplace_day

pytestmark = pytest.mark.slow

D1, D2 = date(2023, 4, 1), date(2023, 4, 2)
BRONZE, SILVER = "gmv/bronze/purchase", "gmv/silver/purchase"
COMMAND = [str(Path(sys.executable).with_name("dagster")), "asset", "materialize", "-m", "lakehouse_assets.definitions"]


def start(tables: str | list[str], first: date, last: date, **environment: str) -> "subprocess.Popen[bytes]":
    """Materialize a range of days in a process of its own, by Dagster's own command."""
    selection = " or ".join(f'key:"{table}"' for table in ([tables] if isinstance(tables, str) else tables))
    return subprocess.Popen(
        [*COMMAND, "--select", selection, "--partition-range", f"{first}...{last}"],
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def clear(lake: DagsterLake) -> None:
    """What run monitoring does about a run whose process is gone."""
    for run in lake.instance.get_runs():
        if run.status is DagsterRunStatus.STARTED:
            lake.instance.report_run_failed(run)


def record(lake: DagsterLake, table: str) -> dict[str, object]:
    """What Dagster shows of a table: per day the newest digest and rows, and each check's result."""
    shown: dict[str, object] = {}
    for day, events in lake.materializations(table).items():
        tags = events[-1].tags or {}
        shown[day] = (tags["dagster/data_version"].partition(":")[2], events[-1].metadata["rows_in"].value)
    for check in ("contract", "conservation"):
        shown[check] = lake.check_days(table, check)
    return shown


@pytest.fixture(scope="module")
def fed(spark_home: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with its bronze days made."""
    folder = tmp_path_factory.mktemp("fed")
    with dagster_lake(folder) as lake:
        feed(lake)
    return folder


@pytest.fixture
def lake(fed: Path, tmp_path: Path) -> Iterator[DagsterLake]:
    """A copy of that lake, of the test's own."""
    shutil.copytree(fed, tmp_path / "copy")
    with dagster_lake(tmp_path / "copy") as found:
        yield found


def feed(lake: DagsterLake) -> None:
    """Two days of purchases, of which one cannot be read: silver writes table and quarantine."""
    for day in (D1, D2):
        rows = marketplace_day(day, 5)["purchase", day]
        lake.land({("purchase", day): [rows[0] | {"release_date": "soon"}, *rows[1:]]})
    assert lake.run([BRONZE], D1, D2).success


@pytest.fixture(scope="module")
def undisturbed(spark_home: Settings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Tables and record of the same feed where nothing was killed."""
    with dagster_lake(tmp_path_factory.mktemp("undisturbed")) as lake:
        feed(lake)
        assert lake.run([SILVER], D1, D2).success
        return lake.tables() | {"record": record(lake, SILVER)}


@pytest.mark.parametrize("place", Failpoint, ids=lambda place: place.value)
def test_killed_at_a_named_place_then_run_again(
    lake: DagsterLake, undisturbed: dict[str, object], place: Failpoint
) -> None:
    killed = start(SILVER, D1, D2, **{VARIABLE: f"{place.value}:{SILVER}"})
    assert killed.wait(120) == -signal.SIGKILL
    clear(lake)
    assert lake.run([SILVER], D1, D2).success
    assert lake.tables() | {"record": record(lake, SILVER)} == undisturbed


def test_a_place_that_does_not_exist_is_refused(lake: DagsterLake) -> None:
    assert start(SILVER, D1, D2, **{VARIABLE: f"nowhere:{SILVER}"}).wait(120) == 1


ROUNDS = [pytest.param(n, marks=[] if n < 3 else [pytest.mark.random_kills]) for n in range(20)]


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterLake]:
    """A lake with a Spark server of its own, to be killed."""
    home = tmp_path_factory.mktemp("killed")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LAKEHOUSE_HOME", str(home))
        environment.setenv("LAKEHOUSE_SPARK_HEAP", "1g")
        with dagster_lake(home) as lake:
            feed(lake)
            assert lake.run([SILVER], D1, D2).success
            yield lake
            stop_server(settings())
    settings.cache_clear()


@pytest.mark.parametrize("number", ROUNDS)
def test_run_and_server_killed_at_random(own_server: DagsterLake, undisturbed: dict[str, object], number: int) -> None:
    """The run is killed in even rounds, the server in odd ones, at a moment drawn from the round's number."""
    lake, moment = own_server, random.Random(number).uniform(1.0, 9.0)
    run = start(SILVER, D1, D2)
    with suppress(subprocess.TimeoutExpired):
        run.wait(moment)
    if number % 2:
        server = server_status(settings()).pid
        assert server is not None
        os.kill(server, signal.SIGKILL)
        run.wait(120)
    else:
        run.kill()
        run.wait(10)
    clear(lake)
    ensure_server(settings())
    assert lake.run([SILVER], D1, D2).success
    assert lake.tables() | {"record": record(lake, SILVER)} == undisturbed
