"""Records that a stream sets aside: there once, whoever else keeps some; an error of theirs is one of the stream's."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.stream_source import OUTSIDE, SetAside
from lakehouse_assets.platform.storage.delta_table import query_rows
from lakehouse_assets.platform.streams.set_aside import NotKept, keep


def records(*numbers: int, topic: str = "t") -> list[SetAside]:
    return [SetAside(topic, number, "0", OUTSIDE, "its day is none", "{}") for number in numbers]


def test_several_that_make_the_table_at_once_keep_all_records_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        for round_ in range(5):
            path = tmp_path / str(round_)
            kept = pool.map(lambda topic: keep(path, records(1, 2, 1, topic=topic)), "aabb")  # noqa: B023
            assert sum(kept) == 4
            rows = sorted((row["source_file"], row["row_number"]) for row in query_rows(path, "SELECT * FROM t"))
            assert rows == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


def no_folder(path: Path) -> None:
    path.write_text("a file where the table belongs")


def broken_log(path: Path) -> None:
    keep(path, records(1))
    next(path.glob("_delta_log/*.json")).write_text("{")


def lost_file(path: Path) -> None:
    keep(path, records(1))
    next(path.glob("*.parquet")).unlink()


def broken_file(path: Path) -> None:
    keep(path, records(1))
    next(path.glob("*.parquet")).write_bytes(b"PAR1 not")


BROKEN = [no_folder, broken_log, lost_file, broken_file]


@pytest.mark.parametrize("broken", BROKEN)
def test_what_cannot_be_kept_is_told_as_an_error_that_a_stream_survives(
    tmp_path: Path, broken: Callable[[Path], None]
) -> None:
    """A stream that keeps running catches LakehouseError and tries again (`run.py`)."""
    path = tmp_path / "t"
    broken(path)
    with pytest.raises(NotKept, match=rf"1 records that no commit may hold cannot be kept in {path}: .*tries again"):
        keep(path, records(1))
    assert issubclass(NotKept, LakehouseError)
