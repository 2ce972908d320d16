"""Sensors and schedules on a real instance without Spark: nothing asked twice, failures pass, cost follows what is new.

Commits are made by hand where a run would make them; Dagster's clock is stopped, and moved.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.test_utils import freeze_time
from dagster._utils.schedules import schedule_execution_time_iterator
from deltalake import DeltaTable, write_deltalake

from lakehouse_assets.definitions import definitions
from lakehouse_assets.ops.alerts import Trouble, read_alerts
from lakehouse_assets.ops.deadline_sensor import deadline_sensor
from lakehouse_assets.platform.common.days import DayRange
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.fingerprint.code_version import code_version
from lakehouse_assets.platform.orchestration import evaluations, staleness
from lakehouse_assets.platform.orchestration.domain_job import domain_job
from lakehouse_assets.platform.orchestration.run_records import LEVEL_TAG, LONGEST_PAUSE, TRIES, tables_under_way
from lakehouse_assets.platform.orchestration.staleness import Staleness, TableVersions
from lakehouse_assets.platform.orchestration.staleness_sensor import (
    RANGE_END,
    RANGE_START,
    staleness_sensor,
    yesterday_schedule,
)
from lakehouse_assets.platform.orchestration.unreported_commits_sensor import (
    EXTERNAL_COMMITS_JOB,
    unreported_commits_sensor,
)
from lakehouse_assets.platform.results.audit_log import AUDIT, append_audit
from lakehouse_assets.platform.storage import commit_actions, commit_log
from lakehouse_assets.platform.storage.commit_metadata import Kind
from lakehouse_assets.settings import settings
from lakehouse_assets.streaming.kafka_topic import KafkaTopic
from lakehouse_assets_tests.levels_model import START, Log
from lakehouse_assets_tests.test_levels import BRONZE, CATALOG, D1, D2, D3, LEDGER, SILVER, TABLES, Lakeside

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
CURRENT = TableKey("gmv", "gold", "gmv_current")
EVENTS = TableKey("orders", "bronze", "order_events")


@dg.job
def nothing() -> None:
    """A job to make run records of."""


class Ticking(Lakeside):
    """A lake by hand, its domain's sensors, and the runs that they ask for."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        super().__init__(folder)
        self.instance = instance
        self.level = staleness_sensor("gmv", CATALOG, domain_job("gmv", CATALOG))
        self.commits = unreported_commits_sensor("gmv", CATALOG)
        self.deadlines = deadline_sensor("gmv", CATALOG)

    def tick(self, sensor: dg.SensorDefinition | None = None) -> list[dg.RunRequest]:
        found = (sensor or self.level)(dg.build_sensor_context(instance=self.instance))
        if isinstance(found, dg.RunRequest):
            return [found]
        return list(found.run_requests or ()) if isinstance(found, dg.SensorResult) else []

    def message(self, sensor: dg.SensorDefinition) -> str:
        found = sensor(dg.build_sensor_context(instance=self.instance))
        assert isinstance(found, dg.SkipReason), found
        return str(found.skip_message)

    def begin(self, request: dg.RunRequest, job: str = "nothing") -> dg.DagsterRun:
        """A run of it, under way."""
        run = dg.DagsterRun(
            job,
            tags=dict(request.tags),
            status=dg.DagsterRunStatus.STARTED,
            asset_selection=frozenset(request.asset_selection or ()) or None,
        )
        return self.instance.add_run(run)

    def fail(self, request: dg.RunRequest) -> None:
        self.instance.report_run_failed(self.begin(request))

    def make(self, request: dg.RunRequest) -> None:
        """What a run of it commits."""
        days = DayRange.parse(f"{request.tags[RANGE_START]}..{request.tags[RANGE_END]}")
        for key in request.asset_selection or ():
            if key.path[-1] != "gmv_current":
                self.build(TableKey.parse("/".join(key.path)), *days)

    def judge_failed(self, key: TableKey, day: date, code: str, along: bool = False) -> None:
        """A run's verdict that the day failed, on the inputs as they are; or that another day of the run did."""
        input_versions = {
            name: {"version": self.lake.version(r.table), "days": ""} for name, r in CATALOG.table(key).reads.items()
        }
        row = dict.fromkeys(AUDIT.names) | {"table": str(key), "feed_day": day, "run_id": "r", "status": "failed"}
        base = self.lake.version(key)
        row |= {
            "base_version": -1 if base is None else base,
            "input_versions": json.dumps(input_versions),
            "digest": "",
            "code_version": code,
            "along": along,
        }
        row["finished"] = datetime.now(UTC)
        append_audit(self.lake.tables, key.domain, pa.Table.from_pylist([row], schema=AUDIT))


