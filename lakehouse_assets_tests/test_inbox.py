"""The inbox of a stream of files: a file is its path and its content, never its time; none holds up another."""

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path
from typing import Self

import pyarrow as pa
import pytest

from lakehouse_assets.definitions import catalog
from lakehouse_assets.platform.common.source_days import SourceDays
from lakehouse_assets.platform.ingest.day_assignment import split_by_day
from lakehouse_assets.platform.ingest.delivery_names import FileSet, SourceFile, files_below
from lakehouse_assets.platform.ingest.file_readers import LandingError, NotYet
from lakehouse_assets.platform.ingest.landing import land, parts
from lakehouse_assets.platform.ingest.landing_status import SeenFiles
from lakehouse_assets.platform.ingest.parts import locked
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.settings import settings
from lakehouse_assets.streaming.inbox import Inbox
from lakehouse_assets_tests.no_access import no_access

HEADER = "op,modified_date,IdTransacao,IdCliente,DtTransacao,QtdePontos\n"
TABLE = "loyalty/transacao"
TODAY = date(2026, 1, 1)


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which files of `transacao` arrive."""
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAKEHOUSE_INBOX", str(tmp_path / "inbox"))
    monkeypatch.setenv("LAKEHOUSE_PSEUDONYM_KEY", "a key of this test, as long as it has to be")
    settings.cache_clear()
    folder = tmp_path / "inbox" / "loyalty" / "transacao"
    folder.mkdir(parents=True)
    yield folder
    settings.cache_clear()


def stream(message: list[str] | None = None) -> Inbox:
    return Inbox(
        settings=settings(), catalog=catalog, domain="loyalty", told=(message if message is not None else []).append
    )


def lake() -> Lake:
    return Lake(settings().lake, settings().landing)


def write(folder: Path, name: str, *keys: str, at: float | None = None) -> Path:
    file = folder / name
    file.parent.mkdir(exist_ok=True, parents=True)
    file.write_text(HEADER + "".join(f"I,2025-02-01 10:00:00,{key},c,2025-02-01 10:00:00,1\n" for key in keys))
    if at is not None:
        os.utime(file, (at, at))
    return file


def landed() -> list[tuple[str, str, int]]:
    return [(str(part.feed_day), part.name, part.rows) for part in parts(settings().landing, TABLE)]


def test_files_of_one_name_and_with_old_times_all_land(inbox: Path) -> None:
    names = [f"2025-03-0{day}/transacao.csv" for day in range(1, 6)]
    for number, name in enumerate(names):
        write(inbox, name, f"k{number}", at=1_000_000_000 - number)
    running = stream()
    running.max_files = 2  # those of later rounds have the name of those that are landed by then
    assert [running.take(lake()) for _ in range(4)] == [2, 2, 1, 0]
    assert running.arrivals.lag(lake()) == 0
    assert landed() == [(name[:10], name, 1) for name in names]
    assert stream().take(lake()) == 0, "nor after a restart"


def test_a_file_that_changes_is_landed_whatever_its_time(inbox: Path) -> None:
    running = stream()
    for number, keys in enumerate((("a",), ("b",), ("a",), ("a", "b")), start=1):
        write(inbox, "2025-03-01.csv", *keys, at=1_000_000_000)
        assert running.take(lake()) == 1
        assert running.take(lake()) == 0
        assert [(part.landing, part.rows) for part in parts(settings().landing, TABLE)] == [(number, len(keys))]
    os.utime(inbox / "2025-03-01.csv")
    assert running.arrivals.lag(lake()) == 0, "another time is no other file"


def test_what_is_landed_is_read_once_while_it_stays_as_it_is(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in range(1, 6):
        write(inbox, f"2025-03-0{day}.csv", "a")
    hashed: list[Path] = []
    really = SeenFiles.sha256
    monkeypatch.setattr(SeenFiles, "sha256", lambda seen, path, state: hashed.append(path) or really(seen, path, state))
    running = stream()
    assert running.take(lake()) == 5
    assert len(hashed) == 5
    new = write(inbox, "2025-03-06.csv", "a")
    assert (running.take(lake()), running.take(lake())) == (1, 0)
    assert hashed[5:] == [new]


class Clock(datetime):
    """The time that it is in a test."""

    at = datetime(2025, 3, 1, 12, tzinfo=UTC)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls.fromtimestamp(cls.at.timestamp(), tz)


def test_a_file_of_a_day_to_come_is_landed_when_its_day_has_come(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the same process, and told once; one of a day that no source has is not read again."""
    monkeypatch.setattr("lakehouse_assets.streaming.arrivals.datetime", Clock)
    read: list[str] = []
    reading = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path.name) or reading(path))
    for name in ("2025-03-01.csv", "2025-03-03.csv", "1900-01-01.csv", "9999-12-31.csv"):
        write(inbox, name, "a")
    message: list[str] = []
    running = stream(message)
    landed_on: list[int] = []
    for day in range(1, 6):
        monkeypatch.setattr(Clock, "at", datetime(2025, 3, day, 0, 30, tzinfo=UTC))
        landed_on += [day] * running.take(lake())
        assert (running.take(lake()), running.arrivals.lag(lake())) == (0, 0)
    assert landed_on == [1, 3]
    assert sorted(path.name for path in running.refused) == ["1900-01-01.csv", "9999-12-31.csv"]
    assert len(message) == 3
    assert sorted(name for name in read if name.endswith(".csv")) == [
        "1900-01-01.csv", "2025-03-01.csv", "2025-03-03.csv", "2025-03-03.csv", "9999-12-31.csv",
    ]  # fmt: skip


