"""The drop folder: what is taken when, landed once, again when it changes, and what is said meanwhile."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from lakehouse_assets.definitions import catalog, definitions, landing_jobs
from lakehouse_assets.defs.store.generate import HEADERS, generate
from lakehouse_assets.platform.drop import PATIENCE, Dropped, dropped_tables, files_in, ready
from lakehouse_assets.platform.landing import parts
from lakehouse_assets.settings import settings

DAY = date(2025, 1, 1)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUIET = timedelta(seconds=2)
TABLES = list(HEADERS)


# --- when a file is taken ---


def files(*tables: str, day: date = DAY, state: str = "1") -> list[Dropped]:
    return [Dropped(day, table, Path(f"/drop/{day}/{table}.csv"), state) for table in tables]


def since(dropped: list[Dropped], seconds: float) -> dict[str, tuple[str, datetime]]:
    return {str(file.path): (file.state, NOW - timedelta(seconds=seconds)) for file in dropped}


def test_a_day_is_taken_when_all_its_files_are_there_and_quiet() -> None:
    whole = files(*TABLES)
    assert ready(whole, since(whole, 1.9), TABLES, NOW, QUIET) == {}
    assert ready(whole, since(whole, 2), TABLES, NOW, QUIET) == {DAY: whole}
    growing = since(whole, 100) | since(whole[:1], 0.5)
    assert ready(whole[:1] + whole[1:], growing, TABLES, NOW, timedelta(seconds=200)) == {}


def test_a_table_alone_is_taken_after_some_patience() -> None:
    alone = files("users")
    patience = PATIENCE.total_seconds()
    assert ready(alone, since(alone, patience - 1), TABLES, NOW, QUIET) == {}
    assert ready(alone, since(alone, patience), TABLES, NOW, QUIET) == {DAY: alone}


def test_days_do_not_wait_for_each_other() -> None:
    whole, other = files(*TABLES), files("orders", day=DAY + timedelta(days=1))
    assert ready(whole + other, since(whole + other, 5), TABLES, NOW, QUIET) == {DAY: whole}


# --- the sensor and the job ---


@pytest.fixture
def drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The store's drop folder of a lakehouse in which files count as quiet at once."""
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path))
    monkeypatch.setenv("LAKEHOUSE_QUIET_SECONDS", "0")
    settings.cache_clear()
    folder = settings().drop_folder / "store"
    folder.mkdir(parents=True)
    yield folder
    settings.cache_clear()


def tick(instance: dg.DagsterInstance, cursor: str | None = None) -> tuple[list[dg.RunRequest], str, str | None]:
    """What a tick asks for, what it says, and its cursor."""
    context = dg.build_sensor_context(instance, cursor=cursor)
    (sensor,) = [one for one in definitions.sensors or () if one.name == "store_drop"]
    assert isinstance(sensor, dg.SensorDefinition)
    found = sensor(context)
    if isinstance(found, dg.SkipReason):
        return [], str(found.skip_message), context.cursor
    assert isinstance(found, dg.SensorResult)
    return list(found.run_requests or []), "", found.cursor


