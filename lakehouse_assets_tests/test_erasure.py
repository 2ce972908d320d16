"""A subject that is erased while its rows are being landed, in a folder and in a bucket: they do not come back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lakehouse_assets.platform.common.identifier import NormalForm
from lakehouse_assets.platform.declare.source_files import EventFiles
from lakehouse_assets.platform.ingest import erasure, landing
from lakehouse_assets.platform.ingest.delivery_names import FileSet, SourceFile
from lakehouse_assets.platform.ingest.erasure import Subject, remember, rewrite_parts
from lakehouse_assets.platform.ingest.file_readers import LandingError
from lakehouse_assets.platform.ingest.landing import land, manifest_version, parts, verify
from lakehouse_assets.platform.ingest.manifest import FOLDER
from lakehouse_assets.platform.ingest.parts import stored
from lakehouse_assets.platform.storage.commit_actions import actions_of, touched_days
from lakehouse_assets.platform.storage.location import Location, parquet
from lakehouse_assets.platform.storage.s3 import S3Path
from lakehouse_assets.settings import settings
from lakehouse_assets_tests.s3_lake import BUCKET, s3_lake

SOURCE = EventFiles(columns=("who", "what"), subject="who")
TABLE, D1, D2, TODAY = "shop/orders", date(2026, 1, 1), date(2026, 1, 2), date(2026, 2, 1)
in_bucket = pytest.param("bucket", marks=[pytest.mark.slow, pytest.mark.nightly])  # the S3 server's jars take minutes


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bucket of a real S3 server."""
    with s3_lake(tmp_path_factory.mktemp("s3")):
        yield BUCKET


@pytest.fixture(params=["folder", in_bucket])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Location]:
    """Where files are landed."""
    held = request.getfixturevalue("bucket") if request.param == "bucket" else None
    monkeypatch.setenv("LAKEHOUSE_PSEUDONYM_KEY", "0123456789abcdef0123456789abcdef")
    settings.cache_clear()
    yield S3Path(held, tmp_path.name, settings().s3_endpoint) if held else tmp_path / "landing"
    settings.cache_clear()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two people's rows."""
    made = tmp_path / "a.csv"
    made.write_text("who,what\nana,1\nbia,2\n")
    return made


def there(root: Location) -> list[str]:
    """Whose rows the landed parts hold, whether a manifest names them or not."""
    found = [pq.ParquetFile(parquet(part)).read(columns=["who"])["who"] for part in stored(root / TABLE)]
    return sorted({who for column in found for who in column.to_pylist()})


def erase(root: Location) -> None:
    """What `lakehouse forget` does to landed files."""
    remember(root, "shop", "ana")
    rewrite_parts(root / TABLE, Subject("who", NormalForm.EXACT, "ana"))


def once(before: Callable[..., object], then: Callable[[], None]) -> Callable[..., object]:
    """The function, and after its first call something else."""
    left = [then]

    def wrapped(*given: object, **named: object) -> object:
        result = before(*given, **named)
        if left:
            left.pop()()
        return result

    return wrapped


def test_who_is_erased_while_a_file_is_read_is_not_landed(
    root: Location, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "read", once(landing.read, lambda: erase(root)))
    assert land(root, TABLE, SOURCE, file, day=D1, today=TODAY).days == {D1: 1}
    assert there(root) == ["bia"]