@contextmanager
def ticking_in(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Ticking]:
    patch.setenv("LAKEHOUSE_HOME", str(folder / "home"))
    patch.setenv("LAKEHOUSE_ROOT", str(folder))
    patch.setenv("LAKEHOUSE_DEBOUNCE_SECONDS", "0")
    settings.cache_clear()
    with dg.DagsterInstance.ephemeral() as instance:
        yield Ticking(folder, instance)
    settings.cache_clear()


@pytest.fixture
def ticking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ticking]:
    with ticking_in(tmp_path, monkeypatch) as found:
        yield found


# --- days before the first partition ---


def test_days_before_the_first_partition_are_named_and_asked_for_when_they_are_partitions(ticking: Ticking) -> None:
    ticking.land("purchase", D1, D3)
    sensor = staleness_sensor("gmv", CATALOG, domain_job("gmv", CATALOG), first=D2)
    (request,) = {(r.tags[RANGE_START], r.tags[RANGE_END]) for r in ticking.tick(sensor)}
    assert request == (str(D3), str(D3))
    for key in (BRONZE, SILVER, LEDGER):
        ticking.build(key, D3)
    assert f"{D1}: before the first partition" in ticking.message(sensor)
    assert str(D1) in {
        r.tags[RANGE_START]
        for r in ticking.tick(staleness_sensor("gmv", CATALOG, domain_job("gmv", CATALOG), first=D1))
    }


# --- failures that pass ---


@pytest.mark.parametrize(("away", "step"), [(timedelta(minutes=3), 5), (timedelta(hours=6), 300)], ids=str)
def test_what_fails_while_spark_is_away_is_made_when_it_is_back(ticking: Ticking, away: timedelta, step: int) -> None:
    """Nobody does anything. One alert is raised, and resolved."""
    ticking.land("purchase", D1, D2, D3)
    tried: list[datetime] = []
    now = NOW
    while now < NOW + away:
        with freeze_time(now):
            for request in ticking.tick():
                tried.append(now)
                ticking.fail(request)
        if now.second == 0:
            ticking.tick(ticking.deadlines)
        now += timedelta(seconds=step)
    pauses = [after - before for before, after in pairwise(tried) if after != before]
    assert max(pauses) <= LONGEST_PAUSE + timedelta(seconds=step)
    assert len(tried) <= 5 * (8 + away / LONGEST_PAUSE), "the range, its halves and days, each after growing pauses"
    (alert,) = read_alerts(ticking.lake.tables)
    assert (alert.subject.trouble, alert.resolved) == (Trouble.STUCK, None)
    back = now
    while any(ticking.stale_days(table.key) for table in TABLES):
        assert now < back + LONGEST_PAUSE + timedelta(seconds=step), "made within the longest pause"
        with freeze_time(now):
            for request in ticking.tick():
                ticking.make(request)
        now += timedelta(seconds=step)
    ticking.tick(ticking.deadlines)
    (alert,) = read_alerts(ticking.lake.tables)
    assert alert.resolved


def test_a_second_table_that_is_stuck_is_told_while_the_first_still_is(ticking: Ticking) -> None:
    """Each alert is of its own table, and is resolved when that is made."""

    def pass_by(minutes: int, start: datetime) -> datetime:
        for n in range(minutes * 3):
            with freeze_time(start + timedelta(seconds=20 * n)):
                for request in ticking.tick():
                    ticking.fail(request)
        ticking.tick(ticking.deadlines)
        return start + timedelta(minutes=minutes)

    def stuck() -> list[tuple[str, bool]]:
        return sorted((a.subject.table, a.resolved is not None) for a in read_alerts(ticking.lake.tables))

    ticking.land("purchase", D1)
    now = pass_by(2, NOW)
    assert stuck() == [("gmv/bronze/purchase", False)]
    ticking.land("product_item", D2)
    now = pass_by(2, now)
    assert stuck() == [("gmv/bronze/product_item", False), ("gmv/bronze/purchase", False)]
    ticking.build(BRONZE, D1)
    now = pass_by(4, now)
    both = [("gmv/bronze/product_item", False), ("gmv/bronze/purchase", True), ("gmv/silver/purchase", False)]
    assert stuck() == both, "a table that is made of none that is stuck is one more"


