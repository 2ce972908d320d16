"""Files that are refused: each with a message that says what, where and what to do, and nothing written."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.common.source_days import SourceDays
from lakehouse_assets.platform.declare.source_files import EventFiles
from lakehouse_assets.platform.ingest.file_readers import LandingError
from lakehouse_assets.platform.ingest.landing import land, manifest_version, parts

TABLE = "gmv/purchase"
SOURCE = EventFiles(("at", "day", "key"), day_column="day", days=SourceDays(date(2023, 1, 1)))
TODAY = date(2023, 6, 1)
HEADER = b"at,day,key\n"
GOOD = b"x,2023-01-01,k1\n"


def tree(root: Path) -> dict[str, bytes | None]:
    """Every path under a folder with its bytes."""
    return {str(p.relative_to(root)): p.read_bytes() if p.is_file() else None for p in root.rglob("*")}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A landing root in which one good file was landed."""
    (tmp_path / "good.csv").write_bytes(HEADER + GOOD)
    land(tmp_path / "root", TABLE, SOURCE, tmp_path / "good.csv", today=TODAY)
    return tmp_path / "root"


def refused(root: Path, file: Path, source: EventFiles = SOURCE, day: date | None = None) -> str:
    """The message of a refusal, which changed nothing; also where nothing was ever landed."""
    before = tree(root)
    with pytest.raises(LandingError) as error:
        land(root, TABLE, source, file, day=day, today=TODAY)
    assert tree(root) == before
    fresh = root.parent / "fresh"
    with pytest.raises(LandingError):
        land(fresh, TABLE, source, file, day=day, today=TODAY)
    assert not fresh.exists()
    assert isinstance(error.value, LakehouseError)
    assert len(str(error.value)) < 600
    return str(error.value)


CSV = {
    "too few columns": (HEADER + GOOD + b"x,2023-01-01\n", ["row 2 has 2 columns, 3 are expected"]),
    "too many columns": (HEADER + GOOD + b"\n" + GOOD + b"x,2023-01-01,50,00\n", ["row 3 has 4 columns"]),
    "missing column": (b"at,day\nx,2023-01-01\n", ["missing 'key'", "Expected, in any order: at, day, key"]),
    "extra column": (b"at,day,key,why\nx,2023-01-01,k,w\n", ["extra 'why'"]),
    "missing and extra column": (b"at,day,Key\nx,2023-01-01,k\n", ["missing 'key'", "extra 'Key'"]),
    "column twice": (b"at,day,key,at\nx,2023-01-01,k,y\n", ["more than once 'at'"]),
    "no header": (GOOD, ["missing 'at', 'day', 'key'", "extra 'x', '2023-01-01', 'k1'"]),
    "Latin-1": (HEADER + GOOD + b"x,2023-01-01,caf\xe9\n", ["byte 0xe9 at offset 43, line 3", "iconv"]),
    "UTF-16": ((HEADER + GOOD).decode().encode("utf-16"), ["byte 0xff at offset 0, line 1"]),
    "not UTF-8 after 16 MiB": (b"a" * (2**24 - 1) + "é".encode() + b"\n\xff", ["byte 0xff at offset 16777218, line 2"]),
    "cut inside a character": (HEADER + b"x,2023-01-01,caf\xc3", ["byte 0xc3 at offset 27"]),
    "empty": (b"", ["empty (0 bytes)"]),
    "blank": (b"\n\n", ["missing 'at', 'day', 'key'"]),
    "no rows and no day": (HEADER, ["no rows", "--day"]),
    "no readable day": (HEADER + b"x,01/01/2023,k\nx,,k\n", ["no row has a readable day in 'day'", "--day"]),
    "future": (HEADER + GOOD + b"x,2023-06-02,k\n", ["row 2 is of 2023-06-02", "today is 2023-06-01"]),
    "too old": (HEADER + b"x,2022-12-31,k\n", ["row 1 is of 2022-12-31", "2023-01-01"]),
    "open quote": (HEADER + GOOD + b'x,2023-01-01,"k\n' + GOOD, ["the record begins in line 3"]),
    "text after a quote": (HEADER + b'x,2023-01-01,"k\nx,2023-01-01,"k\n', ["the record begins in line 2"]),
    "100 MB line": (HEADER + GOOD + b"x,2023-01-01," + b"k" * 100_000_000 + b"\n", ["a line of more than 16 MiB"]),
    "100 MB quoted": (HEADER + b'x,2023-01-01,"' + b"k" * 100_000_000 + b'"\n', ["a line of more than 16 MiB"]),
    "100 MB header": (b"k" * 100_000_000 + b"\n" + GOOD, ["header line"]),
    "Parquet named csv": (b"PAR1\x15\x04\xff", ["not UTF-8"]),
}

