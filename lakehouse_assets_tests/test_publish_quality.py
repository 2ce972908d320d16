"""Check results and quarantine counts in a real PostgreSQL: all of them, once, whatever happened to the journal."""

import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.test_utils import freeze_time
from deltalake import DeltaTable, write_deltalake

from lakehouse_assets import defs as domains
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.orchestration.run_records import LONGEST_PAUSE, TRIES
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.results.audit_log import CHECK_RESULTS, append, check_results_path
from lakehouse_assets.serving import postgres
from lakehouse_assets.serving import publish_quality as publish_quality_module
from lakehouse_assets.serving.catch_up import catch_up
from lakehouse_assets.serving.postgres import connect
from lakehouse_assets.serving.publish_quality import QualityPublished, publish_quality, stale_days
from lakehouse_assets.serving.quality_tables import CheckResult
from lakehouse_assets.serving.query import query
from lakehouse_assets.serving.warehouse_quality import KEYS, quality_assets, quality_sensor
from lakehouse_assets.settings import Settings, settings
from lakehouse_assets_tests.warehouse_lake import SALES, commit, sale

CATALOG = discover(domains)
DAYS = [date(2023, 1, day) for day in range(1, 5)]
NOW = datetime(2023, 2, 1, 12, tzinfo=UTC)
TABLE = "gmv/silver/purchase"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A home with an embedded PostgreSQL."""
    here = Settings(home=tmp_path_factory.mktemp("quality"), warehouse_url=None)
    yield here
    postgres.stop(here)


@pytest.fixture
def lake(server: Settings, tmp_path: Path) -> Iterator[Settings]:
    """A lake of the test's own, published to the embedded PostgreSQL, which is emptied behind it."""
    yield Settings(home=server.home, root=tmp_path, warehouse_url=None)
    with connect(server) as connection, connection, connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA IF EXISTS ops, store CASCADE; DROP SCHEMA IF EXISTS lakehouse CASCADE")


def verdict(day: date, run: str, at: datetime, failed: int = 0, **other: Any) -> list[dict[str, Any]]:
    """Two rules of a day."""
    common = {"table": TABLE, "feed_day": day, "run_id": run, "check": "contract", "action": "quarantine", "rows": 10}
    common |= {"passed": True, "blocking": True, "table_version": 3, "sql": "", "samples": "[]", "evaluated_at": at}
    return [
        common | {"rule": "a:not_null", "dimension": "completeness", "failed": failed} | other,
        common | {"rule": "b\t:ge", "dimension": "validity", "failed": 0, "table_version": None} | other,
    ]


def validated(settings: Settings, *rows: list[dict[str, Any]]) -> None:
    append(check_results_path(settings.lake), pa.Table.from_pylist([*chain.from_iterable(rows)], schema=CHECK_RESULTS))


def set_aside(settings: Settings, rows: dict[date, list[list[str]]]) -> None:
    path = Lake(settings.lake, settings.landing).quarantine(TableKey.parse(TABLE))
    content = [{"feed_day": day, "rules": rules} for day, broken in rows.items() for rules in broken]
    schema = pa.schema([("feed_day", pa.date32()), ("rules", pa.list_(pa.string()))])
    write_deltalake(str(path), pa.Table.from_pylist(content, schema=schema), mode="overwrite")


def published(settings: Settings) -> QualityPublished:
    return publish_quality(settings, CATALOG, "run")