def run(instance: dg.DagsterInstance, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
    return landing_jobs["store"].execute_in_process(
        instance=instance, partition_key=request.partition_key, tags=dict(request.tags), raise_on_error=False
    )


def landed(table: str) -> list[tuple[date, int]]:
    return [(part.feed_day, part.rows) for part in parts(settings().landing, f"store/{table}")]


def test_a_dropped_day_is_landed_once_and_again_when_a_file_changes(drop: Path) -> None:
    generate(drop, DAY, DAY, orders=10, seed=1, defects=0)
    with dg.DagsterInstance.ephemeral() as instance:
        (request,), _, cursor = tick(instance)
        assert request.partition_key == str(DAY)
        assert run(instance, request).success
        assert landed("orders") == [(DAY, 10)]
        asked, said, cursor = tick(instance, cursor)
        assert asked == []
        assert said.startswith("Nothing new in")
        file = drop / str(DAY) / "orders.csv"
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        file.write_text("".join(lines[:6]), encoding="utf-8")
        (again,), _, cursor = tick(instance, cursor)
        assert (again.tags["lakehouse/dropped_files"], again.partition_key) == ("orders", str(DAY))
        assert again.run_key != request.run_key
        assert run(instance, again).success
        assert landed("orders") == [(DAY, 5)], "superseded, not added"
        assert tick(instance, cursor)[0] == []


def test_a_half_written_file_that_pauses_is_superseded_when_it_is_whole(drop: Path) -> None:
    """Cut between two rows, nobody can tell it from a whole one; what comes then is another state of the file."""
    generate(drop, DAY, DAY, orders=10, seed=1, defects=0)
    file = drop / str(DAY) / "orders.csv"
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    with dg.DagsterInstance.ephemeral() as instance:
        file.write_bytes(b"".join(lines[:4]))
        (request,), _, cursor = tick(instance)
        file.write_bytes(b"".join(lines[:7]))  # it grows between the tick and the run
        assert run(instance, request).success
        assert landed("orders") == [(DAY, 6)]
        file.write_bytes(whole)
        (again,), _, cursor = tick(instance, cursor)
        assert run(instance, again).success
        assert landed("orders") == [(DAY, 10)]
        assert tick(instance, cursor)[0] == []


def test_a_file_cut_within_a_row_is_refused_and_landed_when_it_is_whole(drop: Path) -> None:
    generate(drop, DAY, DAY, orders=10, seed=1, defects=0)
    file = drop / str(DAY) / "orders.csv"
    whole = file.read_bytes()
    file.write_bytes(whole[: whole.rindex(b",")])
    with dg.DagsterInstance.ephemeral() as instance:
        (request,), _, cursor = tick(instance)
        assert not run(instance, request).success
        assert landed("orders") == []
        assert landed("users") == [(DAY, 2)], "the other files of the day are not held"
        file.write_bytes(whole)
        (again,), _, cursor = tick(instance, cursor)
        assert run(instance, again).success
        assert landed("orders") == [(DAY, 10)]


def test_a_lost_cursor_asks_for_the_same_run_again_which_dagster_refuses(drop: Path) -> None:
    generate(drop, DAY, DAY, orders=10, seed=1, defects=0)
    with dg.DagsterInstance.ephemeral() as instance:
        (request,), _, _ = tick(instance)
        (again,), _, _ = tick(instance, None)
        assert again.run_key == request.run_key
        assert run(instance, request).success
        assert run(instance, again).success, "and if it ran, it would change nothing"
        assert landed("users") == [(DAY, 2)]


def test_a_broken_file_fails_its_run_and_does_not_hold_the_others(drop: Path) -> None:
    generate(drop, DAY, DAY, orders=10, seed=1, defects=0)
    file = drop / str(DAY) / "payments.csv"
    file.write_bytes(file.read_bytes()[:-30] + b'\n"half')
    with dg.DagsterInstance.ephemeral() as instance:
        (request,), _, cursor = tick(instance)
        result = run(instance, request)
        assert not result.success
        (failure,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
        said = failure.step_failure_data.user_failure_data
        assert said is not None
        assert "payments.csv" in str(said.description)
        assert landed("orders") == [(DAY, 10)]
        assert landed("payments") == []
        assert tick(instance, cursor)[0] == [], "the same broken file is not tried again"


def test_an_operator_lands_a_day_again_and_is_told_where_there_is_nothing(drop: Path) -> None:
    generate(drop, DAY, DAY, orders=10, seed=1, defects=0)
    with dg.DagsterInstance.ephemeral() as instance:
        job = landing_jobs["store"]
        assert job.execute_in_process(instance=instance, partition_key=str(DAY)).success
        nothing = job.execute_in_process(instance=instance, partition_key="2025-01-02", raise_on_error=False)
        assert not nothing.success
    assert landed("products") == [(DAY, 500)]


def test_a_day_without_files_is_skipped_visibly(drop: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        asked, said, _ = tick(instance)
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    assert asked == []
    assert said == f"Nothing new in {drop}; there are no files of {yesterday}."


def test_what_is_not_a_table_or_a_day_is_left_alone(drop: Path) -> None:
    for name in ("2025-01-01/notes.txt", "2025-01-01/users.csv.tmp", "2025-99-99/users.csv", "later/users.csv"):
        (drop / name).parent.mkdir(exist_ok=True)
        (drop / name).write_text("x")
    assert list(files_in(drop, dropped_tables(catalog, "store"))) == []
    assert set(dropped_tables(catalog, "store")) == set(TABLES)
    assert dropped_tables(catalog, "gmv") == {}, "whose files say their day"
