"""The pooled event log does everything Dagster's own storage does, also for many threads and processes at once."""

import multiprocessing
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as db
from dagster._check import CheckError
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage

from lakehouse_assets.ops.event_log import PooledEventLog

DAYS = dg.DailyPartitionsDefinition("2023-01-01", end_date="2023-02-01")
ORDERS = dg.AssetKey("orders")


@dg.asset(
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[dg.AssetCheckSpec("positive", asset="orders", partitions_def=DAYS)],
)
def orders(context: dg.AssetExecutionContext) -> Iterator[Any]:
    for day in context.partition_keys:
        context.log_event(dg.AssetMaterialization(ORDERS, partition=day, metadata={"rows": 3}, tags={"day": day}))
    yield dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])


@dg.asset(partitions_def=DAYS)
def broken() -> None:
    raise ValueError("no such feed")


def instance_at(home: Path) -> dg.DagsterInstance:
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text(
        "event_log_storage:\n"
        "  module: lakehouse_assets.ops.event_log\n"
        "  class: PooledEventLog\n"
        f"  config: {{base_dir: '{home / 'events'}'}}\n"
        "telemetry: {enabled: false}\n"
    )
    return dg.DagsterInstance.from_config(str(home))


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with instance_at(tmp_path / "dagster") as here:
        yield here


@pytest.fixture
def storage(instance: dg.DagsterInstance) -> PooledEventLog:
    assert isinstance(instance.event_log_storage, PooledEventLog)
    return instance.event_log_storage


def materialize(instance: dg.DagsterInstance, first: str, last: str | None = None) -> dg.ExecuteInProcessResult:
    if last is None:
        return dg.materialize([orders], instance=instance, partition_key=first)
    return dg.materialize(
        [orders],
        instance=instance,
        tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last},
    )


def days_of(instance: dg.DagsterInstance, key: dg.AssetKey = ORDERS) -> set[str]:
    return set(instance.get_materialized_partitions(key))


def log_entry(run_id: str, message: str) -> EventLogEntry:
    return EventLogEntry(None, "debug", message, run_id, 0.0)


def rows(storage: PooledEventLog, run_id: str) -> int:
    return len(storage.get_logs_for_run(run_id))


# -- what Dagster reads back --------------------------------------------------------------------------------------


def test_events_of_a_run_are_read_back_in_order(instance: dg.DagsterInstance) -> None:
    result = materialize(instance, "2023-01-03")

    types = [e.dagster_event.event_type_value for e in instance.all_logs(result.run_id) if e.dagster_event]

    assert types[-1] == "PIPELINE_SUCCESS"
    assert types.index("STEP_START") < types.index("ASSET_MATERIALIZATION") < types.index("STEP_SUCCESS")


def test_every_day_of_a_range_run_is_materialized_and_has_its_metadata(instance: dg.DagsterInstance) -> None:
    materialize(instance, "2023-01-05", "2023-01-09")

    assert days_of(instance) >= {f"2023-01-0{d}" for d in range(5, 10)}
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=ORDERS, asset_partitions=["2023-01-07"]), limit=10
    ).records
    assert any(r.asset_materialization and r.asset_materialization.metadata.get("rows") for r in records)
    assert instance.get_latest_materialization_event(ORDERS) is not None


def test_failed_and_checked_days_show_as_such(instance: dg.DagsterInstance, storage: PooledEventLog) -> None:
    materialize(instance, "2023-01-02")
    dg.materialize([broken], instance=instance, partition_key="2023-01-02", raise_on_error=False)

    assert days_of(instance, dg.AssetKey("broken")) == set()
    check = dg.AssetCheckKey(ORDERS, "positive")
    [execution] = storage.get_asset_check_execution_history(check, limit=5)
    assert execution.status.value == "SUCCEEDED"


def test_the_events_of_all_runs_share_one_database(instance: dg.DagsterInstance, storage: PooledEventLog) -> None:
    first, second = materialize(instance, "2023-01-01"), materialize(instance, "2023-01-02")

    with storage.index_connection() as connection:
        runs = {r for (r,) in connection.execute(db.text("SELECT DISTINCT run_id FROM event_logs"))}

    assert {first.run_id, second.run_id} <= runs
    assert [p.name for p in storage.database.parent.glob("*.db")] == ["event_log.db"]