LINE = b'{"at": 1, "day": "2023-01-01", "key": "k"}\n'
JSON = {
    "broken in the middle": (
        LINE + b'{"at": 1, "day"\n' + LINE,
        ["line 2", "character 17", "one whole object per line"],
    ),
    "cut at the end": (LINE + LINE[:20], ["line 2"]),
    "array": (b" [" + LINE + b"]", ["a JSON array", "jq"]),
    "spread over lines": (b'{\n"at": 1\n}\n', ["line 1", "one whole object per line"]),
    "two objects in a line": (LINE.strip() + LINE, ["line 1", "Extra data"]),
    "no object": (b"17\n", ["line 1", "not a JSON object"]),
    "unknown key": (LINE + b'{"at": 1, "Day": 2}\n', ["line 2", "unknown key 'Day'", "at, day, key"]),
    "key twice": (b'{"at": 1, "at": 2}\n', ["line 1", "'at' more than once"]),
    "NaN": (b'{"at": NaN}\n', ["line 1", "NaN is no JSON number"]),
    "half a surrogate": (b'{"at": "\\ud83d"}\n', ["line 1", "surrogate"]),
    "too deep": (b'{"at": ' + b"[" * 100_000 + b"\n", ["line 1"]),
    "Latin-1": (LINE + b'{"key": "\xe9"}\n', ["byte 0xe9 at offset 52, line 2"]),
    "100 MB line": (LINE + b'{"at": "' + b"k" * 100_000_000 + b'"}\n', ["a line of more than 16 MiB"]),
    "empty": (b"", ["empty (0 bytes)"]),
}


@pytest.mark.parametrize(("content", "message"), CSV.values(), ids=CSV.keys())
def test_csv_refused(tmp_path: Path, root: Path, content: bytes, message: list[str]) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    text = refused(root, tmp_path / "bad.csv")
    assert [part for part in ["bad.csv", *message] if part not in text] == [], text


@pytest.mark.parametrize(("content", "message"), JSON.values(), ids=JSON.keys())
def test_json_refused(tmp_path: Path, root: Path, content: bytes, message: list[str]) -> None:
    (tmp_path / "bad.jsonl").write_bytes(content)
    text = refused(root, tmp_path / "bad.jsonl")
    assert [part for part in ["bad.jsonl", *message] if part not in text] == [], text


def test_parquet_refused(tmp_path: Path, root: Path) -> None:
    file = tmp_path / "bad.parquet"
    pq.write_table(pa.table({"at": ["x"], "day": ["2023-01-01"], "key": ["k"]}), file)
    file.write_bytes(file.read_bytes()[:-20])
    assert "not a whole Parquet file" in refused(root, file)
    file.write_bytes(HEADER + GOOD)
    assert "not a whole Parquet file" in refused(root, file)
    pq.write_table(pa.table({"at": ["x"], "day": ["2023-01-01"], "Key": ["k"]}), file)
    assert "missing 'key'; extra 'Key'" in refused(root, file)
    pq.write_table(pa.table({"at": [b"\xff"], "day": ["2023-01-01"], "key": ["k"]}), file)
    assert "column 'at' of type binary" in refused(root, file)


