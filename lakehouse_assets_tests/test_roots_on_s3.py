"""Landed files and tables in buckets of a real S3 server: the same lake as in folders, also when that server dies."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from lakehouse_assets import defs as domains
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.maintenance import maintenance
from lakehouse_assets.platform.orchestration.staleness import Staleness
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.runtime.sessions import close_session, open_session
from lakehouse_assets.platform.transform import step_commit
from lakehouse_assets.serving.publish import publish
from lakehouse_assets.serving.query import known_tables, query
from lakehouse_assets.settings import Settings, settings
from lakehouse_assets_tests.dagster_lake import RUN_TIMES, DagsterLake, Parts, marketplace_day
from lakehouse_assets_tests.gmv_histories import TABLES, write_csv
from lakehouse_assets_tests.lake_driver import LakeDriver
from lakehouse_assets_tests.s3_lake import BUCKET, SERVER, s3_lake

pytestmark = [pytest.mark.slow, pytest.mark.nightly]  # resolves jars of the S3 server and of S3A, which takes minutes

D1, D2 = date(2023, 4, 1), date(2023, 4, 2)
SILVER = "gmv/silver/purchase"
GOLD = ["gmv/gold/gmv", "gmv/gold/gmv_current"]  # made together
DAILY = [f"gmv/{layer}/{table}" for layer in ("bronze", "silver") for table in TABLES]
Tables = dict[str, list[tuple[Any, ...]]]


def feeds() -> Parts:
    """Two days, of which one has a purchase that cannot be read."""
    found = {**marketplace_day(D1, 5), **marketplace_day(D2, 5)}
    first, *rest = found["purchase", D1]
    return found | {("purchase", D1): [first | {"release_date": "soon"}, *rest]}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterLake]:
    """A lake in a bucket, with both days made."""
    with s3_lake(tmp_path_factory.mktemp("s3")) as lake:
        # Of a former version, by which one home alone could write the tables: it means nothing any more.
        (settings().lake / "_lakehouse" / "writer.json").write_bytes(b'{"id": "another", "where": "another home"}')
        lake.land(feeds())
        made = lake.run([*DAILY, *GOLD], D1, D2)
        assert made.success, lake.why(made)
        yield lake


def in_folders(folder: Path, parts: Mapping[tuple[str, date], Any]) -> Tables:
    """The tables of the same feeds in a lake in folders, made by the same server."""
    spark = open_session(settings(), "in folders")
    driver = LakeDriver.at(spark, folder)
    for (table, day), rows in parts.items():
        driver.land(f"gmv/{table}", write_csv(folder / "feeds" / f"{table}-{day}.csv", table, rows), day)
    for table in [*DAILY, GOLD[0]]:
        driver.make(table, [D1, D2])
    close_session(spark)
    here = Settings(home=folder, lake=folder / "lake", landing=folder / "landing")
    found: Tables = {}
    for name in known_tables(here):
        if name.count(".") == 2:
            result = query(here, f"select * from {name}")  # noqa: S608  (names of its own)
            places = [n for n, column in enumerate(result.columns) if column not in RUN_TIMES]
            found[name] = sorted((tuple(row[place] for place in places) for row in result.rows), key=repr)
    return found


def test_the_tables_are_those_of_folders(lake: DagsterLake, tmp_path: Path) -> None:
    found = lake.tables()
    assert len(found["gmv.silver.purchase__quarantine"]) == 1
    assert found == in_folders(tmp_path, feeds())


def test_a_figure_leads_to_its_landed_files(lake: DagsterLake) -> None:
    assert "5 rows, sha256" in lake.cli("lineage", "gmv/silver/product_item", "--day", str(D1)).output
    assert "10" in lake.cli("sql", "select count(*) as n from gmv.silver.product_item").output
    assert "same" in lake.cli("replay", SILVER, "--day", str(D1)).output


def test_days_are_published_to_the_warehouse(lake: DagsterLake) -> None:
    table = discover(domains).table(TableKey.parse(GOLD[0]))
    published = publish(settings(), table, [D1, D2], "test")
    assert [(day.day, day.changed) for day in published] == [(D1, True), (D2, True)]
    assert sum(day.rows for day in published) == len(lake.rows("gmv.gold.gmv"))


def test_nothing_is_behind_and_a_landed_day_is(lake: DagsterLake) -> None:
    """A correction lands: the sensors' comparison sees it, the day is made again, the closed day stays as it was."""
    catalog, here = discover(domains), settings()
    staleness = Staleness(Lake(here.lake, here.landing), catalog)

    def stale_days() -> set[str]:
        assert staleness.refresh()
        return {str(table.key) for table in catalog.tables if table.key.domain == "gmv" and staleness.stale_days(table)}

    assert stale_days() == set()
    as_of = ("sql", "select gmv_date, subsidiary, product_id, gmv from gmv.gold.gmv order by all", "--as-of", str(D1))
    closed, newest = lake.cli(*as_of).output, lake.rows("gmv.gold.gmv_current")
    corrected = [row | {"purchase_value": "900,00"} for row in feeds()["product_item", D2]]
    lake.land({("product_item", D2): corrected}, "--replace")
    assert stale_days() == {"gmv/bronze/product_item"}
    made = lake.run(["gmv/bronze/product_item", "gmv/silver/product_item", *GOLD], D2)
    assert made.success, lake.why(made)
    assert stale_days() == set()
    assert lake.cli(*as_of).output == closed
    assert lake.rows("gmv.gold.gmv_current") != newest