def test_wiping_a_day_an_asset_a_run_and_everything(instance: dg.DagsterInstance, storage: PooledEventLog) -> None:
    first = materialize(instance, "2023-01-01")
    materialize(instance, "2023-01-02")

    instance.delete_run(first.run_id)
    assert rows(storage, first.run_id) == 0
    assert days_of(instance) == {"2023-01-02"}

    instance.wipe_assets([ORDERS])
    assert days_of(instance) == set()

    last = materialize(instance, "2023-01-03")
    storage.wipe()
    assert rows(storage, last.run_id) == 0
    assert days_of(instance) == set()
    materialize(instance, "2023-01-04")
    assert days_of(instance) == {"2023-01-04"}


def test_upgrade_and_reindex_leave_the_events_in_place(instance: dg.DagsterInstance, storage: PooledEventLog) -> None:
    run = materialize(instance, "2023-01-01")
    before = rows(storage, run.run_id)

    instance.upgrade()
    instance.reindex()

    assert rows(storage, run.run_id) == before
    assert storage.has_table("asset_check_executions")
    assert not storage.has_table("no_such_table")


def test_a_database_of_the_shipped_consolidated_storage_is_taken_over(tmp_path: Path) -> None:
    shipped = ConsolidatedSqliteEventLogStorage(str(tmp_path))
    shipped.store_event(log_entry("run", "kept"))

    ours = PooledEventLog(str(tmp_path))

    assert [e.user_message for e in ours.get_logs_for_run("run")] == ["kept"]
    ours.upgrade()
    ours.store_event(log_entry("run", "added"))
    assert rows(ours, "run") == 2
    ours.dispose()


# -- transactions -------------------------------------------------------------------------------------------------


def test_a_batch_is_stored_whole_or_not_at_all(storage: PooledEventLog) -> None:
    with pytest.raises(CheckError, match="not an event"):
        storage.store_event_batch([log_entry("run", "taken back"), "not an event"])  # type: ignore[list-item]
    assert rows(storage, "run") == 0

    storage.store_event_batch([log_entry("run", "a"), log_entry("run", "b")])
    assert [e.user_message for e in storage.get_logs_for_run("run")] == ["a", "b"]


def test_an_event_whose_asset_part_fails_leaves_nothing_behind(
    instance: dg.DagsterInstance, storage: PooledEventLog
) -> None:
    run = materialize(instance, "2023-01-01")
    materialization = next(
        e
        for e in instance.all_logs(run.run_id)
        if e.dagster_event and e.dagster_event.event_type_value == "ASSET_MATERIALIZATION"
    )
    before = rows(storage, run.run_id)
    with storage.index_connection() as connection:
        connection.execute(db.text("ALTER TABLE asset_keys RENAME TO elsewhere"))

    with pytest.raises(db.exc.OperationalError, match="asset_keys"):
        storage.store_event(materialization)

    assert rows(storage, run.run_id) == before
    with storage.index_connection() as connection:
        connection.execute(db.text("ALTER TABLE elsewhere RENAME TO asset_keys"))
    storage.store_event(materialization)
    assert rows(storage, run.run_id) == before + 1


# -- threads and processes ----------------------------------------------------------------------------------------


def in_threads(count: int, work: Callable[[int], None]) -> None:
    errors: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - reported below
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_threads_write_at_once_over_one_pool(storage: PooledEventLog) -> None:
    in_threads(8, lambda n: [storage.store_event(log_entry(f"run{n}", str(i))) for i in range(20)] and None)

    assert [rows(storage, f"run{n}") for n in range(8)] == [20] * 8


WRITER = """
import sys
from dagster._check import CheckError
from dagster._core.events.log import EventLogEntry
from lakehouse_assets.ops.event_log import PooledEventLog
base, run, count = sys.argv[1:]
storage = PooledEventLog(base)
for i in range(int(count)):
    storage.store_event(EventLogEntry(None, "debug", str(i), run, 0.0))
storage.dispose()
"""


def test_processes_that_start_together_on_an_empty_folder_all_write(tmp_path: Path) -> None:
    base = tmp_path / "events"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(base), f"run{n}", "100"], stderr=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    outcomes = [(w.communicate(timeout=120)[1], w.returncode) for w in writers]

    assert [code for _, code in outcomes] == [0, 0, 0], outcomes
    storage = PooledEventLog(str(base))
    assert [rows(storage, f"run{n}") for n in range(3)] == [100, 100, 100]
    storage.dispose()


