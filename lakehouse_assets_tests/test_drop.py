"""The drop folder: what is taken when, landed once, again when it changes, and what is said meanwhile."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from lakehouse_assets.definitions import catalog, definitions, landing_jobs
from lakehouse_assets.ops.alerts import Alert, Subject, Trouble, read_alerts
from lakehouse_assets.ops.deadline_sensor import deadline_sensor
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.ingest.landing import land, parts
from lakehouse_assets.platform.ingest.landing_status import LandedFiles, SeenFiles
from lakehouse_assets.platform.ingest.parts import locked
from lakehouse_assets.platform.orchestration.drop_folder import (
    Dropped,
    SetAside,
    dropped_sources,
    files_in,
    landing_code,
    landing_job,
    refusal,
)
from lakehouse_assets.platform.orchestration.drop_folder_sensor import (
    LONGEST_WAIT,
    DropFolder,
    Waiting,
    cursor_of,
    ready,
)
from lakehouse_assets.samples.store.feeds import HEADERS, generate
from lakehouse_assets.settings import settings
from lakehouse_assets_tests.no_access import no_access

DAY = date(2025, 1, 1)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUIET = timedelta(seconds=2)
TABLES = list(HEADERS)
SOURCES = dropped_sources(catalog, "store")
SECOND = timedelta(seconds=1)
REPOSITORY = definitions.get_repository_def()


# --- when a file is taken ---


def files(*tables: str, day: date = DAY) -> list[Dropped]:
    return [Dropped(day, table, Path(f"/drop/{day}/{table}.csv"), (1, 1, 1, 1)) for table in tables]


def since(dropped: list[Dropped], seconds: float) -> dict[Path, Waiting]:
    return {file.path: Waiting(file.state, NOW - timedelta(seconds=seconds)) for file in dropped}


def test_a_day_is_taken_when_all_its_files_are_there_and_quiet() -> None:
    whole = files(*TABLES)
    assert ready(whole, since(whole, 1.9), TABLES, NOW, QUIET) == {}
    assert ready(whole, since(whole, 2), TABLES, NOW, QUIET) == {DAY: whole}
    growing = since(whole, 100) | since(whole[:1], 0.5)
    assert ready(whole[:1] + whole[1:], growing, TABLES, NOW, timedelta(seconds=200)) == {}
    assert ready(whole, since(whole[:1], 2), TABLES, NOW, QUIET) == {DAY: whole[:1]}, "the others are landed"


def test_a_table_alone_is_taken_after_some_patience() -> None:
    alone = files("users")
    patience = LONGEST_WAIT.total_seconds()
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
    monkeypatch.setenv("LAKEHOUSE_DEBOUNCE_SECONDS", "0")
    settings.cache_clear()
    folder = settings().drop_folder / "store"
    folder.mkdir(parents=True)
    yield folder
    settings.cache_clear()


def tick(instance: dg.DagsterInstance, cursor: str | None = None) -> tuple[list[dg.RunRequest], str, str | None]:
    """What a tick asks for, what it says, and its cursor."""
    context = dg.build_sensor_context(instance, cursor=cursor, repository_def=REPOSITORY)
    found = REPOSITORY.get_sensor_def("store_drop").evaluate_tick(context)  # as the daemon does
    return list(found.run_requests or []), found.skip_message or "", found.cursor


def run(instance: dg.DagsterInstance, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
    return landing_jobs["store"].execute_in_process(
        instance=instance, partition_key=request.partition_key, tags=dict(request.tags), raise_on_error=False
    )


def older(cursor: str, by: timedelta) -> str:
    """A cursor as if its files had been asked for so much earlier."""
    found = json.loads(cursor)
    for one in found.values():
        one[3] = (datetime.fromisoformat(one[3]) - by).isoformat() if one[3] else None
    return json.dumps(found)


def set_aside(folder: Path) -> list[SetAside]:
    return [one for one in files_in(folder, SOURCES, NOW) if isinstance(one, SetAside)]


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def landed(table: str) -> list[tuple[date, int]]:
    return [(part.feed_day, part.rows) for part in parts(settings().landing, f"store/{table}")]


def test_a_dropped_day_is_landed_once_and_again_when_a_file_changes(drop: Path) -> None:
    generate(drop, DAY, DAY, orders=10, seed=1, defects=0)
    with dg.DagsterInstance.ephemeral() as instance:
        (request,), _, cursor = tick(instance)
        assert request.partition_key == str(DAY)
        assert run(instance, request).success
        assert landed("orders") == [(DAY, 10)]
        asked, message, cursor = tick(instance, cursor)
        assert asked == []
        assert message.startswith("Nothing new in")
        assert cursor == "{}", "nothing is kept of what is landed"
        of_a_version_before = {str(drop / "x.csv"): ["1:2", NOW.isoformat()], f"asked {drop / 'x.csv'}": "1:2"}
        assert tick(instance, json.dumps(of_a_version_before))[0] == []
        file = drop / str(DAY) / "orders.csv"
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        file.write_text("".join(lines[:6]), encoding="utf-8")
        (again,), _, cursor = tick(instance, cursor)
        assert (again.tags["lakehouse/dropped_files"], again.partition_key) == ("orders", str(DAY))
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


READING = [
    ("common.typed_text", "as_text"),
    ("ingest.delivery_names", "check_content"),
    ("ingest.json_reader", "_object"),
    ("ingest.file_readers", "_check_utf8"),
    ("ingest.landing", "_refuse_shrunken"),
]


@pytest.mark.parametrize(("module", "function"), READING)
def test_what_was_refused_is_tried_again_when_any_code_that_reads_it_is_another(
    module: str, function: str, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def message() -> str:
        landing_code.cache_clear()
        file = Dropped(DAY, "orders", drop / str(DAY) / "orders.csv", "")
        return refusal(SOURCES["orders"], file, "1f", LandedFiles(None, {}, {}, {}, {}))

    before = message()
    generate(drop, DAY, DAY, orders=2, seed=1, defects=0)
    with dg.DagsterInstance.ephemeral() as instance:
        (request,), _, _ = tick(instance)
        assert run(instance, request).success
    assert message() == before, "what a process has done is no part of it"
    with monkeypatch.context() as patched:
        changed = getattr(import_module(f"lakehouse_assets.platform.{module}"), function)
        patched.setattr(changed, "__code__", (lambda *values: None).__code__)
        assert message() != before
    assert message() == before


def test_a_lost_cursor_asks_for_nothing_that_is_landed(drop: Path) -> None:
    generate(drop, DAY, DAY, orders=10, seed=1, defects=0)
    with dg.DagsterInstance.ephemeral() as instance:
        (request,), _, _ = tick(instance)
        (again,), _, _ = tick(instance, None)
        assert again == request
        assert run(instance, request).success
        assert tick(instance, None)[0] == []
        assert run(instance, again).success, "and if it ran, it would change nothing"
        assert landed("users") == [(DAY, 2)]


def test_a_file_whose_content_goes_there_and_back_is_landed_each_time(drop: Path) -> None:
    """Nothing of a state that was asked for once keeps it from being asked for again; the time may be set back too."""
    file = drop / str(DAY) / "users.csv"
    generate(drop, DAY, DAY, orders=10, seed=1, defects=0)
    contents = {"A": file.read_bytes(), "B": b"".join(file.read_bytes().splitlines(keepends=True)[:2])}
    stat, cursor = file.stat(), None
    with dg.DagsterInstance.ephemeral() as instance:
        for number, which in enumerate("ABABA", start=1):
            file.write_bytes(contents[which])
            os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
            (request,), _, cursor = tick(instance, cursor)
            assert run(instance, request).success
            (part,) = parts(settings().landing, "store/users")
            assert (part.landing, part.rows) == (number, {"A": 2, "B": 1}[which])
            assert tick(instance, cursor)[0] == []


def test_a_drop_that_could_not_be_landed_is_asked_for_again_until_it_can(
    drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lakehouse_assets.platform.ingest.parts._LOCK_SECONDS", 0)
    generate(drop, DAY, DAY, orders=10, seed=1, defects=0)
    pauses = []
    with dg.DagsterInstance.ephemeral() as instance:
        cursor = None
        with locked(settings().landing / "store" / "orders"):
            for _ in range(3):
                (request,), _, cursor = tick(instance, cursor)
                assert not run(instance, request).success
                assert tick(instance, cursor)[0] == [], "not at once"
                asked, last = json.loads(cursor)[str(drop / str(DAY) / "orders.csv")][2:]
                now = datetime.fromisoformat(last)
                pauses.append(
                    next(s for s in range(1000) if Waiting((1, 1, 1, 1), now, asked, now).is_due(now + s * SECOND))
                )
                cursor = older(cursor, pauses[-1] * SECOND)
        assert pauses == [10, 20, 40]
        assert landed("orders") == []
        (request,), _, cursor = tick(instance, cursor)
        assert request.tags["lakehouse/dropped_files"] == "orders", "the others were landed"
        assert run(instance, request).success
        assert landed("orders") == [(DAY, 10)]
        assert tick(instance, cursor)[0] == []


def test_a_drop_that_keeps_failing_raises_exactly_one_alert_until_it_is_landed(
    drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the third run; not of the files that landed beside it, nor again after a restart of the sensor."""
    monkeypatch.setattr("lakehouse_assets.platform.ingest.parts._LOCK_SECONDS", 0)
    generate(drop, DAY, DAY, orders=10, seed=1, defects=0)
    raised: list[int] = []

    def alerts(instance: dg.DagsterInstance) -> list[Alert]:
        sensor = deadline_sensor("store", catalog)  # of a daemon that was started anew
        sensor(dg.build_sensor_context(instance, repository_def=REPOSITORY))
        return [one for one in read_alerts(settings().lake, "store") if one.subject.trouble is Trouble.STUCK]

    with dg.DagsterInstance.ephemeral() as instance:
        cursor = None
        with locked(settings().landing / "store" / "orders"):
            for _ in range(6):
                (request,), _, cursor = tick(instance, cursor)
                assert not run(instance, request).success
                raised.append(len(alerts(instance)))
                cursor = older(cursor or "", timedelta(hours=1))
        assert raised == [0, 0, 1, 1, 1, 1]
        (alert,) = alerts(instance)
        assert alert.subject == Subject("store/landing/orders", DAY, Trouble.STUCK)
        assert alert.message.startswith(f"3 runs could not land {drop / str(DAY) / 'orders.csv'}.")
        assert alert.resolved is None
        (request,), _, _ = tick(instance, cursor)
        assert run(instance, request).success
        (alert,) = alerts(instance)
        assert alert.resolved


