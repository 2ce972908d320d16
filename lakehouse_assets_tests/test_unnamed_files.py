"""What maintenance removes: what was replaced long ago and what attempts left, and nothing that anybody needs."""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from lakehouse_assets.platform.maintenance.maintenance import FEWEST, StoredTable, maintain, survey
from lakehouse_assets.platform.storage import unnamed_files
from lakehouse_assets.platform.storage.commit import ConcurrentCommit, Swap, commit
from lakehouse_assets.platform.storage.commit_actions import log_file
from lakehouse_assets.platform.storage.commit_metadata import Kind
from lakehouse_assets.platform.storage.location import version_of_file
from lakehouse_assets.platform.storage.sweep import sweep
from lakehouse_assets.platform.storage.unnamed_files import RETENTION, retention, stored_files
from lakehouse_assets_tests.plain_table import DAYS, NUMBERS, PlainTable, made_old, metadata, rows_of

MONTH = 30.0  # days, of which files are kept


@pytest.fixture
def table(tmp_path: Path) -> PlainTable:
    return PlainTable(tmp_path / "t").fill()


@pytest.fixture
def aged(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, float], None]:
    """Lets files seem to be made some days ago; a file system does not let anybody set that."""
    monkeypatch.setattr(unnamed_files, "change_time", lambda file: file.stat().st_mtime)
    return made_old


def maintained(table: PlainTable) -> int:
    """Maintain it; returns how many files were removed. A second time does nothing."""
    removed = maintain(survey(table.place)).removed
    before, version = stored_files(table.path), table.version
    again = maintain(survey(table.place))
    assert (again.removed, stored_files(table.path), table.version) == (0, before, version)
    return removed


def test_what_was_replaced_is_kept_for_the_retention(table: PlainTable, aged: Callable[[Path, float], None]) -> None:
    """Of a pinned read, and of a replay: each version of the last 30 days is read as it was."""
    pinned = table.newest
    aged(table.path, 400)
    assert maintained(table) == 0
    assert len(table.named()) == 1, "it was compacted"
    assert table.numbers(pinned) == list(range(FEWEST))
    table.removed_long_ago(pinned + 1, MONTH - 0.1)
    assert maintained(table) == 0
    assert table.numbers(pinned) == list(range(FEWEST))
    table.removed_long_ago(pinned + 1, 0.2)
    assert maintained(table) == FEWEST
    assert table.numbers() == list(range(FEWEST))
    assert len(table.attempts()) == 1, "no empty folders are left"


def test_a_checkpoint_does_not_let_it_forget(table: PlainTable, aged: Callable[[Path, float], None]) -> None:
    """After it the log says no more of what was removed long ago; the files lie there unnamed."""
    base = table.newest
    maintained(table)
    aged(table.path, MONTH + 1)
    table.removed_long_ago(base + 1, MONTH + 1)
    DeltaTable(table.path).create_checkpoint()
    assert maintained(table) == FEWEST


def test_a_long_write_keeps_its_files(table: PlainTable, aged: Callable[[Path, float], None]) -> None:
    """The first file of its attempt is old, the newest one young: nothing of it goes, also what is only begun."""
    attempt = table.write(rows_of(DAYS[0], 100))
    aged(attempt, MONTH + 5)
    begun = attempt / "_temporary" / "0" / "part-1.parquet"
    begun.parent.mkdir(parents=True)
    begun.write_bytes(b"PAR1")
    there = sorted(attempt.rglob("*"))
    assert maintained(table) == 0
    assert sorted(attempt.rglob("*")) == there
    begun.unlink()
    begun.parent.rmdir()
    begun.parent.parent.rmdir()
    held = PlainTable(table.path, table.schema, ())
    files = held.files(attempt)
    (attempt / "young").touch()
    assert maintained(table) == 0
    commit(table.target, metadata("long", DAYS[0]), table.newest, Swap(files, [], lambda _: False))
    assert table.numbers() == [*range(FEWEST), 100]
    aged(attempt, MONTH + 5)
    assert maintained(table) == 1, "the rest of a named attempt, once it is old"
    assert table.numbers() == [*range(FEWEST), 100]


def test_an_attempt_that_nobody_names_goes_when_it_is_old(
    table: PlainTable, aged: Callable[[Path, float], None]
) -> None:
    killed, running = table.write(rows_of(DAYS[0], 100)), table.write(rows_of(DAYS[0], 101))
    for name in ("_temporary/0/_temporary/part-1.parquet", "state=passed/.part-00000.parquet.crc"):
        (killed / name).parent.mkdir(parents=True, exist_ok=True)
        (killed / name).write_bytes(b"x")
    aged(killed, MONTH + 1)
    aged(running, MONTH - 1)
    assert maintained(table) == 3
    assert not killed.exists()
    assert running.exists()