def test_a_start_that_was_killed_half_way_is_completed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "event_log.db").touch()

    storage = PooledEventLog(str(tmp_path))

    storage.store_event(log_entry("run", "written"))
    assert rows(storage, "run") == 1
    storage.dispose()


def _write_in_child(storage: PooledEventLog, outcome: "multiprocessing.Queue[Any]") -> None:
    storage.store_event(log_entry("child", "from the child"))
    outcome.put((os.getpid(), id(storage._pool()), rows(storage, "child")))


def test_a_forked_child_uses_connections_of_its_own(storage: PooledEventLog) -> None:
    storage.store_event(log_entry("parent", "before"))
    parents_pool = storage._pool()
    context = multiprocessing.get_context("fork")
    outcome: multiprocessing.Queue[Any] = context.Queue()
    with storage.index_connection():  # a transaction of the parent's is none of the child's
        child = context.Process(target=_write_in_child, args=(storage, outcome))
        child.start()
        pid, childs_pool, seen = outcome.get(timeout=60)
        child.join(timeout=60)

    assert child.exitcode == 0
    assert pid != os.getpid()
    assert childs_pool != id(parents_pool)
    assert seen == 1
    assert storage._pool() is parents_pool
    storage.store_event(log_entry("parent", "after"))
    assert (rows(storage, "parent"), rows(storage, "child")) == (2, 1)


def test_a_slot_of_a_pool_is_given_to_one_step_only(storage: PooledEventLog) -> None:
    storage.set_concurrency_slots("spark", 1)
    claimed: queue.Queue[bool] = queue.Queue()

    in_threads(6, lambda n: claimed.put(storage.claim_concurrency_slot("spark", f"run{n}", "step").is_claimed))

    assert sorted(claimed.get_nowait() for _ in range(6)) == [False] * 5 + [True]


def test_disposing_closes_the_pool_and_a_later_use_opens_another(storage: PooledEventLog) -> None:
    storage.store_event(log_entry("run", "a"))
    pool = storage._pool()

    storage.dispose()
    storage.store_event(log_entry("run", "b"))

    assert storage._pool() is not pool
    assert rows(storage, "run") == 2


# -- watching -----------------------------------------------------------------------------------------------------


def test_a_watcher_gets_each_event_once_also_those_of_other_processes(storage: PooledEventLog) -> None:
    storage.store_event(log_entry("run", "already there"))
    seen: queue.Queue[str] = queue.Queue()
    storage.watch("run", None, lambda event, _cursor: seen.put(event.user_message))
    assert seen.get(timeout=20) == "already there"

    storage.store_event(log_entry("run", "ours"))
    assert seen.get(timeout=20) == "ours"
    storage.store_event(log_entry("another run", "not watched"))
    subprocess.run([sys.executable, "-c", WRITER, str(storage.database.parent), "run", "3"], check=True, timeout=120)

    assert [seen.get(timeout=20) for _ in range(3)] == ["0", "1", "2"]
    assert seen.empty()


def test_a_watcher_that_fails_does_not_silence_the_others_and_ended_ones_hear_no_more(
    storage: PooledEventLog,
) -> None:
    seen: queue.Queue[str] = queue.Queue()

    def failing(event: EventLogEntry, _cursor: str) -> None:
        raise ValueError(event.user_message)

    def until_success(event: EventLogEntry, _cursor: str) -> dg.DagsterRunStatus | None:
        seen.put(f"first {event.user_message}")
        return dg.DagsterRunStatus.SUCCESS

    def always(event: EventLogEntry, _cursor: str) -> None:
        seen.put(f"always {event.user_message}")

    for callback in (failing, until_success, always):
        storage.watch("run", None, callback)
    storage.store_event(log_entry("run", "a"))
    assert {seen.get(timeout=20), seen.get(timeout=20)} == {"first a", "always a"}
    storage.store_event(log_entry("run", "b"))
    assert seen.get(timeout=20) == "always b"

    storage.end_watch("run", always)
    storage.end_watch("run", always)  # twice is fine
    storage.dispose()
    assert not [t for t in threading.enumerate() if t.name == "event-watch"]
