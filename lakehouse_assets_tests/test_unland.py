"""Taking back what was landed: it no longer holds, its days are stale, and what runs have read can still be read."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from lakehouse_assets.cli import main
from lakehouse_assets.platform.common.identifier import NormalForm
from lakehouse_assets.platform.declare.source_files import EventFiles
from lakehouse_assets.platform.ingest.delivery_names import FileSet, SourceFile
from lakehouse_assets.platform.ingest.erasure import Subject, remember, rewrite_parts
from lakehouse_assets.platform.ingest.file_readers import LandingError
from lakehouse_assets.platform.ingest.landing import land, parts
from lakehouse_assets.platform.ingest.parts import stored
from lakehouse_assets.platform.ingest.take_back import take_back
from lakehouse_assets.platform.orchestration.staleness import TableVersions
from lakehouse_assets.settings import settings

SOURCE = EventFiles(columns=("day", "who"), day_column="day", subject="who")
TABLE, D1, D2, TODAY = "shop/orders", date(2026, 1, 1), date(2026, 1, 2), date(2026, 2, 1)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where files are landed; a.csv is of two days, b.csv of the second."""
    monkeypatch.setenv("LAKEHOUSE_PSEUDONYM_KEY", "0123456789abcdef0123456789abcdef")
    settings.cache_clear()
    (tmp_path / "a.csv").write_text(f"day,who\n{D1},ana\n{D2},bia\n")
    (tmp_path / "b.csv").write_text(f"day,who\n{D2},caio\n")
    for name in ("a.csv", "b.csv"):
        land(tmp_path / "landing", TABLE, SOURCE, tmp_path / name, today=TODAY)
    yield tmp_path / "landing"
    settings.cache_clear()


def held(root: Path, version: int | None = None) -> list[tuple[str, date]]:
    return [(part.name, part.feed_day) for part in parts(root, TABLE, version=version)]


def test_a_file_is_taken_back_from_all_its_days(root: Path) -> None:
    done = take_back(root, TABLE, "a.csv", None)
    assert sorted(entry.feed_day for entry in done.entries) == [D1, D2]
    assert held(root) == [("b.csv", D2)]


def test_of_one_day_or_a_whole_day(root: Path) -> None:
    take_back(root, TABLE, "a.csv", D2)
    assert held(root) == [("a.csv", D1), ("b.csv", D2)]
    take_back(root, TABLE, None, D2)
    assert held(root) == [("a.csv", D1)]


def test_its_days_are_stale_and_no_others(root: Path) -> None:
    staleness = TableVersions(root / TABLE / "_manifest", landed=True)
    staleness.refresh()
    before = dict(staleness.changed)
    done = take_back(root, TABLE, "a.csv", D1)
    staleness.refresh()
    assert staleness.changed[D1].version == done.version
    assert staleness.changed[D2] == before[D2]


def test_what_a_run_has_read_can_still_be_read(root: Path) -> None:
    before, version = held(root), parts(root, TABLE)
    done = take_back(root, TABLE, "a.csv", None)
    assert done.version is not None
    assert held(root, done.version - 1) == before
    assert all(part.path.exists() for part in version)


def test_landing_it_again_brings_it_back(root: Path, tmp_path: Path) -> None:
    before = sorted(held(root))
    take_back(root, TABLE, "a.csv", None)
    assert not land(root, TABLE, SOURCE, tmp_path / "a.csv", today=TODAY).already_landed
    assert sorted(held(root)) == before


def test_what_it_superseded_does_not_come_back(root: Path, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text(f"day,who\n{D2},davi\n")
    land(root, TABLE, SOURCE, tmp_path / "b.csv", today=TODAY)
    take_back(root, TABLE, "b.csv", None)
    assert held(root) == [("a.csv", D1), ("a.csv", D2)]


def test_an_erasure_reaches_what_was_taken_back(root: Path) -> None:
    take_back(root, TABLE, "a.csv", None)
    remember(root, "shop", "ana")
    rewrite_parts(root / TABLE, Subject("who", NormalForm.EXACT, "ana"))
    left = {who for part in stored(root / TABLE) for who in pq.read_table(part, columns=["who"])["who"].to_pylist()}
    assert left == {"bia", "caio"}
    assert held(root) == [("b.csv", D2)], "the erasure brings nothing back"


def test_a_set_is_taken_back_as_one(root: Path, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(f"day,who\n{D1},eva\n")
    (tmp_path / "d.csv").write_text(f"day,who\n{D1},fabi\n")
    files = tuple(SourceFile(name, tmp_path / name) for name in ("c.csv", "d.csv"))
    land(root, TABLE, SOURCE, FileSet("drop-1", files), today=TODAY)
    with pytest.raises(LandingError, match=r"c\.csv came in the delivery drop-1"):
        take_back(root, TABLE, "c.csv", None)
    assert len(take_back(root, TABLE, "drop-1", None).entries) == 2


@pytest.mark.parametrize(("name", "day"), [("z.csv", None), ("b.csv", D1), (None, date(2026, 1, 5))])
def test_what_was_not_landed_cannot_be_taken_back(root: Path, name: str | None, day: date | None) -> None:
    before = held(root)
    with pytest.raises(LandingError, match="Nothing was taken back"):
        take_back(root, TABLE, name, day)
    assert held(root) == before


def test_a_dry_run_writes_nothing(root: Path) -> None:
    before = parts(root, TABLE)
    found = take_back(root, TABLE, "a.csv", None, dry_run=True)
    assert (len(found.entries), found.version, parts(root, TABLE)) == (2, None, before)


@pytest.fixture
def lakehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield
    settings.cache_clear()


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_the_command_says_what_it_took_back(lakehouse: None, tmp_path: Path) -> None:
    file = tmp_path / "day.csv"
    file.write_text(
        "transaction_datetime,transaction_date,purchase_id,product_id,item_quantity,purchase_value\n"
        "2023-01-20 09:00:00,2023-01-20,1,2,1,3.50\n"
    )
    assert call("land", "gmv/product_item", str(file)).exit_code == 0
    message = call("unland", "gmv/product_item", "day.csv", "--format", "csv")
    assert (message.exit_code, message.stdout.splitlines()) == (
        0,
        ["file,state,feed_day,rows,landing_version", "day.csv,taken back,2023-01-20,1,1"],
    )
    again = call("unland", "gmv/product_item", "day.csv")
    assert (again.exit_code, "no landed file day.csv holds" in again.stderr) == (1, True)