def test_of_a_range_the_day_that_stops_its_run_is_asked_for_alone_and_the_others_are_made(ticking: Ticking) -> None:
    ticking.land("purchase", D1, D2, D3)
    now, asked = NOW, list[str]()
    for _ in range(60):
        now += timedelta(seconds=10)
        with freeze_time(now):
            for request in ticking.tick():
                days = DayRange(*(date.fromisoformat(request.tags[end]) for end in (RANGE_START, RANGE_END)))
                asked.append(str(days))
                ticking.fail(request) if D2 in days else ticking.make(request)
    assert asked[:TRIES] == [f"{D1}..{D3}"] * TRIES
    assert ticking.stale_days(BRONZE) == {D2}
    assert ticking.stale_days(SILVER) == set()


def test_states_are_compared_and_nobody_remembers_what_was_asked(ticking: Ticking) -> None:
    """A, B, A: a lake that is deleted and made anew has versions that were tried before."""
    ticking.land("purchase", D1)
    with freeze_time(NOW):
        (first,) = ticking.tick()
        for _ in range(9):
            ticking.fail(first)
        assert ticking.tick() == []
        shutil.rmtree(ticking.lake.landing)
        ticking.land("purchase", D1)
        (again,) = ticking.tick()
    assert first.tags[LEVEL_TAG] != again.tags[LEVEL_TAG]
    assert again.run_key is None


def test_a_failure_of_the_input_waits_for_other_bytes_or_other_code(ticking: Ticking) -> None:
    ticking.land("purchase", D1)
    ticking.judge_failed(BRONZE, D1, code_version(CATALOG.table(BRONZE)))
    assert ticking.tick() == [], "the same bytes, the same code"
    ticking.judge_failed(BRONZE, D1, "other code")
    (request,) = ticking.tick()
    ticking.judge_failed(BRONZE, D1, code_version(CATALOG.table(BRONZE)))
    assert ticking.tick() == []
    ticking.land("purchase", D1, content="2")
    (request,) = ticking.tick()
    assert request.tags[RANGE_START] == request.tags["days"] == str(D1)


# --- nothing is asked twice ---


class Interleaving:
    """Calls `then` functions after the given observations of a tick: looks at runs, readings of a log."""

    def __init__(self, patch: pytest.MonkeyPatch, *then: tuple[int, Callable[[], Any]]) -> None:
        self.observed, self.then, self.on = 0, list(then), False
        for owner, name in ((dg.DagsterInstance, "get_runs"), (TableVersions, "refresh"), (Staleness, "stale_days")):
            patch.setattr(owner, name, self._watched(getattr(owner, name)))

    def _watched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **named: Any) -> Any:
            found = function(*arguments, **named)
            if self.on:
                self.observed += 1
                for at, what in self.then:
                    if at == self.observed:
                        self.on = False
                        what()
                        self.on = True
            return found

        return watched


def test_of_a_run_that_ends_within_a_tick_nothing_is_asked_again(tmp_path: Path) -> None:
    """At every third place of a tick its run commits, and at every fourth from there on it ends."""
    places, observed = [(0, 0)], 0  # nothing happens at 0: that counts the places
    while places:
        place = places.pop()
        folder = tmp_path / f"{place[0]}-{place[1]}"
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch, ticking_in(folder, patch) as ticking:
            seen = _tick_while_a_run_ends(ticking, patch, *place)
        if not observed:
            observed = seen
            places = [(one, other) for one in range(1, seen + 1, 3) for other in range(one, seen + 1, 4)]
    assert observed > 10


def _tick_while_a_run_ends(ticking: Ticking, patch: pytest.MonkeyPatch, commits_at: int, ends_at: int) -> int:
    ticking.land("purchase", D1)
    (request,) = ticking.tick()
    run = ticking.begin(dg.RunRequest(asset_selection=request.asset_selection))  # a person's: without our level
    watch = Interleaving(
        patch,
        (commits_at, lambda: ticking.make(request)),
        (ends_at, lambda: ticking.instance.report_run_canceled(run)),
    )
    watch.on = True
    assert ticking.tick() == [], f"it commits at {commits_at} and ends at {ends_at} of {watch.observed}"
    return watch.observed


TABLES_OF_GMV = len([table for table in CATALOG.tables if table.key.domain == "gmv"])