def test_a_file_that_was_linked_from_an_older_one_is_young(table: PlainTable) -> None:
    """A hard link has the time at which its rows were landed; its attempt is under way all the same."""
    landed = table.path.parent / "landed.parquet"
    pq.write_table(rows_of(DAYS[0], 100), landed)
    made_old(landed, 400)
    attempt = table.path / "attempt-1"
    attempt.mkdir()
    os.link(landed, attempt / "part-0.parquet")
    assert table.opened().vacuum(dry_run=True, full=True) == ["attempt-1/part-0.parquet"], "delta-rs would"
    assert maintained(table) == 0


def test_files_of_a_former_version_of_the_platform(tmp_path: Path, aged: Callable[[Path, float], None]) -> None:
    """Written in the table's folder, with checksums beside them: orphans go when they are old, named files never."""
    path = tmp_path / "t"
    for n, day in enumerate(DAYS):
        write_deltalake(path, rows_of(day, n), mode="append", configuration={RETENTION: "interval 30 days"})
    (named, *_) = path.glob("*.parquet")
    for name in (f".{named.name}.crc", "part-9.snappy.parquet", ".part-9.snappy.parquet.crc", "deletion_vector_1.bin"):
        (path / name).write_bytes(b"x")
    aged(path, MONTH - 1)
    (path / "part-8.parquet").write_bytes(b"x")
    table = PlainTable(path, NUMBERS)
    assert maintained(table) == 0
    aged(path, 2)
    before = survey(StoredTable("t", path))
    assert before.dead == 2
    assert maintained(table) == 2
    assert not list(path.glob("*part-9*"))
    assert (path / "part-8.parquet").exists(), "one of an hour ago"
    assert (path / f".{named.name}.crc").exists(), "the checksum of a file that stays"
    assert (path / "deletion_vector_1.bin").exists()
    assert table.numbers() == list(range(FEWEST))


def test_every_version_of_a_manifest_stays(table: PlainTable, aged: Callable[[Path, float], None]) -> None:
    base = table.newest
    place = StoredTable("t", table.path, keeps_all=True, statistics=("feed_day",))
    maintain(survey(place))
    aged(table.path, 400)
    table.removed_long_ago(base + 1, 400)
    assert survey(place).dead == 0
    assert maintain(survey(place)).removed == 0
    assert table.numbers(base) == list(range(FEWEST))


@pytest.mark.parametrize(
    ("message", "days"),
    [("interval 30 days", 30), ("interval 2 weeks", 14), ("INTERVAL 1 day", 7), (None, 7), ("for ever", 7)],
)
def test_retention_is_that_of_the_table_and_a_week_at_least(message: str | None, days: int) -> None:
    assert retention({RETENTION: message}) == timedelta(days=days)


# --- erasure ---


def test_an_erasure_removes_unnamed_attempts_at_once_and_running_ones_start_again(table: PlainTable) -> None:
    """One was killed and one is running, both with rows of the person; a third begins after the erasure's commit."""
    killed, running = table.write(rows_of(DAYS[0], 666)), table.write(rows_of(DAYS[0], 666))
    base, files = table.newest, table.files(running)
    erasure = commit(table.target, metadata("erasure", DAYS[0], kind=Kind.ERASURE), base, Swap([], [], lambda _: True))
    fence = version_of_file(log_file(table.path, erasure))
    assert fence is not None
    after = table.write(rows_of(DAYS[1], 100))
    held = table.write(rows_of(DAYS[1], 666))

    def holds(file: object) -> bool:
        return 666 in pq.read_table(str(file), columns=["n"])["n"].to_pylist()

    assert sweep(table.path, fence[1] / 1e9, holds) == 3
    assert [folder.exists() for folder in (killed, running, after, held)] == [False, False, True, False]
    with pytest.raises(ConcurrentCommit, match="wrote the same days"):
        commit(table.target, metadata("running", DAYS[0]), base, Swap(files, [], lambda _: False))
    commit(table.target, metadata("after", DAYS[1]), erasure, Swap(table.files(after), [], lambda _: False))
    assert table.numbers() == [*range(FEWEST), 100]


def test_compaction_leaves_no_trace_of_who_was_erased(table: PlainTable) -> None:
    """Merged files hold rows of a person too: what they replaced, and they themselves, go with the erasure."""
    maintain(survey(table.place))
    base = table.newest
    erasure = commit(table.target, metadata("erasure", DAYS[2], kind=Kind.ERASURE), base, Swap([], [], lambda _: True))
    table.replace(pa.table({"feed_day": [], "n": []}, NUMBERS), "again", [DAYS[2]], erasure)
    sweep(table.path, float("inf"), lambda _: True)
    assert table.numbers() == sorted({*range(FEWEST)} - {2})
    held = [n for file in table.path.rglob("*.parquet") if "_delta_log" not in file.parts
            for n in pq.read_table(file, columns=["n"])["n"].to_pylist()]  # fmt: skip
    assert sorted(held) == table.numbers()
