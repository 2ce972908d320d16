"""Gold published by Dagster: in the run that makes it, by the sensor when the warehouse is behind, and what fails."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import dagster as dg
import pytest

from lakehouse_assets.serving import postgres
from lakehouse_assets.serving.postgres import connect
from lakehouse_assets.settings import Settings, settings
from lakehouse_assets_tests.dagster_lake import DagsterLake, Parts, dagster_lake, marketplace_day
from lakehouse_assets_tests.gmv_histories import TABLES

pytestmark = pytest.mark.slow

DAYS = [date(2023, 2, 1) + timedelta(days=n) for n in range(3)]
GOLD = ["gmv/gold/gmv", "gmv/gold/gmv_current"]
SERVED = ["gmv/warehouse/gmv", "gmv/warehouse/gmv_current"]


@pytest.fixture(scope="module")
def lake(spark_home: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterLake]:
    with dagster_lake(tmp_path_factory.mktemp("warehouse")) as lake:
        parts: Parts = {}
        for day in DAYS:
            parts |= marketplace_day(day, 5)
        lake.land(parts)
        made = [f"gmv/{layer}/{table}" for layer in ("bronze", "silver") for table in TABLES]
        result = lake.run([*made, *GOLD, *SERVED], DAYS[0], DAYS[-1])
        assert result.success, lake.why(result)
        yield lake
        postgres.stop(settings())


def in_warehouse(statement: str) -> list[tuple[Any, ...]]:
    with connect(settings()) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def tick(lake: DagsterLake) -> dg.SensorResult | dg.SkipReason:
    from lakehouse_assets.definitions import definitions

    (sensor,) = [one for one in definitions.sensors or () if one.name == "warehouse_levels"]
    assert isinstance(sensor, dg.SensorDefinition)
    found = sensor(dg.build_sensor_context(lake.instance))
    assert isinstance(found, dg.SensorResult | dg.SkipReason)
    return found


def columns(*names: str) -> str:
    return ", ".join(names)


def test_the_run_that_makes_gold_publishes_it(lake: DagsterLake) -> None:
    said = columns("gmv_date", "subsidiary", "product_id", "gmv", "purchases", "effective_date", "version")
    for table in ("gmv", "gmv_current"):
        statement = f"SELECT {said} FROM {{}} ORDER BY ALL"  # noqa: S608
        delta = lake.sql(statement.format(f"gmv.gold.{table}"))
        there = sorted(in_warehouse(statement.format(f"gmv.{table}").replace("ORDER BY ALL", "")))
        assert there == sorted(delta)
        assert there
    for table in SERVED:
        assert set(lake.materializations(table)) == {str(day) for day in DAYS}
        assert lake.check_days(table, "equals_delta") == {"SUCCEEDED": {str(day) for day in DAYS}}


def test_the_sensor_asks_for_nothing_then_for_all_of_a_warehouse_that_was_lost(lake: DagsterLake) -> None:
    assert isinstance(tick(lake), dg.SkipReason)
    before = in_warehouse("SELECT * FROM gmv.gmv ORDER BY 1, 2, 3, 4")
    with connect(settings()) as connection, connection, connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA gmv, lakehouse CASCADE")
    found = tick(lake)
    assert isinstance(found, dg.SensorResult)
    asked = {request.asset_selection[0].to_user_string(): request for request in found.run_requests or []}  # type: ignore[index]
    assert set(asked) == set(SERVED)
    for table, request in asked.items():
        first, last = (
            date.fromisoformat(request.tags[f"dagster/asset_partition_range_{end}"]) for end in ("start", "end")
        )
        assert lake.run([table], first, last).success
    assert in_warehouse("SELECT * FROM gmv.gmv ORDER BY 1, 2, 3, 4") == before
    assert isinstance(tick(lake), dg.SkipReason)


def test_a_warehouse_that_cannot_be_reached_fails_the_publish_alone_and_says_so(
    lake: DagsterLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_WAREHOUSE_URL", "postgresql://me:geheim@127.0.0.1:1/db")
    settings.cache_clear()
    try:
        result = lake.run([GOLD[0], *GOLD[1:], *SERVED], DAYS[0], DAYS[-1])
        skipped = tick(lake)
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert not result.success
    said = lake.why(result)
    assert "Nothing listens there" in said
    assert "geheim" not in said
    assert lake.materializations(GOLD[0], result.run_id), "gold itself is made"
    assert isinstance(skipped, dg.SkipReason)
    assert "Nothing listens there" in str(skipped.skip_message)