@pytest.mark.parametrize("place", [1, TABLES_OF_GMV, 1 + TABLES_OF_GMV])
def test_of_an_adoption_that_ends_within_a_tick_nothing_is_asked_again(
    ticking: Ticking, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    ticking.build(BRONZE, D1, kind=None)
    assert len(ticking.tick(ticking.commits)) == 1
    run = ticking.begin(dg.RunRequest(tags={LEVEL_TAG: f"{BRONZE}@other commits"}), EXTERNAL_COMMITS_JOB)

    def adopted() -> None:
        ticking.build(BRONZE, D1, kind=Kind.ADOPTION)
        ticking.instance.report_run_canceled(run)

    watch = Interleaving(monkeypatch, (place, adopted))
    watch.on = True
    assert ticking.tick(ticking.commits) == []


def test_a_second_evaluation_does_not_touch_what_the_first_works_on(
    ticking: Ticking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster has given up on the first; its thread works on."""
    ticking.land("purchase", D1)
    begun, may_end, asked = Event(), Event(), list[list[dg.RunRequest]]()
    refresh = Staleness.refresh

    def slow(self: Staleness, *arguments: Any) -> bool:
        begun.set()
        assert may_end.wait(60)
        return refresh(self, *arguments)

    monkeypatch.setattr(Staleness, "refresh", slow)
    first = Thread(target=lambda: asked.append(ticking.tick()))
    first.start()
    assert begun.wait(60)
    assert ticking.message(ticking.level) == evaluations.STILL_AT_WORK
    may_end.set()
    first.join(60)
    assert len(asked[0]) == 1
    assert len(ticking.tick()) == 1, "and the next one works"


# --- cost follows what is new ---


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The log files that were looked for or opened."""
    found: list[Path] = []
    log_file = commit_actions.log_file

    def counted(path: Path, version: int) -> Path:
        found.append(log_file(path, version))
        return found[-1]

    for module in (commit_actions, commit_log, staleness):
        monkeypatch.setattr(module, "log_file", counted)
    return found


@pytest.mark.parametrize("kind", ["step", "stream"])
def test_who_asks_what_nobody_judged_reads_the_end_of_the_log(tmp_path: Path, read: list[Path], kind: str) -> None:
    log = Log(tmp_path / "table")
    for now in range(300):
        log.happens(now, kind, {D1})
        if now == 290:
            DeltaTable(str(log.path)).create_checkpoint()
    read.clear()
    assert commit_log.unvalidated(log.path) == {}
    assert len(read) < 25, "from the last checkpoint on, not from version 0"
    log.happens(300, "external", {D2})
    read.clear()
    assert commit_log.unvalidated(log.path) == {D2: 300}
    assert len(read) < 30


def test_a_tick_reads_what_came_since_the_last_one(ticking: Ticking, read: list[Path]) -> None:
    """Also of a table into which only others have ever written, where no note says what they left."""
    log = Log(ticking.lake.path(BRONZE))  # type: ignore[arg-type]
    for now in range(100):
        log.happens(now, "external", {D1})
    cursor = None

    def tick() -> tuple[list[Any], int]:
        nonlocal cursor
        read.clear()
        context = dg.build_sensor_context(instance=ticking.instance, cursor=cursor)
        found = ticking.commits(context)
        assert isinstance(found, dg.SensorResult)
        cursor = found.cursor
        return list(found.run_requests or ()), len(read)

    tick()
    asked, idle = tick()
    log.happens(100, "external", {D2})
    again, busy = tick()
    assert (len(asked), len(again)) == (1, 1)
    assert idle < 40, "a few looks per table"
    assert busy < idle + 12
    assert len(cursor or "") < 1000


def test_a_failed_day_of_long_ago_does_not_make_every_tick_read_all_since(ticking: Ticking, read: list[Path]) -> None:
    log = Log(ticking.lake.path(BRONZE))  # type: ignore[arg-type]
    ticking.judge_failed(BRONZE, D3, "code")
    for now in range(100):
        log.happens(now, "step", {D1})
    ticking.staleness.refresh()
    assert set(ticking.staleness.failures(BRONZE)) == {D3}
    ticking.judge_failed(BRONZE, D2, "code")  # the audit has news
    read.clear()
    assert set(ticking.staleness.failures(BRONZE)) == {D2, D3}
    assert len(read) < 10


def test_of_a_ledger_the_days_before_a_bad_one_are_published_without_it(ticking: Ticking) -> None:
    """Its days fail together. Asked for once; a day after the bad one would publish that one, and waits."""
    days = [D1 + timedelta(days=n) for n in range(5)]
    bad, code = days[3], code_version(CATALOG.table(LEDGER))
    for name in ("purchase", "product_item", "purchase_extra_info"):
        ticking.build(TableKey("gmv", "silver", name), *days)

    def asked() -> list[str]:
        return [str(DayRange.parse(f"{r.tags[RANGE_START]}..{r.tags[RANGE_END]}")) for r in ticking.tick()]

    def fail(*of_run: date, bad: date) -> None:
        for day in of_run:
            ticking.judge_failed(LEDGER, day, code, along=day != bad)

    assert asked() == [str(DayRange(days[0], days[-1]))]
    fail(*days, bad=bad)
    assert asked() == [str(DayRange(days[0], days[2]))]
    fail(*days[:3], bad=days[1])
    assert asked() == [str(days[0])], "where another one is bad, those before that"
    ticking.build(LEDGER, days[0])
    assert ticking.tick() == []
    ticking.build(SILVER, days[1])  # it is mended
    assert asked() == [str(DayRange(days[1], days[-1]))]
    fail(*days[1:], bad=bad)
    assert asked() == [str(DayRange(days[1], days[2]))]
    ticking.build(LEDGER, *days[1:3])
    assert ticking.tick() == []


# --- the schedule ---


def at(ticking: Ticking, when: datetime, domain: str = "gmv", catalog: Catalog = CATALOG) -> dg.RunRequest | str:
    context = dg.build_schedule_context(instance=ticking.instance, scheduled_execution_time=when)
    found = yesterday_schedule(domain, catalog, domain_job(domain, catalog))(context)
    assert isinstance(found, dg.RunRequest | dg.SkipReason)
    return found if isinstance(found, dg.RunRequest) else str(found.skip_message)


def made(request: dg.RunRequest | str) -> list[str]:
    assert isinstance(request, dg.RunRequest), request
    assert request.run_key is None, "nobody remembers that it was asked"
    return ["/".join(key.path[1:]) for key in request.asset_selection or ()]


@pytest.fixture
def nightly(ticking: Ticking) -> Iterator[Ticking]:
    """With an instance that has a home, as evaluations of schedules want."""
    with dg.instance_for_test() as instance:
        ticking.instance = instance
        yield ticking


def test_the_schedule_makes_of_yesterday_what_is_stale_or_absent(nightly: Ticking) -> None:
    ticking = nightly
    night = datetime(2023, 1, 2, 3, 15, tzinfo=UTC)
    everything = ["/".join(table.key.parts[1:]) for table in CATALOG.tables if table.key.domain == "gmv"]
    assert sorted(made(at(ticking, night))) == sorted(everything)
    for layer in ("bronze", "silver"):
        for name in ("purchase", "product_item", "purchase_extra_info"):
            ticking.build(TableKey("gmv", layer, name), D1)
    assert made(at(ticking, night)) == ["gold/gmv", "gold/gmv_current"]
    ticking.build(LEDGER, D1)
    assert at(ticking, night) == f"Every table has {D1}."
    ticking.build(SILVER, D1)
    assert made(at(ticking, night)) == ["gold/gmv", "gold/gmv_current"]
    ticking.land("purchase", D1)
    later = made(at(ticking, night + timedelta(hours=5)))
    assert later == ["bronze/purchase", "silver/purchase", "gold/gmv", "gold/gmv_current"]
    run = ticking.begin(dg.RunRequest(asset_selection=[dg.AssetKey(BRONZE.parts)]))
    assert "under way" in str(at(ticking, night))
    ticking.instance.report_run_canceled(run)
    ticking.judge_failed(BRONZE, D1, code_version(CATALOG.table(BRONZE)))
    assert made(at(ticking, night)) == ["gold/gmv", "gold/gmv_current"], "what failed on these bytes fails again"


def events_of(zone: str) -> Catalog:
    """A domain of one stream whose days are of that zone."""
    declared = CATALOG.table(EVENTS)
    assert declared.source is not None
    assert isinstance(declared.stream, KafkaTopic)
    days = replace(declared.stream.days, zone=zone)
    source, stream = replace(declared.source, days=days), replace(declared.stream, days=days)
    return Catalog((replace(declared, source=source, stream=stream),))


@pytest.mark.parametrize(
    "zone", ["UTC", "America/Sao_Paulo", "Asia/Tokyo", "Pacific/Honolulu", "Pacific/Kiritimati", "America/New_York"]
)
@pytest.mark.parametrize("day", [D1, date(2023, 3, 11), date(2023, 11, 4)], ids=str)
def test_the_schedule_runs_by_the_clock_of_its_domain_soon_after_a_day_has_ended(zone: str, day: date) -> None:
    """Also where the clock is put forward or back in that night; from then on every hour of the day."""
    clock, next_day = ZoneInfo(zone), day + timedelta(days=1)
    schedule = yesterday_schedule("orders", events_of(zone), domain_job("orders", events_of(zone)))
    end = datetime.combine(next_day, time.min, clock).timestamp()
    times = schedule_execution_time_iterator(end, str(schedule.cron_schedule), schedule.execution_timezone)
    found = [next(times).astimezone(clock).replace(tzinfo=None) for _ in range(22)]
    assert found == [datetime.combine(next_day, time(hour, 15)) for hour in range(3, 24)] + [
        datetime.combine(next_day + timedelta(days=1), time(3, 15))
    ]


@pytest.mark.parametrize("zone", ["UTC", "America/Sao_Paulo", "Asia/Tokyo", "Pacific/Honolulu"])
def test_a_stream_is_drained_once_the_day_of_its_domain_has_ended_also_where_the_first_tick_was_missed(
    nightly: Ticking, zone: str
) -> None:
    catalog = events_of(zone)
    end = datetime(2023, 1, 2, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    path = nightly.lake.path(EVENTS)
    assert isinstance(path, Path)
    log, since = Log(path), end - datetime.fromtimestamp(START / 1000, UTC)
    log.happens(
        int((since - timedelta(hours=1)).total_seconds()), "step", [D1]
    )  # a person's run; records come after it
    for hours in (3.25, 8.25, 23.25):
        request = at(nightly, end + timedelta(hours=hours), "orders", catalog)
        assert isinstance(request, dg.RunRequest)
        assert (made(request), request.partition_key) == (["bronze/order_events"], str(D1))
    log.happens(int((since + timedelta(hours=8)).total_seconds()), "step", [D1])
    for hours in (8.25, 23.25):
        assert at(nightly, end + timedelta(hours=hours), "orders", catalog) == f"Every table has {D1}."


def test_a_stream_whose_day_failed_after_its_end_is_not_drained_every_hour(nightly: Ticking) -> None:
    night = datetime(2023, 1, 2, 3, 15, tzinfo=UTC)
    catalog = Catalog((CATALOG.table(EVENTS),))
    nightly.judge_failed(EVENTS, D1, code_version(CATALOG.table(EVENTS)))
    assert at(nightly, night + timedelta(hours=1), "orders", catalog) == f"Every table has {D1}."


# --- files that are gone, days that are none ---


def test_a_file_that_was_vacuumed_and_a_day_beyond_the_calendar_stick_no_sensor(tmp_path: Path) -> None:
    path = tmp_path / "table"
    beyond = 20_000_000  # days since 1970: the year 56727, as of a timestamp in microseconds taken for milliseconds
    days = pa.array([19358, 19359, 19359, beyond], pa.int32()).cast(pa.date32())
    write_deltalake(str(path), pa.table({"feed_day": days}))
    rows = {date(2023, 1, 1): 1, date(2023, 1, 2): 2}
    assert commit_actions.rows_per_day(path, 0) == rows
    assert commit_actions.touched_days(path, commit_actions.actions_of(path, 0))[0] == frozenset(rows)
    write_deltalake(str(path), pa.table({"feed_day": days.slice(0, 3)}), mode="overwrite")
    for file in path.glob("*.parquet"):
        file.unlink()
    assert commit_actions.rows_per_day(path, 1) == dict.fromkeys(rows), "the days are known, their rows are not"
    assert commit_actions.rows_per_day(path, 0) == {}
    assert not commit_actions.touched_days(path, commit_actions.actions_of(path, 0))[1], (
        "not all that it touched is known"
    )


def test_a_run_of_a_whole_job_is_seen_to_make_all_its_tables() -> None:
    """As `dg launch --job gmv` starts it: such a run selects no assets."""
    with dg.DagsterInstance.ephemeral() as instance:
        assert tables_under_way(instance) == frozenset()
        run = instance.create_run_for_job(
            definitions.resolve_job_def("gmv"), tags={RANGE_START: str(D1), RANGE_END: str(D1)}
        )
        assert run.asset_selection is None
        assert tables_under_way(instance) == {table.key for table in CATALOG.tables if table.key.domain == "gmv"}