def test_what_is_no_file_is_refused(tmp_path: Path, root: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    (tmp_path / "a.csv.gz").write_bytes(b"\x1f\x8b")
    assert "a folder" in refused(root, tmp_path / "folder.csv")
    assert "a folder" in refused(root, tmp_path / "folder.csv" / "..")
    assert "no such file" in refused(root, tmp_path / "missing.csv")
    assert "not a regular file" in refused(root, Path("/dev/null"))
    assert "Known extensions: .csv, .jsonl" in refused(root, tmp_path / "a.xlsx")
    assert "unknown kind of file '.gz'" in refused(root, tmp_path / "a.csv.gz")


class Changing(type(Path())):  # type: ignore[misc]
    """A file to which something happens while it is read."""

    def read_bytes(self) -> bytes:
        found = Path(self).read_bytes()
        HAPPENS[self.stem](Path(self))
        return found


def _replace(file: Path) -> None:
    other = file.with_suffix(".new")
    other.write_bytes(HEADER + GOOD + GOOD)
    other.replace(file)


HAPPENS: dict[str, Callable[[Path], object]] = {
    "replaced": _replace,
    "grown": lambda file: file.write_bytes(HEADER + GOOD + GOOD),
    "rewritten": lambda file: os.utime(file, (1, 1)),
    "gone": lambda file: file.unlink(),
}


@pytest.mark.parametrize("name", HAPPENS)
def test_a_file_that_changes_while_it_is_read_is_not_landed(tmp_path: Path, root: Path, name: str) -> None:
    file = tmp_path / f"{name}.csv"
    file.write_bytes(HEADER + GOOD + b"y,2023-01-02,k2\n")
    before = tree(root)
    with pytest.raises(LandingError, match=r"changed while it was read|cannot be read: No such file"):
        land(root, TABLE, SOURCE, Changing(file), today=TODAY)
    assert tree(root) == before
    if file.exists():
        assert land(root, TABLE, SOURCE, file, today=TODAY).days


def test_a_day_asked_for_must_be_one_of_the_source(tmp_path: Path, root: Path) -> None:
    (tmp_path / "a.csv").write_bytes(HEADER + b"x,2023-02-01,k\n")
    assert "2023-06-02 asked for is in the future" in refused(root, tmp_path / "a.csv", day=date(2023, 6, 2))
    assert "before the first day" in refused(root, tmp_path / "a.csv", day=date(2022, 12, 31))
    undated = EventFiles(SOURCE.columns)
    assert "Say it with --day" in refused(root, tmp_path / "a.csv", undated)


@pytest.mark.parametrize("table", ["gmv", "../gmv", "gmv/..", "gmv/../x", "/gmv/x", "gmv/x/y", "gmv/X", "gmv/x\n", ""])
def test_a_table_name_cannot_leave_the_landing_root(tmp_path: Path, root: Path, table: str) -> None:
    before = tree(tmp_path)
    for attempt in (
        lambda: land(root, table, SOURCE, tmp_path / "good.csv", today=TODAY),
        lambda: parts(root, table),
        lambda: manifest_version(root, table),
    ):
        with pytest.raises(LandingError, match="no source table"):
            attempt()
    assert tree(tmp_path) == before


def test_a_path_through_the_parent_folder_is_a_path_and_its_base_name_counts(tmp_path: Path, root: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "x.csv").write_bytes(HEADER + b"x,2023-01-02,k2\n")
    land(root, TABLE, SOURCE, tmp_path / "sub" / ".." / "x.csv", today=TODAY)
    assert [part.name for part in parts(root, TABLE)] == ["good.csv", "x.csv"]


def test_columns_that_clash_with_those_of_a_part_cannot_be_declared() -> None:
    for columns, day in [(("a", "landing"), None), (("a", "a"), None), ((), None), (("a",), "b")]:
        with pytest.raises(ValueError, match="column"):
            EventFiles(columns, day_column=day)


def test_a_foreign_table_in_the_manifests_place_is_refused(tmp_path: Path) -> None:
    from deltalake import write_deltalake

    write_deltalake(tmp_path / "root" / TABLE / "_manifest", pa.table({"a": [1]}))
    (tmp_path / "a.csv").write_bytes(HEADER + GOOD)
    before = tree(tmp_path)
    with pytest.raises(LandingError, match="not a manifest"):
        land(tmp_path / "root", TABLE, SOURCE, tmp_path / "a.csv", today=TODAY)
    assert {path for path in tree(tmp_path) if "parquet" in path} == {path for path in before if "parquet" in path}


_FULL_DISK = """
import resource, sys
from datetime import date
from pathlib import Path
from lakehouse_assets.platform.declare.source_files import EventFiles
from lakehouse_assets.platform.ingest.file_readers import LandingError
from lakehouse_assets.platform.ingest.landing import land
root, file, limit = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    land(root, "gmv/purchase", EventFiles(("at", "day", "key"), day_column="day"), file, today=date(2023, 6, 1))
except LandingError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize(
    ("limit", "first", "message"),
    [
        (1000, False, "Is the disk full?"),
        (1000, True, "Is the disk full?"),
        (3000, False, "the manifest cannot be written"),
        (3000, True, "the manifest cannot be written"),
    ],
    ids=["part", "part of the first landing", "manifest", "manifest of the first landing"],
)
def test_a_disk_that_fills_up_leaves_nothing_landed_and_a_second_try_lands(
    tmp_path: Path, root: Path, limit: int, first: bool, message: str
) -> None:
    where = tmp_path / "new" if first else root
    (tmp_path / "more.csv").write_bytes(HEADER + b"x,2023-01-01,k2\nx,2023-01-02,k3\n")
    before = (manifest_version(where, TABLE), parts(where, TABLE))
    command = [sys.executable, "-c", _FULL_DISK, str(where), str(tmp_path / "more.csv"), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "nothing was landed" in done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert (manifest_version(where, TABLE), parts(where, TABLE)) == before
    visible = {p for p in where.rglob("20*/*") if p.is_file()}
    assert visible == {part.path for part in parts(where, TABLE)}
    assert not land(where, TABLE, SOURCE, tmp_path / "more.csv", today=TODAY).already_landed
    assert len(parts(where, TABLE)) == len(before[1]) + 2