@pytest.mark.parametrize("root", [in_bucket], indirect=True)
def test_who_is_erased_after_a_part_was_put_is_not_landed(
    root: Location, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a bucket has no lock: there the erasure's commit makes the landing lose, and what it had put is removed."""
    land(root, TABLE, SOURCE, file, day=D2, today=TODAY)
    monkeypatch.setattr(landing, "stage", once(landing.stage, lambda: erase(root)))
    land(root, TABLE, SOURCE, file, day=D1, today=TODAY)
    assert there(root) == ["bia"]
    assert [part.rows for part in parts(root, TABLE)] == [1, 1]


def test_what_was_landed_before_an_erasure_is_the_same_after_it(root: Location, file: Path, tmp_path: Path) -> None:
    land(root, TABLE, SOURCE, file, day=D1, today=TODAY)
    erase(root)
    assert land(root, TABLE, SOURCE, file, day=D1, today=TODAY).already_landed
    other = tmp_path / "b.csv"
    other.write_bytes(file.read_bytes())
    land(root, TABLE, SOURCE, other, day=D1, today=TODAY)
    assert [part.rows for part in parts(root, TABLE)] == [1], "under another name its rows count once"


@contextmanager
def unlocked(folder: Location) -> Iterator[None]:
    """A lock that does not reach: of another machine, as in a bucket."""
    if isinstance(folder, Path):
        (folder / "_staging").mkdir(parents=True, exist_ok=True)
    yield


def test_a_landing_that_wins_against_an_erasure_is_erased(
    root: Location, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The landing looked at the list before the subject was on it; the erasure has found nobody yet."""

    def land_then() -> None:
        with monkeypatch.context() as then:
            then.setattr(landing, "erased", lambda *_: frozenset())
            land(root, TABLE, SOURCE, file, day=D2, today=TODAY)

    for module in (landing, erasure):
        monkeypatch.setattr(module, "locked", unlocked)
    other = file.with_name("b.csv")
    other.write_text("who,what\nbia,3\n")
    land(root, TABLE, SOURCE, other, day=D1, today=TODAY)
    monkeypatch.setattr(erasure, "_without", once(erasure._without, land_then))
    erase(root)
    assert there(root) == ["bia"]
    assert [part.rows for part in parts(root, TABLE)] == [1, 1]


def test_a_landing_that_loses_takes_nothing_from_another(
    root: Location, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has put its part, then the list changes, and another lands: each names what is there."""
    other = file.with_name("b.csv")
    other.write_text("who,what\nana,3\nbia,4\n")

    def then() -> None:
        remember(root, "shop", "ana")
        land(root, TABLE, SOURCE, other, day=D1, today=TODAY)

    for module in (landing, erasure):
        monkeypatch.setattr(module, "locked", unlocked)
    monkeypatch.setattr(landing, "publish", once(landing.publish, then))
    land(root, TABLE, SOURCE, file, day=D1, today=TODAY)
    found = parts(root, TABLE)
    assert sorted((part.name, part.rows) for part in found) == [("a.csv", 1), ("b.csv", 1)]
    for part in found:
        verify(part)
    assert there(root) == ["bia"]


def test_without_its_manifest_nothing_is_erased(root: Location, file: Path, tmp_path: Path) -> None:
    land(root, TABLE, SOURCE, file, day=D1, today=TODAY)
    if isinstance(root, S3Path):
        for key in list((root / TABLE / FOLDER).below()):
            replace(root, key=key).unlink()
    else:
        (root / TABLE / FOLDER).rename(tmp_path / "lost")
    with pytest.raises(LandingError, match="no manifest"):
        erase(root)
    assert there(root) == ["ana", "bia"]
    assert manifest_version(root, TABLE) is None


def test_a_part_that_was_not_written_to_its_end_is_no_hindrance(root: Location, file: Path) -> None:
    land(root, TABLE, SOURCE, file, day=D1, today=TODAY)
    torn = root / TABLE / str(D1) / "000002-0123456789abcdef.parquet"
    torn.write_bytes(b"PAR1")
    erase(root)
    assert there(root) == ["bia"]
    assert not torn.exists()


def test_a_part_that_a_killed_landing_left_is_erased(
    root: Location, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """As by `kill -9`."""

    def die(*_: object) -> None:
        raise Killed

    land(root, TABLE, SOURCE, file, day=D1, today=TODAY)
    with monkeypatch.context() as patched:
        patched.setattr("lakehouse_assets.platform.ingest.manifest.Manifest.commit", die)
        with pytest.raises(Killed):
            land(root, TABLE, SOURCE, file, day=D2, today=TODAY)
    assert len(stored(root / TABLE)) == 2
    assert there(root) == ["ana", "bia"]
    erase(root)
    assert there(root) == ["bia"]


def test_an_erasure_that_finds_nobody_changes_no_day(root: Location, file: Path) -> None:
    land(root, TABLE, SOURCE, file, day=D1, today=TODAY)
    remember(root, "shop", "eva")
    assert rewrite_parts(root / TABLE, Subject("who", NormalForm.EXACT, "eva")) == []
    assert manifest_version(root, TABLE) == 1, "a landing that read the manifest before loses its race"
    manifest = root / TABLE / FOLDER
    assert touched_days(manifest, actions_of(manifest, 1)) == (frozenset(), True)
    assert land(root, TABLE, SOURCE, file, day=D1, today=TODAY).already_landed


def test_what_is_rewritten_stays_part_of_its_delivery_and_what_was_superseded_goes(
    root: Location, tmp_path: Path
) -> None:
    source = EventFiles(columns=("who", "what", "day"), day_column="day", subject="who")
    one, two = tmp_path / "p0.csv", tmp_path / "p1.csv"
    one.write_text(f"who,what,day\nana,1,{D1}\nbia,2,{D1}\n")
    two.write_text(f"who,what,day\nana,3,{D2}\neva,4,{D2}\n")
    january = FileSet("january", (SourceFile(one.name, one), SourceFile(two.name, two)))
    land(root, TABLE, source, january, today=TODAY)
    two.write_text(f"who,what,day\nana,3,{D1}\neva,4,{D1}\n")  # its rows move to another day
    land(root, TABLE, source, january, today=TODAY)
    erase(root)
    assert there(root) == ["bia", "eva"]
    two.write_text(f"who,what,day\nana,3,{D2}\neva,5,{D2}\n")
    land(root, TABLE, source, january, today=TODAY)
    held = [row for part in parts(root, TABLE) for row in pq.ParquetFile(parquet(part.path)).read().to_pylist()]
    assert [(row["who"], row["what"], str(row["feed_day"])) for row in held] == [
        ("bia", "2", str(D1)),
        ("eva", "5", str(D2)),
    ]
    assert "ana" not in there(root)