def test_what_is_wrong_with_the_lake_is_no_refusal_of_the_file(drop: Path) -> None:
    generate(drop, DAY, DAY, orders=10, seed=1, defects=0)
    in_the_way = settings().landing / "store" / "orders"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("where landed parts belong")
    with dg.DagsterInstance.ephemeral() as instance:
        (request,), _, cursor = tick(instance)
        assert not run(instance, request).success
        in_the_way.unlink()
        (request,), _, cursor = tick(instance, older(cursor, timedelta(minutes=1)))
        assert run(instance, request).success
        assert landed("orders") == [(DAY, 10)]


def test_a_run_under_way_is_not_asked_for_again(drop: Path) -> None:
    generate(drop, DAY, DAY, orders=10, seed=1, defects=0)
    with dg.DagsterInstance.ephemeral() as instance:
        (request,), _, _ = tick(instance)
        under_way = instance.create_run_for_job(
            landing_jobs["store"],
            tags={**request.tags, "dagster/partition": str(DAY)},
            status=dg.DagsterRunStatus.STARTED,
        )
        assert tick(instance, None)[0] == []
        instance.report_run_failed(under_way)
        assert len(tick(instance, None)[0]) == 1


def test_what_lies_where_no_day_is_stops_nothing_else_and_is_told_once(
    drop: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A folder of the far future or before the first day, a plain file named like a day, a folder without access."""
    generate(drop, DAY, DAY, orders=10, seed=1, defects=0)
    for day in ("2062-01-01", "1999-12-31", "9999-12-31"):
        shutil.copytree(drop / str(DAY), drop / day)
    (drop / "2025-01-03").write_text("a file")
    (drop / "2025-01-04" / "users.csv").mkdir(parents=True)
    with dg.DagsterInstance.ephemeral() as instance:
        (request,), _, cursor = tick(instance)
        assert "2062-01-01/users.csv: of a day in the future" in capfd.readouterr().err
        assert run(instance, request).success
        asked, message, _ = tick(instance, cursor)
        assert asked == []
        assert "before the first day of this source" in message
        assert "and 10 more" in message
        assert "Set aside" not in capfd.readouterr().err
    assert landed("orders") == [(DAY, 10)]
    aside = {one.path.relative_to(drop).as_posix(): one.why for one in set_aside(drop)}
    assert len(aside) == 14
    assert aside["2025-01-03"].startswith("called as a day, but no folder")


def test_a_day_folder_that_cannot_be_entered_holds_up_no_other(drop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate(drop, DAY, DAY + timedelta(days=1), orders=10, seed=1, defects=0)
    no_access(monkeypatch, drop / str(DAY))
    assert {one.day for one in files_in(drop, SOURCES, NOW) if isinstance(one, Dropped)} == {DAY + timedelta(days=1)}
    assert {one.why for one in set_aside(drop)} == {"cannot be read: Permission denied."}
    assert len(set_aside(drop)) == 4


def test_a_day_that_comes_is_taken_when_it_has_come(drop: Path) -> None:
    """In the time zone of the source: where it is ahead of UTC, its day begins earlier."""
    generate(drop, DAY, DAY, orders=10, seed=1, defects=0)
    apia = replace(SOURCES["users"].days, zone="Pacific/Apia")  # UTC+13
    ahead = {name: replace(source, days=apia) for name, source in SOURCES.items()}
    noon = datetime(2024, 12, 31, 11, 30, tzinfo=UTC)
    assert [one for one in files_in(drop, ahead, noon) if isinstance(one, Dropped)] == list(files_in(drop, ahead, NOW))
    assert len(list(files_in(drop, ahead, NOW))) == 4
    assert not [one for one in files_in(drop, SOURCES, noon) if isinstance(one, Dropped)]


def test_the_sources_of_a_domain_have_one_zone() -> None:
    store = {
        key.name: replace(catalog.table(key), source=replace(source, days=replace(source.days, zone="Pacific/Apia")))
        for key, source in ((TableKey("store", "bronze", name), source) for name, source in SOURCES.items())
    }
    ahead = Catalog(tuple(store.values()))
    assert (catalog.zone("store"), ahead.zone("store")) == ("UTC", "Pacific/Apia")
    assert ahead.today("store", datetime(2024, 12, 31, 11, 30, tzinfo=UTC)) == DAY
    with pytest.raises(LakehouseError, match="Pacific/Apia, UTC"):
        Catalog((store["users"], catalog.table(TableKey("store", "bronze", "orders")))).zone("store")


def test_a_year_of_drops_costs_a_tick_what_is_new(drop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a year of days the cursor is empty, no content is read and no manifest; one new file costs one of each."""
    content = (",".join(HEADERS["users"]) + "\n").encode()
    for number in range(365):
        file = drop / str(DAY + timedelta(days=number)) / "users.csv"
        file.parent.mkdir()
        file.write_bytes(content + f"{number}\n".encode())
    known = DropFolder("store", SOURCES)
    manifest = LandedFiles(
        0,
        {f"{DAY + timedelta(days=n)}/users.csv": frozenset({sha(content + f"{n}\n".encode())}) for n in range(365)},
        {},
        {},
        {},
    )
    monkeypatch.setattr("lakehouse_assets.platform.ingest.landing_status.read_landed", lambda *_: manifest)
    read = []
    of_a_file = SeenFiles.sha256
    monkeypatch.setattr(
        SeenFiles, "sha256", lambda seen, path, state: read.append(path) or of_a_file(seen, path, state)
    )
    with dg.DagsterInstance.ephemeral() as instance:
        there = [one for one in files_in(drop, SOURCES, NOW) if isinstance(one, Dropped)]
        assert known.unlanded(instance, drop, there, ()) == ([], [])
        assert len(read) == 365
        new = drop / str(DAY) / "orders.csv"
        new.write_bytes(content)
        there = [one for one in files_in(drop, SOURCES, NOW) if isinstance(one, Dropped)]
        left, _ = known.unlanded(instance, drop, there, {new})
        assert ([file.path for file in left], read[365:]) == ([new], [new])
        assert len(cursor_of({file.path: Waiting(file.state, NOW) for file in left})) < 300


def test_a_broken_file_fails_its_run_and_does_not_hold_the_others(drop: Path) -> None:
    generate(drop, DAY, DAY, orders=10, seed=1, defects=0)
    file = drop / str(DAY) / "payments.csv"
    file.write_bytes(file.read_bytes()[:-30] + b'\n"half')
    with dg.DagsterInstance.ephemeral() as instance:
        (request,), _, cursor = tick(instance)
        result = run(instance, request)
        assert not result.success
        (failure,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
        message = failure.step_failure_data.user_failure_data
        assert message is not None
        assert "payments.csv" in str(message.description)
        assert landed("orders") == [(DAY, 10)]
        assert landed("payments") == []
        assert tick(instance, cursor)[0] == [], "the same broken file is not tried again"
        assert tick(instance, None)[0] == [], "nor after the cursor is lost"
        file.touch()
        assert tick(instance, cursor)[0] == [], "nor when only its time is another"


def test_a_day_replaced_by_hand_is_not_doubled_by_the_file_that_is_still_there(drop: Path, tmp_path: Path) -> None:
    """Nor by another process, which remembers nothing of it."""
    generate(drop, DAY, DAY, orders=10, seed=1, defects=0)
    with dg.DagsterInstance.ephemeral() as instance:
        (request,), _, _ = tick(instance)
        assert run(instance, request).success
        by_hand = tmp_path / "corrected.csv"
        by_hand.write_bytes(b"".join((drop / str(DAY) / "users.csv").read_bytes().splitlines(keepends=True)[:2]))
        land(settings().landing, "store/users", SOURCES["users"], by_hand, day=DAY, replace=True, today=NOW.date())
        there = [one for one in files_in(drop, SOURCES, NOW) if isinstance(one, Dropped)]
        all_ripe = {file.path for file in there}
        assert DropFolder("store", SOURCES).unlanded(instance, settings().landing, there, all_ripe) == ([], [])
    assert landed("users") == [(DAY, 1)]


def test_a_shrunken_snapshot_is_asked_for_again_when_the_one_before_is_another(drop: Path, tmp_path: Path) -> None:
    table = catalog.table(TableKey("store", "bronze", "users"))
    source = replace(SOURCES["users"], most_missing=0.5)
    job = landing_job("store", Catalog((replace(table, source=source),)), DAY)
    header, row = ",".join(HEADERS["users"]) + "\n", "," * (len(HEADERS["users"]) - 1) + "\n"
    file, before = drop / str(DAY + timedelta(days=1)) / "users.csv", tmp_path / "users.csv"
    file.parent.mkdir()
    file.write_text(header + row)
    folder = DropFolder("store", {"users": source})
    with dg.DagsterInstance.ephemeral() as instance:

        def waits() -> bool:
            there = [one for one in files_in(drop, {"users": source}, NOW) if isinstance(one, Dropped)]
            return bool(folder.unlanded(instance, settings().landing, there, {file})[0])

        for rows, refused in ((10, True), (2, False)):
            before.write_text(header + row * rows)
            land(settings().landing, "store/users", source, before, day=DAY, today=NOW.date(), allow_shrinking=True)
            assert waits()
            key = str(DAY + timedelta(days=1))
            result = job.execute_in_process(instance=instance, partition_key=key, raise_on_error=False)
            assert (result.success, waits()) == (not refused, False)


def test_a_manifest_of_another_version_is_no_refusal_of_the_file(drop: Path) -> None:
    generate(drop, DAY, DAY, orders=10, seed=1, defects=0)
    manifest = settings().landing / "store" / "orders" / "_manifest"
    write_deltalake(manifest, pa.table({"a": [1]}))
    with dg.DagsterInstance.ephemeral() as instance:
        job = landing_jobs["store"]
        assert not job.execute_in_process(instance=instance, partition_key=str(DAY), raise_on_error=False).success
        shutil.rmtree(manifest)
        (request,), _, _ = tick(instance)
        assert request.tags["lakehouse/dropped_files"] == "orders"


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
        asked, message, _ = tick(instance)
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    assert asked == []
    assert message == f"Nothing new in {drop}; there are no files of {yesterday}."


def test_what_is_not_a_table_or_a_day_is_left_alone(drop: Path) -> None:
    for name in ("2025-01-01/notes.txt", "2025-01-01/users.csv.tmp", "2025-99-99/users.csv", "later/users.csv"):
        (drop / name).parent.mkdir(exist_ok=True)
        (drop / name).write_text("x")
    assert list(files_in(drop, SOURCES, NOW)) == []
    assert set(SOURCES) == set(TABLES)
    assert dropped_sources(catalog, "gmv") == {}, "whose files say their day"
