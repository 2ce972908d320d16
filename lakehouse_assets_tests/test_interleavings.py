"""What others do between a step's plan and its commit: the step wins without computing again, or plans anew."""

import shutil
from collections.abc import Callable
from contextvars import Context
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import Field, WriterProperties, write_deltalake
from deltalake.schema import PrimitiveType
from deltalake.transaction import AddAction, CommitProperties

from lakehouse_assets.platform.storage.commit import ConcurrentCommit, Swap, commit, evolve
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, Kind
from lakehouse_assets.platform.storage.data_files import active_files
from lakehouse_assets.platform.storage.delta_table import open_table
from lakehouse_assets.platform.storage.delta_writer import replaced_days
from lakehouse_assets.platform.storage.log_handles import shared_handles
from lakehouse_assets_tests.plain_table import DAYS, PlainTable, rows_of

D1, D2, D3 = DAYS[:3]
Between = Callable[[PlainTable], None]


def replaced(day: date) -> Between:
    def replace(table: PlainTable) -> None:
        table.replace(rows_of(day, 70), "other", [day], table.newest)

    return replace


def made_empty(day: date) -> Between:
    """Another step replaces the day by no rows: no file of it comes."""

    def empty(table: PlainTable) -> None:
        files = replaced_days(active_files(table.opened()), "feed_day", [day]).files
        other = CommitMetadata("t", "other", "other", frozenset([day]), "code", {})
        commit(table.target, other, table.newest, Swap([], files, lambda file: False))

    return empty


def compacted(table: PlainTable) -> None:
    table.opened().optimize.compact(writer_properties=WriterProperties(compression="ZSTD"))


def vacuumed(table: PlainTable) -> None:
    table.opened().vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)


def restored(table: PlainTable) -> None:
    table.opened().restore(table.newest - 1)


def widened(table: PlainTable) -> None:
    table.opened().alter.add_columns([Field("more", PrimitiveType("string"))])


def retained(table: PlainTable) -> None:
    table.opened().alter.set_table_properties({"delta.logRetentionDuration": "interval 1 days"})


def featured(table: PlainTable) -> None:
    table.opened().alter.add_constraint({"positive": "n >= 0"})


def made_anew(table: PlainTable) -> None:
    """Deleted, and created again up to the very version that was planned at."""
    version = table.newest
    shutil.rmtree(table.path)  # type: ignore[arg-type]
    for n in range(version + 1):
        table.append(rows_of(DAYS[n % len(DAYS)], 900 + n), f"anew {n}", DAYS[n % len(DAYS)])
    assert table.newest == version


def appended_outside(day: date) -> Between:
    """A notebook appends rows of a day."""
    return lambda table: write_deltalake(table.opened(), rows_of(day, 80), mode="append")


def planned(table: PlainTable, days: list[date], number: int) -> Callable[[], int]:
    """A step that replaces days: it has planned and written, and will commit when called."""
    base = table.newest
    replaces = replaced_days(active_files(table.opened(base)), "feed_day", days)
    attempt = table.write(pa.concat_tables([rows_of(day, number) for day in days]))
    replaces.carry_over(table.target, attempt)
    swap = Swap(table.files(attempt), replaces.files, lambda file: file.may_hold_days("feed_day", days))
    metadata = CommitMetadata("t", "ours", f"ours {number}", frozenset(days), "code", {}, base=base)
    return lambda: commit(table.target, metadata, base, swap)


def elsewhere(table: PlainTable, between: Between) -> list[int]:
    """In another process, as it were: it shares no handle of the step. What the table then holds."""
    between(table)
    return table.numbers()


WINS: dict[str, Between] = {
    "another day replaced": replaced(D2),
    "another day made empty": made_empty(D2),
    "another day appended outside": appended_outside(D3),
    "another day restored": restored,
    "vacuumed": vacuumed,
}
LOSES: dict[str, Between] = {
    "the same day replaced": replaced(D1),
    "the same day made empty": made_empty(D1),
    "the same day appended outside": appended_outside(D1),
    "compacted": compacted,
    "the same day restored": restored,
    "a column added": widened,
    "a property set": retained,
    "a constraint added": featured,
    "deleted and made anew to the same version": made_anew,
}


@pytest.mark.parametrize("between", WINS.values(), ids=WINS)
def test_what_touches_nothing_of_a_step_does_not_make_it_compute_again(tmp_path: Path, between: Between) -> None:
    table = PlainTable(tmp_path / "t").fill()
    table.replace(rows_of(D2, 1), "before", [D2], table.newest)
    with shared_handles():
        step = planned(table, [D1], 50)
        found = Context().run(elsewhere, table, between)
        version = step()
    assert version == table.newest
    assert table.numbers() == sorted([*[number for number in found if number != 0], 50])