def in_warehouse(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with connect(settings) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def results(settings: Settings) -> list[tuple[Any, ...]]:
    found = in_warehouse(settings, "SELECT run_id, feed_day, rule, failed FROM ops.check_results")
    return sorted(found)


def in_lake(settings: Settings) -> list[tuple[Any, ...]]:
    return sorted(query(settings, "SELECT run_id, feed_day, rule, failed FROM ops.check_results").rows)


def test_the_contract_has_the_journals_columns_but_the_samples() -> None:
    assert set(CheckResult.compiled().spark_schema.names) == set(CHECK_RESULTS.names) - {"samples"}


def test_what_came_since_is_published_and_the_rest_is_left(lake: Settings) -> None:
    assert stale_days(lake) is None, "nothing was judged yet"
    assert published(lake) == QualityPublished(0, ())
    validated(lake, *[verdict(day, "one", NOW, failed=2) for day in DAYS])
    assert stale_days(lake) is not None
    assert published(lake).check_results == 8
    assert stale_days(lake) is None
    assert published(lake).check_results == 0
    validated(lake, verdict(DAYS[0], "two", NOW + timedelta(days=1)))
    assert published(lake).check_results == 10, "with the hour before the newest that was there"
    validated(lake, verdict(DAYS[1], "three", NOW + timedelta(days=1, minutes=-5)))
    assert published(lake).check_results == 4, "the verdicts of the day before are left"
    assert results(lake) == in_lake(lake)
    assert in_warehouse(lake, "SELECT rows FROM lakehouse.published WHERE table_name = 'ops.check_results'") == [(12,)]


def test_verdicts_that_are_reported_late_are_not_missed(lake: Settings) -> None:
    validated(lake, verdict(DAYS[0], "one", NOW))
    published(lake)
    validated(lake, verdict(DAYS[1], "died", NOW - timedelta(days=3)))
    assert published(lake).check_results == 4, "all of it, for the counts differed"
    assert results(lake) == in_lake(lake)


def test_compaction_and_another_journal_in_its_place(lake: Settings) -> None:
    for number, day in enumerate(DAYS):
        validated(lake, verdict(day, f"run-{number}", NOW + timedelta(days=number)))
    published(lake)
    journal = DeltaTable(str(check_results_path(lake.lake)))
    journal.optimize.compact()
    assert published(lake).check_results == 2, "a new version, and the last hour again"
    assert results(lake) == in_lake(lake)
    shutil.rmtree(check_results_path(lake.lake))
    validated(lake, verdict(DAYS[0], "anew", NOW + timedelta(days=9)))
    assert published(lake).check_results == 2
    assert results(lake) == in_lake(lake)


def test_quarantine_is_counted_where_it_changed_each_row_once(lake: Settings) -> None:
    set_aside(lake, {DAYS[0]: [["a"], ["a", "b"]], DAYS[1]: [["b"]]})
    counts = "SELECT feed_day, rules, rows FROM ops.quarantine ORDER BY 1, 2"
    assert published(lake).quarantines == (TABLE,)
    each_row_once = [(DAYS[0], "a", 1), (DAYS[0], "a, b", 1), (DAYS[1], "b", 1)]
    assert in_warehouse(lake, counts) == each_row_once
    assert published(lake).quarantines == ()
    with connect(lake) as connection, connection, connection.cursor() as cursor:  # as a version before counted them
        cursor.execute("ALTER TABLE ops.quarantine ALTER rules DROP NOT NULL, ADD COLUMN rule text")
        cursor.execute("UPDATE ops.quarantine SET rule = rules, rules = NULL")
    assert published(lake).quarantines == (TABLE,)
    assert in_warehouse(lake, counts) == each_row_once
    set_aside(lake, {DAYS[1]: [["b"]]})
    assert published(lake).quarantines == (TABLE,)
    assert in_warehouse(lake, counts) == [(DAYS[1], "b", 1)]
    set_aside(lake, {})
    assert published(lake).quarantines == (TABLE,)
    assert in_warehouse(lake, counts) == []


def test_an_analyst_reads_them_and_does_not_write(lake: Settings) -> None:
    validated(lake, verdict(DAYS[0], "one", NOW))
    published(lake)
    privileges = "SELECT has_table_privilege('lakehouse_analyst', 'ops.check_results', %s)"
    with connect(lake) as connection, connection.cursor() as cursor:
        for privilege, granted in (("SELECT", True), ("INSERT", False), ("DELETE", False), ("TRUNCATE", False)):
            cursor.execute(privileges, (privilege,))
            assert cursor.fetchone() == (granted,)


# --- in Dagster ---


def test_the_sensor_asks_until_the_warehouse_has_the_verdicts(lake: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(lake.home))
    monkeypatch.setenv("LAKEHOUSE_ROOT", str(lake.root))
    settings.cache_clear()
    sensor, assets = quality_sensor(), quality_assets(CATALOG)
    try:
        with dg.instance_for_test() as instance:

            def asked() -> list[dg.RunRequest]:
                found = sensor(dg.build_sensor_context(instance))
                return list(found.run_requests or ()) if isinstance(found, dg.SensorResult) else []

            assert asked() == []
            validated(lake, verdict(DAYS[0], "one", NOW))
            (request,) = asked()
            result = dg.materialize([assets], instance=instance, tags=request.tags)
            written = result.asset_materializations_for_node("ops__warehouse__quality")
            assert {one.asset_key.to_user_string(): one.metadata for one in written} == {
                "ops/warehouse/check_results": {"rows_written": dg.IntMetadataValue(2)},
                "ops/warehouse/quarantine": {"tables_counted": dg.JsonMetadataValue([])},
            }
            assert asked() == []
    finally:
        settings.cache_clear()


def test_a_run_that_fails_is_tried_again_after_growing_pauses(lake: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(lake.home))
    monkeypatch.setenv("LAKEHOUSE_ROOT", str(lake.root))
    settings.cache_clear()
    sensor = quality_sensor()
    try:
        with dg.instance_for_test() as instance:
            validated(lake, verdict(DAYS[0], "one", NOW))
            now = NOW
            for _ in range(TRIES + 1):
                with freeze_time(now):
                    found = sensor(dg.build_sensor_context(instance))
                    assert isinstance(found, dg.SensorResult)
                    (request,) = found.run_requests or ()
                    instance.report_run_failed(instance.create_run_for_job(nothing, tags=dict(request.tags)))
                    assert isinstance(sensor(dg.build_sensor_context(instance)), dg.SkipReason)
                now += LONGEST_PAUSE
            validated(lake, verdict(DAYS[1], "two", NOW))
            with freeze_time(now):
                assert isinstance(sensor(dg.build_sensor_context(instance)), dg.SensorResult), "a new level, at once"
    finally:
        settings.cache_clear()


def test_of_a_run_that_ends_while_the_sensor_looks_nothing_is_asked_again(
    lake: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(lake.home))
    monkeypatch.setenv("LAKEHOUSE_ROOT", str(lake.root))
    settings.cache_clear()
    sensor, look = quality_sensor(), publish_quality_module.stale_days
    try:
        with dg.instance_for_test() as instance:
            validated(lake, verdict(DAYS[0], "one", NOW))
            run = dg.DagsterRun("nothing", status=dg.DagsterRunStatus.STARTED, asset_selection=frozenset(KEYS))
            instance.add_run(run)

            def look_then_it_ends(here: Settings) -> str | None:
                found = look(here)
                published(lake)
                instance.report_run_canceled(run)
                return found

            monkeypatch.setattr(publish_quality_module, "stale_days", look_then_it_ends)
            assert isinstance(sensor(dg.build_sensor_context(instance)), dg.SkipReason)
    finally:
        settings.cache_clear()


@dg.job
def nothing() -> None:
    """A job to make run records of."""


def test_catching_up_publishes_what_is_behind_and_nothing_twice(lake: Settings) -> None:
    commit(lake, SALES, [sale(day) for day in DAYS], DAYS)
    validated(lake, verdict(DAYS[0], "one", NOW))
    told: list[tuple[str, int]] = []
    assert catch_up(lake, CATALOG, lambda table, days: told.append((table, days))) == len(DAYS)
    assert told == [("store/gold/daily_sales", len(DAYS))]
    assert len(results(lake)) == 2
    assert catch_up(lake, CATALOG, lambda table, days: told.append((table, days))) == 0
    assert len(told) == 1
