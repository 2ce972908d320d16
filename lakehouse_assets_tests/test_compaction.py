"""Compaction: the same rows in fewer files, found by every reader, whatever others commit meanwhile."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, QueryBuilder

from lakehouse_assets.platform.common import fault_injection
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.common.fault_injection import Failpoint
from lakehouse_assets.platform.common.file_layout import KIB, MIB, Parquet
from lakehouse_assets.platform.maintenance import maintenance
from lakehouse_assets.platform.maintenance.maintenance import FEWEST, maintain, survey
from lakehouse_assets.platform.orchestration.staleness import TableVersions
from lakehouse_assets.platform.scd.change_table import News, news
from lakehouse_assets.platform.storage import commit as commits_of_files
from lakehouse_assets.platform.storage import compaction
from lakehouse_assets.platform.storage.changed_days import changed_days
from lakehouse_assets.platform.storage.commit import ConcurrentCommit, Swap, commit
from lakehouse_assets.platform.storage.commit_actions import actions_of
from lakehouse_assets.platform.storage.commit_log import unvalidated
from lakehouse_assets.platform.storage.commit_metadata import Kind
from lakehouse_assets.platform.storage.compaction import FILE_BYTES, SMALL_BYTES, merges_of
from lakehouse_assets.platform.storage.data_files import ActiveFile
from lakehouse_assets.platform.storage.delta_table import commits, last_metadata
from lakehouse_assets.platform.storage.pinned_read import read_version
from lakehouse_assets_tests.plain_table import DAYS, NUMBERS, PlainTable, metadata, rows_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def compacted(table: PlainTable) -> str:
    """Maintain it; says what was said."""
    return maintain(survey(table.place)).message


def when(monkeypatch: pytest.MonkeyPatch, then: Callable[[], object]) -> None:
    """Let something else happen once, just before the compaction commits."""
    left = [then]

    def reach(place: Failpoint, _: object) -> None:
        if place is Failpoint.BEFORE_SWAP and left:
            left.pop()()

    monkeypatch.setattr(commits_of_files, "inject_fault", reach)


def test_it_changes_no_row_and_no_day(tmp_path: Path) -> None:
    table = PlainTable(tmp_path / "t", append_only=True).fill()
    staleness = TableVersions(table.path)
    staleness.refresh()
    before, base = dict(staleness.changed), table.newest
    assert survey(table.place).due
    assert (compacted(table), len(table.named())) == ("", 1)
    assert table.numbers() == table.numbers(base) == list(range(FEWEST))
    staleness.refresh()
    assert staleness.changed == before, "maintenance is no change"
    assert changed_days(table.path, base, base + 1) == frozenset()
    assert unvalidated(table.path) == {}
    assert news(table.path, base, base + 1) == News(frozenset(), 0)
    assert last_metadata(table.path) == metadata(f"day {FEWEST - 1}", DAYS[-1])
    assert len([one for one in commits(table.path) if one.metadata]) == FEWEST
    version = table.newest
    assert (compacted(table), table.version) == ("", version), "nothing to do, nothing done"
    assert survey(table.place).small == 0


def test_the_platforms_own_columns_are_left_out(tmp_path: Path) -> None:
    table = PlainTable(tmp_path / "t").fill()
    compacted(table)
    assert pq.read_schema(table.named()[0]).names == NUMBERS.names


NASTY = pa.schema(
    [
        ("feed_day", pa.date32()),
        ("at", pa.timestamp("us", tz="UTC")),
        ("local", pa.timestamp("us")),
        ("text", pa.string()),
        ("who", pa.string()),
        ("real", pa.float64()),
        ("money", pa.decimal128(38, 2)),
        ("many", pa.list_(pa.struct([("a", pa.int64()), ("b", pa.string())]))),
    ]
)
LAST = datetime(2023, 1, 1, 0, 0, 0, 999_999)


def nasty_row(n: int, day: date) -> dict[str, Any]:
    at = LAST + timedelta(seconds=n)
    values = {"text": "z" * 40 + str(n), "who": "ana@example.org", "real": float("nan") if n % 2 else -0.0}
    return {"feed_day": day, "at": at.replace(tzinfo=UTC), "local": at, "money": None, "many": [{"a": n}], **values}


def test_statistics_hide_no_row_and_tell_nothing_of_other_columns(tmp_path: Path) -> None:
    """The greatest timestamp has microseconds, texts are long, there are NaN, nothing but NULL, and nested values."""
    table = PlainTable(tmp_path / "t", NASTY, ("feed_day", "at", "local", "text"))
    for n, day in enumerate(DAYS):
        table.append(pa.Table.from_pylist([nasty_row(n, day)], NASTY), f"day {n}", day)
    before = table.rows()
    compacted(table)
    assert (len(table.named()), repr(table.rows())) == (1, repr(before))
    (add,) = [action["add"] for action in actions_of(table.path, table.newest) if "add" in action]
    stats = json.loads(add["stats"])
    assert (add["dataChange"], stats["numRecords"]) == (False, FEWEST)
    assert set(stats["maxValues"]) == set(stats["minValues"]) == {"feed_day", "at", "local", "text"}
    assert stats["maxValues"]["at"] == "2023-01-01T00:00:08.000Z", "never below 00:00:07.999999"
    assert "ana" not in add["stats"]
    engine = QueryBuilder().register("t", table.opened())
    for last in (datetime(2023, 1, 1, 0, 0, 7, 999_999), LAST):
        asked = f"SELECT * FROM t WHERE local = arrow_cast('{last.isoformat()}', 'Timestamp(Microsecond, None)')"  # noqa: S608
        assert pa.table(engine.execute(asked).read_all()).num_rows == 1


@pytest.mark.slow
def test_spark_finds_every_row_of_a_compacted_table(spark: "SparkSession", tmp_path: Path) -> None:
    from pyspark.sql import functions as F

    table = PlainTable(tmp_path / "t", NASTY, ("feed_day", "at", "local", "text"))
    for n, day in enumerate(DAYS):
        table.append(pa.Table.from_pylist([nasty_row(n, day)], NASTY), f"day {n}", day)
    delta = spark.read.format("delta")
    before = [delta.option("versionAsOf", table.newest).load(str(table.path)).orderBy("feed_day").collect()]
    compacted(table)
    found = delta.option("versionAsOf", table.newest).load(str(table.path))
    as_files = read_version(spark, table.path, table.newest, table.target.schema)
    assert repr([found.orderBy("feed_day").collect()]) == repr(before)
    assert repr([as_files.orderBy("feed_day").collect()]) == repr(before)
    for n in range(FEWEST):
        local = F.lit((LAST + timedelta(seconds=n)).isoformat(sep=" ")).cast("timestamp_ntz")
        assert found.where(F.col("local") == local).count() == 1
        assert found.where(F.col("text") == "z" * 40 + str(n)).count() == 1


def test_delta_rs_own_compaction_would_hide_rows(tmp_path: Path) -> None:
    """Why files are merged here: once this fails, `optimize.compact` can be used."""
    table = PlainTable(tmp_path / "t", NASTY, ("feed_day", "at", "local"))
    for n, day in enumerate(DAYS):
        table.append(pa.Table.from_pylist([nasty_row(n, day)], NASTY), f"day {n}", day)
    DeltaTable(table.path).optimize.compact()
    (add,) = [action["add"] for action in actions_of(table.path, table.newest) if "add" in action]
    assert json.loads(add["stats"])["maxValues"]["at"] == "2023-01-01T00:00:07.999Z", "below 00:00:07.999999"


def test_partitions_are_compacted_each_by_itself(tmp_path: Path) -> None:
    columns = pa.schema([*NUMBERS, ("bucket", pa.int32())])
    table = PlainTable(tmp_path / "t", columns, partition_by=("bucket",))
    for n, day in enumerate(DAYS):
        bucket = pa.array([n % 2], pa.int32())
        table.append(rows_of(day, n).append_column("bucket", bucket), f"day {n}", day, partition={"bucket": n % 2})
    table.append(
        rows_of(DAYS[0], 9).append_column("bucket", pa.array([7], pa.int32())), "alone", partition={"bucket": 7}
    )
    before = table.rows()
    compacted(table)
    assert table.rows() == before
    assert sorted((file.parent.name, pq.read_metadata(file).num_rows) for file in table.named()) == [
        ("bucket=0", FEWEST // 2),
        ("bucket=1", FEWEST // 2),
        ("bucket=7", 1),
    ]


def test_files_of_any_name_are_replaced(tmp_path: Path) -> None:
    """The log has names in the form of a URL."""
    table = PlainTable(tmp_path / "t")
    for n, day in enumerate(DAYS):
        attempt = table.write(rows_of(day, n))
        odd = attempt.rename(attempt.with_name(f"{attempt.name} x=1 %20 é#"))
        commit(table.target, metadata(f"{n}", day), table.version, Swap(table.files(odd), [], lambda _: True))
    compacted(table)
    assert (len(table.named()), table.numbers()) == (1, list(range(FEWEST)))


def test_files_keep_the_layout_of_the_table(tmp_path: Path) -> None:
    columns = pa.schema([*NUMBERS, ("text", pa.string())])
    layout = Parquet("zstd", level=6, dictionary=False, page_bytes=8 * KIB, row_group_bytes=64 * KIB, page_rows=500)
    table = PlainTable(tmp_path / "t", columns, layout=layout)
    for n, day in enumerate(DAYS):
        numbers = range(n * 1000, (n + 1) * 1000)
        rows = rows_of(day, *numbers).append_column(
            "text", pa.array([sha256(bytes(one)).hexdigest() for one in numbers])
        )
        table.append(rows, f"day {n}", day)
    compacted(table)
    (file,) = table.named()
    found = pq.read_metadata(file)
    chunks = [found.row_group(n).column(c) for n in range(found.num_row_groups) for c in range(found.num_columns)]
    assert {chunk.compression for chunk in chunks} == {"ZSTD"}
    assert not any("DICTIONARY" in encoding for chunk in chunks for encoding in chunk.encodings)
    assert found.num_row_groups > 8
    assert max(found.row_group(n).total_byte_size for n in range(found.num_row_groups)) < 2 * 64 * KIB
    assert table.numbers() == list(range(FEWEST * 1000))


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """A gigabyte of rows in small files: many rows of few values."""
    wide = pa.schema([*NUMBERS, ("text", pa.string())])
    table = PlainTable(tmp_path / "t", wide)
    of_a_day = 250_000
    for n, day in enumerate(DAYS):
        text = pa.array([f"{n}" * 500], pa.string()).take(pa.array([0] * of_a_day))
        rows = pa.table([pa.array([day] * of_a_day), pa.array(range(of_a_day)), text], wide)
        table.append(rows, f"day {n}", day)
    del rows, text
    pool, before = pa.proxy_memory_pool(pa.default_memory_pool()), pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        compacted(table)
    finally:
        pa.set_memory_pool(before)
    assert sum(pq.read_metadata(file).num_rows for file in table.named()) == FEWEST * of_a_day
    assert 10 * MIB < pool.max_memory() < 320 * MIB


def test_columns_that_came_later_and_other_types_of_time_are_merged(tmp_path: Path) -> None:
    """Spark of long ago wrote INT96, far beyond what nanoseconds hold; a file of then lacks what came later."""
    columns = pa.schema([*NUMBERS, ("at", pa.timestamp("us", tz="UTC")), ("later", pa.string())])
    table = PlainTable(tmp_path / "t", columns)
    far = datetime(9000, 1, 1, 1, 2, 3, 456_789, UTC)
    for n, day in enumerate(DAYS):
        attempt = table.write(rows_of(day, n))
        (file,) = attempt.rglob("*.parquet")
        held = rows_of(day, n).append_column("at", pa.array([far], pa.timestamp("us", tz="UTC")))
        pq.write_table(held, file, use_deprecated_int96_timestamps=True, store_schema=False)
        commit(table.target, metadata(f"day {n}", day), table.version, Swap(table.files(attempt), [], lambda _: True))
    compacted(table)
    (file,) = table.named()
    assert [(row["n"], row["at"], row["later"]) for row in pq.read_table(file).to_pylist()] == [
        (n, far, None) for n in range(FEWEST)
    ]
    assert "INT96" not in str(pq.read_metadata(file).schema)


def file_of(first: date, last: date, size: int = 1, **partition: int) -> ActiveFile:
    return ActiveFile(f"{first}..{last}", size, 1, {"feed_day": (first, last)}, partition)


def test_neighbours_are_merged_and_files_keep_narrow_days() -> None:
    first = date(2023, 1, 1)

    def days(low: int, high: int, size: int = MIB) -> ActiveFile:
        return file_of(first + timedelta(days=low), first + timedelta(days=high), size)

    old, new = [days(n, n) for n in range(3)], [days(n, n) for n in range(50, 54)]
    large = days(3, 49, 2 * SMALL_BYTES)
    assert merges_of([*reversed(new), large, *old]) == [old, new], "not across what stays"
    within = days(20, 20)
    assert merges_of([*new, large, within, *old]) == [[*old, within], new], "what lies within it hinders nobody"
    streamed = [days(60, 60), days(60, 60), days(61, 61)]
    assert merges_of([days(60, 60, SMALL_BYTES), *streamed]) == [streamed], "a day has large and small files"
    eight = [days(n, n, 15 * MIB) for n in range(8)]
    assert merges_of(eight) == [eight[:4], eight[4:]], f"up to {FILE_BYTES} bytes"
    assert merges_of([days(0, 0), days(1, 1, SMALL_BYTES)]) == []


def test_of_a_step_that_started_before_it_an_append_wins_and_the_next_loses(tmp_path: Path) -> None:
    table = PlainTable(tmp_path / "t").fill()
    before = table.newest
    compacted(table)
    after = table.newest
    assert before != after
    table.append(rows_of(DAYS[0], 100), "started before", DAYS[0], base=before)
    with pytest.raises(ConcurrentCommit):
        table.append(rows_of(DAYS[0], 101), "started after", DAYS[0], base=after)
    assert table.numbers() == [*range(FEWEST), 100]


def test_rows_that_came_and_were_moved_meanwhile_are_seen(tmp_path: Path) -> None:
    """The file that the other writer added is gone from the newest version, and its rows are not."""
    table = PlainTable(tmp_path / "t").fill()
    base = table.newest
    table.append(rows_of(DAYS[0], 100), "another", DAYS[0])
    compacted(table)
    assert len(table.named()) == 1
    with pytest.raises(ConcurrentCommit, match="wrote rows that this run has read"):
        table.append(rows_of(DAYS[1], 101), "started before", DAYS[1], base=base)


def test_a_day_is_replaced_across_it(tmp_path: Path) -> None:
    """The rows to be replaced lie in another file now: the step plans again."""
    table = PlainTable(tmp_path / "t").fill()
    base = table.newest
    compacted(table)
    with pytest.raises(ConcurrentCommit, match="replaced files that this run replaces"):
        table.replace(rows_of(DAYS[2], 200), "started before", [DAYS[2]], base)
    table.replace(rows_of(DAYS[2], 200), "again", [DAYS[2]], table.newest)
    assert table.numbers() == sorted({*range(FEWEST), 200} - {2}), "exactly that day, though its file holds others"


def test_who_appends_meanwhile_hinders_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = PlainTable(tmp_path / "t").fill()
    when(monkeypatch, lambda: table.append(rows_of(DAYS[0], 100), "meanwhile", DAYS[0]))
    assert compacted(table) == ""
    assert (len(table.named()), table.numbers()) == (2, [*range(FEWEST), 100])
    assert len(table.attempts()) == FEWEST + 2, "the files were merged once"


def test_who_replaces_a_file_meanwhile_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = PlainTable(tmp_path / "t").fill()
    when(monkeypatch, lambda: table.replace(rows_of(DAYS[2], 200), "meanwhile", [DAYS[2]], table.newest))
    assert compacted(table) == ""
    assert (len(table.named()), table.numbers()) == (1, sorted({*range(FEWEST), 200} - {2}))
    assert len(table.attempts()) == FEWEST + 2, "what lost left nothing"


def test_who_is_always_faster_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = PlainTable(tmp_path / "t").fill()
    numbers = iter(range(100, 200))

    def move_rows(*given: Any) -> int:
        n = next(numbers)
        table.replace(rows_of(DAYS[2], n), f"meanwhile {n}", [DAYS[2]], table.newest)
        return commits_of_files.move_rows(*given)

    monkeypatch.setattr(compaction, "move_rows", move_rows)
    assert "not compacted: t: another run committed" in compacted(table)
    assert next(numbers) == 100 + maintenance.TRIES
    assert len(table.attempts()) == len(table.named()) + maintenance.TRIES, "each replaced one of a file"


def test_an_erasure_makes_it_start_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = PlainTable(tmp_path / "t").fill()
    erasure = metadata("erasure", DAYS[0], kind=Kind.ERASURE)
    merged: list[int] = []

    def erase() -> None:
        merged.append(len(table.attempts()))
        commit(table.target, erasure, table.newest, Swap([], [], lambda _: True))

    when(monkeypatch, erase)
    assert compacted(table) == ""
    assert len(table.named()) == 1
    assert len(table.attempts()) == merged[0], "the first merged files are gone, the second are named"


def test_an_answer_that_is_lost_is_recognized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = PlainTable(tmp_path / "t").fill()
    write = DeltaTable.create_write_transaction

    def lost(*given: Any, **named: Any) -> None:
        from deltalake.exceptions import DeltaError

        write(*given, **named)
        raise DeltaError("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(DeltaTable, "create_write_transaction", lost)
        assert compacted(table) == ""
    assert (table.version, len(table.named()), table.numbers()) == (FEWEST, 1, list(range(FEWEST)))


def test_an_unreadable_file_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    table = PlainTable(tmp_path / "t").fill()
    (torn, *_) = table.named()
    torn.write_bytes(b"PAR1")
    with pytest.raises(LakehouseError, match="t could not be compacted"):
        compacted(table)
    assert (table.version, len(table.attempts())) == (FEWEST - 1, FEWEST)


def _maintained(table: PlainTable) -> None:
    maintain(survey(table.place))


@pytest.mark.parametrize("place", [Failpoint.BEFORE_SWAP, Failpoint.AFTER_SWAP])
def test_killed_at_any_point_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Failpoint) -> None:
    table = PlainTable(tmp_path / "t").fill()
    monkeypatch.setenv(fault_injection.VARIABLE, f"{place.value}:t")
    process = multiprocessing.get_context("spawn").Process(target=_maintained, args=(table,))
    process.start()
    process.join()
    monkeypatch.delenv(fault_injection.VARIABLE)
    assert process.exitcode == -signal.SIGKILL
    assert table.numbers() == list(range(FEWEST))
    assert len(table.named()) == (FEWEST if place is Failpoint.BEFORE_SWAP else 1)
    compacted(table)
    assert (len(table.named()), table.numbers()) == (1, list(range(FEWEST)))


def test_checkpoints_are_written(tmp_path: Path) -> None:
    """By each commit that is due (every 50th), and after a compaction."""
    table = PlainTable(tmp_path / "t")
    table.append(rows_of(DAYS[0], 0), "first", DAYS[0])
    for n in range(1, 52):
        commit(table.target, metadata(f"{n}"), table.newest, Swap([], [], lambda _: False))
    assert [file.name for file in table.path.glob("_delta_log/*.checkpoint.parquet")] == [
        f"{49:020d}.checkpoint.parquet"
    ]
    os.remove(table.path / "_delta_log" / f"{0:020d}.json")
    assert table.numbers() == [0], "who reads the table needs no older entry"
    stats = pq.read_table(table.path / "_delta_log" / f"{49:020d}.checkpoint.parquet", columns=["add"])["add"]
    (add,) = [one for one in stats.to_pylist() if one]
    assert json.loads(add["stats"])["maxValues"] == {"feed_day": str(DAYS[0]), "n": 0}
    for n in range(FEWEST):
        table.append(rows_of(DAYS[0], n), f"again {n}", DAYS[0])
    compacted(table)
    assert (table.path / "_delta_log" / f"{table.newest:020d}.checkpoint.parquet").exists()


def test_the_plan_of_many_files_takes_a_look_at_each() -> None:
    files = [ActiveFile(f"{n}.parquet", 1, 1, {"feed_day": (DAYS[0], DAYS[0])}) for n in range(30_000)]
    assert [len(merge) for merge in merges_of(files)] == [30_000]