@pytest.mark.parametrize("between", LOSES.values(), ids=LOSES)
def test_what_touches_a_step_makes_it_plan_again(tmp_path: Path, between: Between) -> None:
    table = PlainTable(tmp_path / "t").fill()
    table.replace(rows_of(D1, 0), "before", [D1], table.newest)
    with shared_handles():
        step = planned(table, [D1], 50)
        before = Context().run(elsewhere, table, between)
        with pytest.raises(ConcurrentCommit):
            step()
    assert table.numbers() == before, "nothing of the step is committed"


def test_two_writers_of_disjoint_days_both_win_without_computing_again(tmp_path: Path) -> None:
    table = PlainTable(tmp_path / "t").fill()
    one, other = planned(table, [D1, D2], 50), planned(table, [D3], 60)
    base = table.newest
    assert (other(), one()) == (base + 1, base + 2)
    assert table.numbers() == [3, 4, 5, 6, 7, 50, 50, 60]


def test_what_follows_from_all_before_loses_to_any_other_commit_even_one_without_files(tmp_path: Path) -> None:
    """A ledger that publishes while another run publishes a later day and has nothing to add."""
    table = PlainTable(tmp_path / "t").fill()
    base = table.newest
    files = table.files(table.write(rows_of(D1, 50)))
    for kind in Kind.STEP, Kind.ADOPTION:
        other = CommitMetadata("t", "other", f"other {kind}", frozenset([D3]), "code", {}, base=base, kind=kind)
        base = commit(table.target, other, base, Swap([], [], lambda file: True, alone=True))
        ours = CommitMetadata("t", "ours", f"ours {kind}", frozenset([D1]), "code", {}, base=base - 1)
        with pytest.raises(ConcurrentCommit, match="the same days"):
            commit(table.target, ours, base - 1, Swap(files, [], lambda file: False, alone=True))
    assert commit(table.target, ours, base, Swap(files, [], lambda file: False, alone=True)) == base + 1


WIDE = pa.schema([("feed_day", pa.date32()), ("n", pa.int64()), ("more", pa.string())])


@pytest.mark.parametrize("between", [replaced(D2), appended_outside(D3), widened], ids=["step", "outside", "columns"])
def test_columns_are_added_to_the_version_that_was_planned_or_not_at_all(tmp_path: Path, between: Between) -> None:
    table = PlainTable(tmp_path / "t").fill()
    wide = PlainTable(table.path, WIDE)
    with shared_handles():
        base = table.newest
        open_table(table.path, base)
        Context().run(between, table)
        version = Context().run(lambda: table.newest)
        with pytest.raises(ConcurrentCommit):
            evolve(wide.target, base)
    assert table.newest == version
    assert evolve(wide.target, version) == (version if between is widened else version + 1) == table.newest


def test_a_file_without_the_day_wedges_nobody(tmp_path: Path) -> None:
    """Somebody appended rows without the column: they are of no day, and stay when a day is replaced."""
    table = PlainTable(tmp_path / "t").fill()
    base = table.newest
    odd = table.write(pa.table({"n": [77]}))
    outside = CommitProperties(custom_metadata={"userMetadata": "a notebook"})
    adds = [AddAction(one.path, one.size, {}, 0, True, one.statistics) for one in table.files(odd)]
    table.opened().create_write_transaction(adds, "append", table.opened().schema(), commit_properties=outside)
    assert planned(table, [D1], 50)() == base + 2
    assert table.numbers() == [1, 2, 3, 4, 5, 6, 7, 50, 77]


def test_readers_of_two_doors_append_at_once_and_two_of_one_do_not(tmp_path: Path) -> None:
    schema = pa.schema([("feed_day", pa.date32()), ("n", pa.int64()), ("door", pa.string())])
    table = PlainTable(tmp_path / "t", schema, statistics=("feed_day", "n", "door"))

    def append(channel: str, number: int, base: int | None) -> int:
        rows = pa.table({"feed_day": [D1], "n": [number], "door": [channel]}, schema)
        metadata = CommitMetadata(
            "t", f"r{number}", f"a{number}", frozenset(), "c", {}, base=base, kind=Kind.STREAM, channel=channel
        )
        swap = Swap(table.files(table.write(rows)), [], lambda file: file.may_hold("door", channel, channel))
        return commit(table.target, metadata, base, swap)

    append("topic", 1, None)
    assert [append("topic", 2, 0), append("files", 3, 0)] == [1, 2]
    with pytest.raises(ConcurrentCommit):
        append("topic", 9, 0)
    with pytest.raises(ConcurrentCommit):
        append("files", 9, 1)
    assert table.numbers() == [1, 2, 3]