def test_a_file_whose_rows_are_of_days_to_come_is_landed_when_the_last_of_them_has_come() -> None:
    rows = pa.table({"day": ["2025-03-01", "2025-03-02", "2025-03-04"]})
    ended, open_ = (SourceDays(date(2025, 1, 1), last) for last in (date(2025, 3, 3), None))
    with pytest.raises(NotYet, match="row 2 is of 2025-03-02") as early:
        split_by_day("a.csv", rows, "day", open_, date(2025, 3, 1), None)
    assert early.value.day == date(2025, 3, 4)
    with pytest.raises(LandingError) as never:
        split_by_day("a.csv", rows, "day", ended, date(2025, 3, 1), None)
    assert not isinstance(never.value, NotYet)
    assert len(split_by_day("a.csv", rows, "day", open_, early.value.day, None)) == 3


def test_one_bad_file_holds_up_no_other_and_is_told_once(inbox: Path) -> None:
    write(inbox, "2025-02-30.csv", "a")  # no day
    write(inbox, "9999-12-31.csv", "a")
    write(inbox, "1900-01-01.csv", "a")
    (inbox / "2025-03-01.parquet").write_bytes(b"PAR1 not")
    (inbox / "old.json").mkdir()
    (inbox / os.fsdecode(b"2025-03-02-\xff.csv")).write_text(HEADER)
    write(inbox, "2025-03-03.csv", "a")
    message: list[str] = []
    running = stream(message)
    assert (running.take(lake()), running.take(lake())) == (1, 0)
    assert landed() == [("2025-03-03", "2025-03-03.csv", 1)]
    assert len(message) == len(running.refused) == 5
    (inbox / "9999-12-31.csv").rename(inbox / "2025-03-04.csv")
    assert running.take(lake()) == 1
    assert len(running.refused) == 4
    assert len(message) == 5


@pytest.mark.parametrize("listed", [True, False])
def test_a_folder_without_permission_holds_up_no_other(
    inbox: Path, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    write(inbox, "2025-03-01/transacao.csv", "a")
    write(inbox, "2025-03-02/transacao.csv", "b")
    message: list[str] = []
    running = stream(message)
    with monkeypatch.context() as patch:
        no_access(patch, inbox / "2025-03-01", listed=listed)
        assert (running.take(lake()), running.take(lake()), len(message)) == (1, 0, 1)
        assert "2025-03-01" in message[0]
        assert "cannot be read: Permission denied" in message[0]
        with pytest.raises(LandingError, match="cannot be read"):
            files_below(inbox)
    assert (running.take(lake()), running.refused) == (1, {})


def test_a_file_that_cannot_be_landed_now_is_landed_later(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lakehouse_assets.platform.ingest.parts._LOCK_SECONDS", 0)
    write(inbox, "2025-03-01.csv", "a")
    (inbox.parent / "transacao_produto").mkdir()
    (inbox.parent / "transacao_produto" / "2025-03-01.csv").write_text(
        "op,modified_date,IdTransacaoProduto,IdTransacao,DescProduto,QtdeProduto\nI,2025-02-01 10:00:00,1,a,x,1\n"
    )
    running = stream()
    with locked(settings().landing / "loyalty" / "transacao"):
        landed_ones = running.take(lake())
        assert running.not_now
    assert (landed_ones, len(running.refused), running.take(lake()), running.not_now) == (1, 0, 1, [])


def test_a_file_that_a_day_replaced_by_hand_took_out_is_not_landed_again(inbox: Path, tmp_path: Path) -> None:
    """Nor after a restart; when its content is another, it is."""
    write(inbox, "2025-03-01.csv", "a")
    write(inbox, "2025-03-02.csv", "b")
    assert stream().take(lake()) == 2
    source = next(table.source for table in catalog.tables if table.key.name == "transacao" and table.source)
    for day in ("2025-03-01", "2025-03-02"):
        by_hand = write(tmp_path / "by hand", f"{day} corrected.csv", "c", "d")
        land(settings().landing, TABLE, source, by_hand, day=date.fromisoformat(day), replace=True, today=TODAY)
    assert (stream().take(lake()), stream().arrivals.lag(lake())) == (0, 0)
    assert [(name, count) for _, name, count in landed()] == [
        ("2025-03-01 corrected.csv", 2),
        ("2025-03-02 corrected.csv", 2),
    ]
    write(inbox, "2025-03-01.csv", "e")
    assert [stream().take(lake()) for _ in range(2)] == [1, 0]
    write(inbox, "2025-03-01.csv", "a")
    assert stream().take(lake()) == 1, "what it was before is another content"


def test_a_file_that_a_set_took_over_is_not_landed_again(inbox: Path, tmp_path: Path) -> None:
    write(inbox, "2025-03-01.csv", "a")
    assert stream().take(lake()) == 1
    source = next(table.source for table in catalog.tables if table.key.name == "transacao" and table.source)
    names = ("2025-03-01.csv", "2025-03-02.csv")
    for number in range(2):  # the second time with another content
        files = [write(tmp_path / "set", name, "a" if number == 0 else "z", name) for name in names]
        write(tmp_path / "set", names[0], "a" if number == 0 else "z")
        of_set = FileSet("march", tuple(SourceFile(file.name, file) for file in files))
        land(settings().landing, TABLE, source, of_set, today=TODAY)
        assert stream().take(lake()) == 0
    assert [rows for _, _, rows in landed()] == [1, 2]
