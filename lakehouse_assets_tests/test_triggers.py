"""What fires what: the level sensor's ticks on a real instance, its requests run as Dagster would run them."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import freeze_time

from lakehouse_assets.definitions import definitions
from lakehouse_assets.platform.common.days import DayRange
from lakehouse_assets.platform.orchestration.run_records import LONGEST_PAUSE, TRIES
from lakehouse_assets.settings import Settings
from lakehouse_assets_tests.dagster_lake import DagsterLake, dagster_lake, marketplace_day
from lakehouse_assets_tests.gmv_histories import Row

D1, D2 = date(2023, 1, 1), date(2023, 1, 2)


@pytest.fixture
def lake(spark_home: Settings, tmp_path: Path) -> Iterator[DagsterLake]:
    with dagster_lake(tmp_path) as found:
        yield found


def ends(days: str) -> tuple[date, date]:
    found = DayRange.parse(days)
    return found.first, found.last


def tick(lake: DagsterLake) -> list[dg.RunRequest]:
    """One evaluation of the sensor."""
    sensor = definitions.get_repository_def().get_sensor_def("gmv_staleness")
    found = sensor(dg.build_sensor_context(instance=lake.instance))
    return list(found.run_requests or ()) if isinstance(found, dg.SensorResult) else []


def settle(lake: DagsterLake) -> int:
    """Tick and run what is asked for until nothing is; how many runs that took."""
    runs = 0
    while asked := tick(lake):
        for request in asked:
            lake.run(
                ["/".join(key.path) for key in request.asset_selection or ()],
                date.fromisoformat(request.tags["dagster/asset_partition_range_start"]),
                date.fromisoformat(request.tags["dagster/asset_partition_range_end"]),
            )
            runs += 1
        assert runs < 10, "the sensor never comes to rest"
    return runs


def total(lake: DagsterLake) -> object:
    newest = lake.sql("select arg_max(gmv, version) from gmv.gold.gmv group by gmv_date, subsidiary, product_id")
    return sum(gmv for (gmv,) in newest)


def test_landed_files_become_gold_in_one_run_and_later_corrections_follow(lake: DagsterLake) -> None:
    lake.land({**marketplace_day(D1, 4), **marketplace_day(D2, 4)})
    assert settle(lake) == 1
    first = total(lake)
    assert tick(lake) == [], "nothing changed, nothing is asked for"

    # only one of three inputs changes, on a day that is closed: the others are carried forward
    corrected: Row = marketplace_day(D1, 4)["product_item", D1][0] | {
        "purchase_value": "100,00",
        "transaction_datetime": f"{D1} 23:00:00",
    }
    lake.land({("product_item", D1): [corrected]}, "--replace")
    (request,) = tick(lake)
    assert [key.path[1:] for key in request.asset_selection or ()] == [
        ["bronze", "product_item"],
        ["silver", "product_item"],
        ["gold", "gmv"],
        ["gold", "gmv_current"],
    ]
    assert settle(lake) == 1
    assert total(lake) != first
    assert tick(lake) == []


def test_an_update_is_not_lost_when_gold_was_left_out_of_the_run(lake: DagsterLake) -> None:
    lake.land(marketplace_day(D1, 2))
    tables = [f"gmv/{layer}/{t}" for layer in ("bronze", "silver") for t in ("product_item", "purchase")]
    lake.run(tables, D1)
    settle(lake)
    assert lake.sql("select count(*) from gmv.gold.gmv")[0][0] > 0
    assert tick(lake) == []


def days_of(request: dg.RunRequest) -> str:
    first, last = (date.fromisoformat(request.tags[f"dagster/asset_partition_range_{end}"]) for end in ("start", "end"))
    return str(DayRange(first, last))


def fail(lake: DagsterLake, request: dg.RunRequest) -> None:
    """A run of it that ended without having made anything."""
    lake.instance.report_run_failed(lake.instance.add_run(dg.DagsterRun("__ASSET_JOB", tags=dict(request.tags))))


def test_a_day_that_stops_its_run_does_not_keep_the_others_waiting(lake: DagsterLake) -> None:
    days = [D1 + timedelta(days=n) for n in range(3)]
    poisoned = days[1]
    lake.land({key: rows for day in days for key, rows in marketplace_day(day, 1).items()})
    bronze, tried = "gmv/bronze/purchase", list[str]()
    now = datetime.now(UTC)
    for _ in range(10):
        with freeze_time(now):
            for request in tick(lake):
                tried.append(days_of(request))
                if str(poisoned) in [str(day) for day in DayRange.parse(tried[-1])]:
                    fail(lake, request)
                else:
                    lake.run(["/".join(key.path) for key in request.asset_selection or ()], *ends(tried[-1]))
            again = {days_of(request) for request in tick(lake)}
            assert not again & {*tried[-2:]}, "not before the pause is over; but its halves at once"
        now += LONGEST_PAUSE
    assert tried[: TRIES + 2] == ["2023-01-01..2023-01-03"] * TRIES + ["2023-01-01..2023-01-02", "2023-01-03"]
    assert set(lake.materializations(bronze)) == {str(day) for day in days if day != poisoned}
    assert tried[-1] == str(poisoned), "it is tried for as long as it takes"


def test_a_tick_waits_for_a_run_under_way(lake: DagsterLake) -> None:
    lake.land(marketplace_day(D1, 1))
    (request,) = tick(lake)
    lake.instance.add_run(
        dg.DagsterRun(
            "__ASSET_JOB",
            status=dg.DagsterRunStatus.STARTED,
            asset_selection=frozenset(request.asset_selection or ()),
        )
    )
    assert tick(lake) == []


def test_sensor_and_schedule_are_on_by_default() -> None:
    repository = definitions.get_repository_def()
    assert repository.get_sensor_def("gmv_staleness").default_status is dg.DefaultSensorStatus.RUNNING
    assert repository.get_schedule_def("gmv_yesterday").default_status is dg.DefaultScheduleStatus.RUNNING