def test_maintenance_merges_files_and_changes_no_row(lake: DagsterLake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of data, journals and manifests."""
    monkeypatch.setattr(maintenance, "FEWEST", 2)
    for day in (D1, D2):  # a file each
        made = lake.run([SILVER], day)
        assert made.success, lake.why(made)
    before = lake.tables()
    done = {row["table"]: row for row in json.loads(lake.cli("maintain", "--format", "json").output)}
    for merged in (SILVER, "gmv/audit", "gmv/landing/purchase"):
        assert done[merged]["files_after"] < done[merged]["files_before"], done
    assert [row["remark"] for row in done.values() if row["remark"]] == []
    assert lake.tables() == before
    assert "same" in lake.cli("replay", SILVER, "--day", str(D1)).output


@contextmanager
def killed_when(pattern: str) -> Iterator[None]:
    """The S3 server dies, as by `kill -9`, as soon as a new object below the tables is there."""
    data = SERVER.folder(settings()) / "data" / BUCKET / "processed"
    before, ended = set(data.glob(pattern)), threading.Event()

    def watch() -> None:
        while not ended.is_set():
            if set(data.glob(pattern)) - before:
                SERVER.stop(settings(), force=True)
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param("gmv/silver/purchase__quarantine/**/*.parquet", id="quarantine half written"),
        pytest.param("gmv/silver/purchase/**/*.parquet", id="files there, no commit"),
        pytest.param("gmv/silver/purchase/_delta_log/*.json", id="committed, answer lost"),
    ],
)
def test_s3_server_killed_in_the_middle_of_a_commit(
    lake: DagsterLake, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run says what happened; the same days again leave the tables of a quiet run."""
    settled = lake.tables()
    monkeypatch.setattr(step_commit, "unchanged_days", lambda *_: frozenset())  # the same rows are written anew
    with killed_when(pattern):
        started = time.monotonic()
        died = lake.run([SILVER], D1, D2)
        took = time.monotonic() - started
    assert SERVER.running(settings()) is None, "nothing of the kind was written"
    assert not died.success
    assert "does not answer" in lake.why(died)
    assert took < 60
    assert "does not answer" in lake.why(lake.run([SILVER], D1)), "while it is down"
    SERVER.start(settings())
    again = lake.run([SILVER], D1, D2)
    assert again.success, lake.why(again)
    assert lake.tables() == settled
    lost = "select * from gmv.audit where status = 'committed' and rows_in <> kept + quarantined + duplicates"
    assert lake.sql(lost) == []
