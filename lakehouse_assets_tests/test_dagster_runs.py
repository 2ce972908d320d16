"""A week in Dagster in which one day is bad: what is recorded, what goes on, what waits, how it is repaired."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterEventType

from lakehouse_assets.settings import Settings
from lakehouse_assets_tests.dagster_lake import DagsterLake, Parts, dagster_lake, marketplace_day
from lakehouse_assets_tests.gmv_histories import TABLES, Feeds
from lakehouse_assets_tests.gmv_model import figures
from lakehouse_assets_tests.test_gmv_in_the_lake import LEDGER, as_of

DAYS = [date(2023, 2, 1) + timedelta(days=n) for n in range(5)]
MON, TUE, BAD, EMPTY, LAST = DAYS  # the third day's purchases are mostly unreadable, on the fourth no file came
BRONZE = [f"gmv/bronze/{table}" for table in TABLES]
SILVER = [f"gmv/silver/{table}" for table in TABLES]
GOLD = ["gmv/gold/gmv", "gmv/gold/gmv_current"]


@dataclass
class Week:
    """The story, played once: its runs, and what was to be seen after the first of them."""

    lake: DagsterLake
    good: Parts
    ranged: dg.ExecuteInProcessResult
    checks_after: dict[str, set[str]]
    ledger_after: list[tuple[Any, ...]]
    current_after: list[tuple[Any, ...]]
    gold_later: dg.ExecuteInProcessResult
    alone: dg.ExecuteInProcessResult
    repaired: dg.ExecuteInProcessResult
    published: dg.ExecuteInProcessResult
    before_rerun: dict[str, list[tuple[Any, ...]]]
    again: dg.ExecuteInProcessResult


def purchase_checks(lake: DagsterLake) -> dict[str, set[str]]:
    return lake.check_days("gmv/silver/purchase", "contract")


@pytest.fixture(scope="module")
def week(spark_home: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Week]:
    with dagster_lake(tmp_path_factory.mktemp("week")) as lake:
        good: Parts = {}
        for day in (MON, TUE, BAD, LAST):
            good |= marketplace_day(day, 120 if day == BAD else 4)
        bad = [row | {"release_date": "soon"} if n < 80 else row for n, row in enumerate(good["purchase", BAD])]
        lake.land(good | {("purchase", BAD): bad})
        everything = [*BRONZE, *SILVER, *GOLD]
        ranged = lake.run(everything, MON, LAST)
        checks_after = purchase_checks(lake)
        ledger_after = lake.rows("gmv.gold.gmv", *LEDGER)
        current_after = lake.rows("gmv.gold.gmv_current", *LEDGER)
        gold_later = lake.run(GOLD, BAD, LAST)
        alone = lake.run(["gmv/silver/purchase"], BAD)
        lake.land({("purchase", BAD): good["purchase", BAD]}, "--replace")
        repaired = lake.run(["gmv/bronze/purchase", "gmv/silver/purchase"], BAD)
        published = lake.run(GOLD, LAST)
        before_rerun = lake.tables()
        again = lake.run(everything, MON, LAST)
        yield Week(
            lake, good, ranged, checks_after, ledger_after, current_after, gold_later, alone, repaired, published,
            before_rerun, again,
        )  # fmt: skip


def texts(*days: date) -> set[str]:
    return {str(day) for day in days}


def _read_by(table: str) -> str:
    _, layer, name = table.split("/")
    return f"gmv/{ {'bronze': 'landing', 'silver': 'bronze'}[layer] }/{name}"


def test_a_range_run_records_each_day_once_with_its_versions(week: Week) -> None:
    assert week.ranged.success, "the good days go on"
    for table in (*BRONZE, *SILVER):
        events = week.lake.materializations(table, week.ranged.run_id)
        made = DAYS if table != "gmv/silver/purchase" else [MON, TUE, EMPTY, LAST]
        assert events.keys() == texts(*made), table
        for day, (event,) in events.items():
            message = {key: value.value for key, value in event.metadata.items()}
            assert message["delta_version"] == 0
            assert list(message["input_versions"]) == [_read_by(table)]
            assert (
                message["rows_in"]
                == message["dagster/partition_row_count"]
                == (0 if day == str(EMPTY) else message["rows_in"])
            )
            assert event.tags is not None
            assert event.tags["dagster/code_version"] == message["code_version"]
            assert event.tags["dagster/data_version"].startswith("0:")
    (monday,) = week.lake.materializations("gmv/silver/purchase", week.ranged.run_id)[str(MON)]
    input_version = monday.metadata["input_versions"].value["gmv/bronze/purchase"]  # type: ignore[index,call-overload]
    assert input_version == {"version": 0, "days": str(MON)}
    assert monday.metadata["dagster/partition_row_count"].value == 4
    assert "no_rows" not in monday.metadata


@pytest.mark.parametrize(
    ("table", "why"),
    [(BRONZE[0], "Nothing was delivered for this day."), (SILVER[0], "Its inputs brought no rows on this day.")],
)
def test_a_day_of_which_no_file_came_says_why_it_has_no_rows(week: Week, table: str, why: str) -> None:
    (empty,) = week.lake.materializations(table, week.ranged.run_id)[str(EMPTY)]
    assert empty.metadata["dagster/partition_row_count"].value == 0
    assert empty.metadata["no_rows"].value == why


def test_each_day_has_its_checks_and_nothing_is_recorded_besides(week: Week) -> None:
    """Dagster adds no event of its own: none without a day, none for a day that was not made."""
    for table in (*BRONZE, *SILVER):
        evaluations = week.lake.evaluations(table, week.ranged.run_id)
        assert evaluations.keys() == texts(*DAYS)
        expected = {"contract", "conservation", *(["freshness"] if table in SILVER else [])}  # bronze has no event time
        assert all(set(checks) == expected for checks in evaluations.values())
    run = week.ranged.run_id
    for kind in (DagsterEventType.ASSET_OBSERVATION, DagsterEventType.ASSET_MATERIALIZATION):
        entries = week.lake.instance.all_logs(run, of_type=kind)
        events = [entry.dagster_event for entry in entries if entry.dagster_event]
        assert all(event.partition for event in events)
        if kind is DagsterEventType.ASSET_OBSERVATION:
            assert not events


def test_checks_point_at_the_materialization_they_judged(week: Week) -> None:
    records = week.lake.instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey(SILVER[0].split("/")), asset_partitions=[str(MON)]), limit=10
    ).records
    (made,) = [record for record in records if record.run_id == week.ranged.run_id]
    checks = week.lake.evaluations(SILVER[0], week.ranged.run_id)[str(MON)]
    for evaluation in checks.values():
        assert evaluation.target_materialization_data is not None
        assert evaluation.target_materialization_data.storage_id == made.storage_id


def test_a_day_whose_contract_fails_is_missing_and_its_check_is_red(week: Week) -> None:
    assert week.checks_after == {"SUCCEEDED": texts(MON, TUE, EMPTY, LAST), "FAILED": texts(BAD)}
    failed = week.lake.evaluations("gmv/silver/purchase", week.ranged.run_id)[str(BAD)]["contract"]
    assert failed.blocking
    assert failed.target_materialization_data is None
    assert failed.description is not None
    assert "80 of 120 rows broke it, more than the tolerated 50%" in failed.description
    (samples,) = [value.value for key, value in failed.metadata.items() if key.startswith("samples")]
    assert len(samples) == 20  # type: ignore[arg-type]
    assert all("buyer_id" not in row for row in samples)  # type: ignore[union-attr]


def test_gold_goes_on_up_to_the_day_before_and_waits_from_there(week: Week) -> None:
    for table in GOLD:
        assert week.lake.materializations(table, week.ranged.run_id).keys() == texts(MON, TUE), table
    feeds = Feeds()
    feeds.land({part: rows for part, rows in week.good.items() if part[1] <= TUE}, replace=False)
    assert as_of(week.ledger_after, None) == figures(feeds.events(), TUE)
    assert as_of(week.current_after, None) == figures(feeds.events(), TUE)


def test_a_later_run_of_what_reads_the_day_is_blocked_as_well(week: Week) -> None:
    assert not week.gold_later.success
    message = week.lake.why(week.gold_later)
    assert f"gmv/gold/gmv {BAD} blocked: gmv/silver/purchase of {BAD} failed a blocking check" in message
    assert week.lake.materializations("gmv/gold/gmv", week.gold_later.run_id) == {}


def test_a_run_of_that_day_alone_fails_and_says_why(week: Week) -> None:
    assert not week.alone.success
    message = week.lake.why(week.alone)
    assert message.startswith(f"gmv/silver/purchase {BAD} failed: release_date")
    assert "80 of 120 rows broke it" in message


def test_the_day_is_repaired_by_landing_it_again(week: Week) -> None:
    assert week.repaired.success
    assert purchase_checks(week.lake) == {"SUCCEEDED": texts(*DAYS)}
    assert week.lake.rows("gmv.silver.purchase", "feed_day").count((BAD,)) == 120
    feeds = Feeds()
    feeds.land(week.good, replace=False)
    ledger = week.lake.rows("gmv.gold.gmv", *LEDGER)
    assert {day: as_of(ledger, day) for day in DAYS} == {day: figures(feeds.events(), day) for day in DAYS}


def test_publishing_a_day_records_the_days_carried_forward_too(week: Week) -> None:
    """One partition was asked for; the ledger and the figures beside it are refreshed by the same step."""
    assert week.published.success
    for table in GOLD:
        events = week.lake.materializations(table, week.published.run_id)
        assert events.keys() == texts(BAD, EMPTY, LAST), table
        assert week.lake.evaluations(table, week.published.run_id).keys() == texts(BAD, EMPTY, LAST), table
    steps = [e.step_key for e in week.published.all_events if e.event_type is DagsterEventType.STEP_SUCCESS]
    assert len(steps) == 1


def test_everything_again_gives_the_same_tables(week: Week) -> None:
    assert week.again.success, week.lake.why(week.again)
    assert week.lake.tables() == week.before_rerun
    for table in (*BRONZE, *SILVER):
        rerun = week.lake.materializations(table, week.again.run_id)
        assert rerun.keys() == texts(*DAYS)
        first = week.lake.materializations(table, week.ranged.run_id)[str(MON)][0]
        digests = [event.tags["dagster/data_version"].split(":")[1] for event in (first, rerun[str(MON)][0])]  # type: ignore[index]
        assert digests[0] == digests[1]


def test_every_day_of_every_table_is_accounted_for_in_sql(week: Week) -> None:
    """`gmv.audit` and `ops.check_results`: what dashboards read."""
    lost = week.lake.sql(
        "select * from gmv.audit where status = 'committed' and rows_in <> kept + quarantined + duplicates"
    )
    assert lost == []
    failed = week.lake.sql("select \"table\", feed_day, kept, output_version from gmv.audit where status = 'failed'")
    assert failed == [("gmv/silver/purchase", BAD, 0, None)] * 2, "in the range, and alone"
    results = week.lake.rows("ops.check_results", "run_id", "table", "feed_day", "failed", "passed", "blocking")
    in_range = [row[1:] for row in results if row[0] == week.ranged.run_id]
    broken = [row for row in in_range if row[2] and row[4] and row[0] in SILVER]
    assert broken == [("gmv/silver/purchase", BAD, 80, False, True)]
    assert {row[1] for row in in_range} == set(DAYS)
