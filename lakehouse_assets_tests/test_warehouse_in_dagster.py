"""Gold published by Dagster: its events by day, the sensor when the warehouse is behind, and what fails."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import freeze_time

from lakehouse_assets.platform.orchestration.run_records import LEVEL_TAG
from lakehouse_assets.serving import postgres, published
from lakehouse_assets.serving.postgres import connect
from lakehouse_assets.serving.warehouse import LOOK_AGAIN, requests_to_publish
from lakehouse_assets.settings import Settings, settings
from lakehouse_assets_tests.dagster_lake import DagsterLake, dagster_lake
from lakehouse_assets_tests.warehouse_lake import CURRENT, DAYS, SALES, commit, sale

pytestmark = pytest.mark.slow

SERVED = {"store/warehouse/daily_sales": SALES, "gmv/warehouse/gmv_current": CURRENT}
TEXTS = {str(day) for day in DAYS}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterLake]:
    """Two gold tables as their steps commit them, not yet published."""
    folder = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LAKEHOUSE_HOME", str(folder))
        with dagster_lake(folder) as lake:
            commit(settings(), SALES, [sale(day) for day in DAYS], DAYS)
            commit(settings(), CURRENT, [current(7)], DAYS)
            yield lake
            postgres.stop(settings())


def current(product: int) -> dict[str, Any]:
    message = {"gmv_date": DAYS[0], "subsidiary": "nacional", "gmv": Decimal("5.00"), "purchases": 1}
    return message | {"product_id": product, "effective_date": DAYS[1], "version": 1}


def in_warehouse(statement: str) -> list[tuple[Any, ...]]:
    with connect(settings()) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def tick(lake: DagsterLake, domain: str) -> dg.SensorResult | dg.SkipReason:
    from lakehouse_assets.definitions import definitions

    (sensor,) = [one for one in definitions.sensors or () if one.name == f"{domain}_warehouse"]
    assert isinstance(sensor, dg.SensorDefinition)
    found = sensor(dg.build_sensor_context(lake.instance))
    assert isinstance(found, dg.SensorResult | dg.SkipReason)
    return found


def asked(lake: DagsterLake) -> dict[str, tuple[date, date]]:
    """The runs that a tick of both domains asks for: asset -> first and last day."""
    found = [tick(lake, domain) for domain in ("gmv", "store")]
    runs = {}
    for request in [
        one for result in found if isinstance(result, dg.SensorResult) for one in result.run_requests or ()
    ]:
        ends = [request.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end")]
        for key in request.asset_selection or []:
            runs["/".join(key.path)] = (date.fromisoformat(ends[0]), date.fromisoformat(ends[1]))
    return runs


def test_the_sensor_brings_a_warehouse_up_day_by_day_and_again_when_it_was_lost(lake: DagsterLake) -> None:
    with ExitStack() as clock:
        _brought_up_twice(lake, clock)


def _brought_up_twice(lake: DagsterLake, clock: ExitStack) -> None:
    for attempt in ("new", "lost"):
        wanted = asked(lake)
        assert wanted == {
            "store/warehouse/daily_sales": (DAYS[0], DAYS[-1]),
            "gmv/warehouse/gmv_current": (DAYS[-1],) * 2,
        }
        for asset, (first, last) in wanted.items():
            result = lake.run([asset], first, last)
            assert result.success, lake.why(result)
        assert in_warehouse("SELECT feed_day FROM store.daily_sales ORDER BY 1") == [(day,) for day in DAYS], attempt
        assert in_warehouse("SELECT product_id FROM gmv.gmv_current") == [(7,)]
        assert asked(lake) == {}, "nothing is behind"
        if attempt == "new":
            with connect(settings()) as connection, connection, connection.cursor() as cursor:
                cursor.execute("DROP SCHEMA store, gmv, lakehouse CASCADE")
            clock.enter_context(freeze_time(datetime.now(UTC) + LOOK_AGAIN))


def test_tables_that_lack_the_same_days_are_published_by_one_run() -> None:
    first, second, apart = (date(2025, 1, day) for day in (1, 2, 9))
    stale_days = {SALES: {first: 3, second: 4, apart: 5}, CURRENT: {first: 1, second: 1}}
    found = requests_to_publish(stale_days)
    assert [(one.tags["days"], ["/".join(key.path) for key in one.asset_selection or ()]) for one in found] == [
        ("2025-01-09", ["store/warehouse/daily_sales"]),
        ("2025-01-01..2025-01-02", ["store/warehouse/daily_sales", "gmv/warehouse/gmv_current"]),
    ]
    changed = requests_to_publish(stale_days | {CURRENT: {first: 1, second: 2}})
    same = [one.tags[LEVEL_TAG] == other.tags[LEVEL_TAG] for one, other in zip(found, changed, strict=True)]
    assert same == [True, False], "a level is of its own days"


def test_each_day_has_its_materialization_and_its_check(lake: DagsterLake) -> None:
    result = lake.run(["store/warehouse/daily_sales"], DAYS[0], DAYS[-1])
    assert result.success, lake.why(result)
    events = lake.materializations("store/warehouse/daily_sales", result.run_id)
    assert set(events) == TEXTS
    for (event,) in events.values():
        message = {name: value.value for name, value in event.metadata.items()}
        assert message["dagster/partition_row_count"] == 1
        assert message["written"] is False, "it was there already"
    assert lake.check_days("store/warehouse/daily_sales", "equals_delta") == {"SUCCEEDED": TEXTS}


def test_a_day_that_changes_is_asked_for_alone(lake: DagsterLake) -> None:
    lake.run(["store/warehouse/daily_sales"], DAYS[0], DAYS[-1])
    lake.run(["gmv/warehouse/gmv_current"], DAYS[0])
    commit(settings(), SALES, [sale(DAYS[1], "77.00")], [DAYS[1]])
    assert asked(lake) == {"store/warehouse/daily_sales": (DAYS[1], DAYS[1])}
    result = lake.run(["store/warehouse/daily_sales"], DAYS[1])
    assert result.success, lake.why(result)
    assert in_warehouse("SELECT net FROM store.daily_sales ORDER BY 1 DESC LIMIT 1") == [(Decimal("77.00"),)]
    assert asked(lake) == {}


def test_a_warehouse_that_has_everything_is_asked_once_a_minute_for_all_tables(
    lake: DagsterLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.run(["store/warehouse/daily_sales"], DAYS[0], DAYS[-1])
    connections, connect_to = list[object](), published.connect

    def counted(here: Settings) -> AbstractContextManager[object]:
        connections.append(here)
        return connect_to(here)

    monkeypatch.setattr(published, "connect", counted)
    begun = datetime.now(UTC) + timedelta(hours=1)
    for second in range(0, 120, 5):
        with freeze_time(begun + timedelta(seconds=second)):
            assert isinstance(tick(lake, "store"), dg.SkipReason)
    assert len(connections) == 2
    commit(settings(), SALES, [sale(DAYS[1], "78.00")], [DAYS[1]])
    with freeze_time(begun + timedelta(seconds=121)):
        assert isinstance(tick(lake, "store"), dg.SensorResult), "news are looked at at once"
    assert len(connections) == 3
    lake.run(["store/warehouse/daily_sales"], DAYS[1])


def test_a_warehouse_that_cannot_be_reached_fails_the_run_and_the_sensor_says_so(lake: DagsterLake) -> None:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LAKEHOUSE_WAREHOUSE_URL", "postgresql://me:geheim@127.0.0.1:1/db")
        settings.cache_clear()
        result = lake.run(["store/warehouse/daily_sales"], DAYS[0])
        with freeze_time(datetime.now(UTC) + timedelta(hours=3)):
            skipped = tick(lake, "store")
    settings.cache_clear()
    assert not result.success
    message = lake.why(result)
    assert "Nothing listens there" in message
    assert "geheim" not in message
    assert isinstance(skipped, dg.SkipReason)
    assert "Nothing listens there" in str(skipped.skip_message)


def test_the_command_says_what_is_there(lake: DagsterLake, tmp_path: Path) -> None:
    lake.run(["store/warehouse/daily_sales"], DAYS[0], DAYS[-1])
    message = lake.cli("warehouse", "status", "--format", "csv").output
    assert f"store.daily_sales,4,4,{DAYS[-1]}" in message
    again = lake.cli("warehouse", "publish", "store/gold/daily_sales", "--days", str(DAYS[0]), "--format", "csv").output
    assert f"{DAYS[0]},1,0,False" in again
    refused = lake.cli("warehouse", "publish", "store/gold/nothing", "--days", str(DAYS[0]), fails=True).output
    assert "no domain declares a table 'store/gold/nothing'" in refused
