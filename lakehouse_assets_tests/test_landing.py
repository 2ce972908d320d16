"""Landing: files become immutable parts by feed day, one commit per file; nothing is lost, nothing lands twice."""

import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from dagster._core.definitions.partitions.context import partition_loading_context
from deltalake import write_deltalake

from lakehouse_assets.cli.land import land as land_command
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.common.source_days import SourceDays
from lakehouse_assets.platform.declare.source_files import EventFiles
from lakehouse_assets.platform.ingest.delivery_names import (
    FileSet,
    SourceFile,
    canonical,
    check_content,
    files_below,
    listed,
    name_of,
)
from lakehouse_assets.platform.ingest.file_readers import LandingError
from lakehouse_assets.platform.ingest.landing import Landed, land, manifest_version, parts, verify
from lakehouse_assets.platform.ingest.manifest import Entry, Manifest, ManifestMoved
from lakehouse_assets.platform.orchestration.assets import partitions
from lakehouse_assets.platform.storage.location import sha256
from lakehouse_assets.settings import settings

TABLE = "gmv/purchase"
SOURCE = EventFiles(("at", "day", "key", "value"), day_column="day")
TODAY = date(2023, 6, 1)
D1, D2, D3 = date(2023, 1, 1), date(2023, 1, 2), date(2023, 1, 3)
HEADER = "at,day,key,value\n"

Land = Callable[..., Landed]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "landing root"


@pytest.fixture
def land_text(tmp_path: Path, root: Path) -> Land:
    """Write a file and land it."""

    def write_and_land(name: str, content: str | bytes, **options: object) -> Landed:
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return land(root, TABLE, SOURCE, file, today=TODAY, **options)  # type: ignore[arg-type]

    return write_and_land


def rows(root: Path, *days: date, version: int | None = None) -> list[dict[str, object]]:
    """What the landed parts hold now, in order."""
    found = parts(root, TABLE, days or None, version)
    return [row for part in found for row in pq.read_table(part.path).to_pylist()]


def keys(root: Path, *days: date, version: int | None = None) -> list[object]:
    return [row["key"] for row in rows(root, *days, version=version)]


def test_a_csv_file_is_split_by_its_day_column_and_keeps_text_row_numbers_and_order(
    root: Path, land_text: Land
) -> None:
    landed = land_text("a.csv", HEADER + f'x,{D2},k1,"50,00"\n,{D1} 10:00:00,k2,\n"NULL",{D2}T01:02:03,k3,NaN\n')
    assert (landed.days, landed.already_landed, landed.version) == ({D1: 1, D2: 2}, False, 0)
    origin = {"source_file": "a.csv", "landing": 1}
    assert rows(root) == [
        {"at": "", "day": f"{D1} 10:00:00", "key": "k2", "value": "", "row_number": 2, "feed_day": D1, **origin},
        {"at": "x", "day": f"{D2}", "key": "k1", "value": "50,00", "row_number": 1, "feed_day": D2, **origin},
        {"at": "NULL", "day": f"{D2}T01:02:03", "key": "k3", "value": "NaN", "row_number": 3, "feed_day": D2, **origin},
    ]


def test_a_part_says_what_it_is_and_its_types_are_those_that_spark_reads(root: Path, land_text: Land) -> None:
    land_text("a.csv", HEADER + f"x,{D1},k1,1\n")
    (part,) = parts(root, TABLE)
    assert (part.feed_day, part.landing, part.name, part.format, part.rows) == (D1, 1, "a.csv", "csv", 1)
    assert part.path.parent == root / TABLE / "2023-01-01"
    assert part.size == part.path.stat().st_size
    types = pq.read_schema(part.path)
    assert [str(types.field(c).type) for c in ("at", "source_file", "row_number", "feed_day", "landing")] == [
        "string",
        "string",
        "int64",
        "date32[day]",
        "int32",
    ]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + HEADER + f"x,{D1},clé,1\n",  # byte order mark
        HEADER.replace("\n", "\r\n") + f"x,{D1},clé,1\r\n",
        "key,value,day,at\n" + f"clé,1,{D1},x",  # columns in any order, no last line end
        '\n"at",day,"key",value\n\n' + f'"x",{D1},"clé",1\n\n',  # quotes, blank lines
    ],
)
def test_spellings_of_the_same_csv_land_the_same_row(root: Path, land_text: Land, content: str) -> None:
    land_text("a.csv", content)
    assert [(r["at"], r["key"], r["value"], r["row_number"]) for r in rows(root)] == [("x", "clé", "1", 1)]


def test_keys_with_quotes_sql_line_ends_and_nul_are_just_text(root: Path, land_text: Land) -> None:
    key = '\'; DROP TABLE "x"; --\r\n\x00`${a}`\\'
    quoted = key.replace('"', '""')
    land_text("it's; drop.csv", HEADER + f'x,{D1},"{quoted}",1\nx,{D1},a"b,2\n')
    assert keys(root) == [key, 'a"b']
    assert parts(root, TABLE)[0].name == "it's; drop.csv"


def test_json_lines_keep_null_digits_and_nested_values(root: Path, land_text: Land) -> None:
    lines = [
        '{"at": 1.50, "day": "2023-01-01", "key": 12345678901234567890, "value": 1E400}',
        '{"at": null, "day": "2023-01-01", "key": "", "value": {"b": [1.10, true, "é"], "a": null}}',
        "",
        '{"day": "2023-01-01", "value": false, "key": "\\ud83d\\ude00"}',
    ]
    land_text("a.jsonl", "\ufeff" + "\r\n".join(lines))
    assert [(r["at"], r["key"], r["value"], r["row_number"]) for r in rows(root)] == [
        ("1.50", "12345678901234567890", "1E400", 1),
        (None, "", '{"b":[1.10,true,"é"],"a":null}', 2),
        (None, "😀", "false", 3),
    ]


def test_a_json_number_has_one_reading_and_a_text_the_one_of_its_source(root: Path, land_text: Land) -> None:
    land_text(
        "a.jsonl",
        '{"day": "2023-01-01", "at": 1.234, "key": "1.234", "value": 0.12345678901234567890123456789012345}',
    )
    ((at, key, value),) = [(r["at"], r["key"], r["value"]) for r in rows(root)]
    assert (at, key, value) == ("1.2340", "1.234", "0.12345678901234567890123456789012345")


def test_parquet_types_become_text(root: Path, tmp_path: Path) -> None:
    columns = {
        "day": pa.array([D1, D1]),
        "stamp": pa.array([datetime(2023, 1, 1, 10), datetime(2023, 1, 1, 10, 0, 0, 5)], pa.timestamp("us")),
        "utc": pa.array([datetime(2023, 1, 1), None], pa.timestamp("ms", "UTC")),
        "price": pa.array([Decimal("0.00000001"), Decimal("12.50000000")], pa.decimal128(20, 8)),
        "count": pa.array([2**60, None]),
        "ratio": pa.array([0.1, 2.0]),
        "flag": pa.array([True, False]),
        "word": pa.array(["a", ""]).dictionary_encode(),
        "tags": pa.array([[{"n": Decimal("1.10"), "d": D1}], None]),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    land(root, TABLE, EventFiles(tuple(columns), day_column="day"), tmp_path / "a.parquet", today=TODAY)
    first, second = ([row[column] for column in columns] for row in rows(root))
    assert first[:5] == [
        "2023-01-01",
        "2023-01-01 10:00:00",
        "2023-01-01 00:00:00",
        "0.00000001",
        "1152921504606846976",
    ]
    assert first[5:] == ["0.1", "true", "a", '[{"n":1.10,"d":"2023-01-01"}]']
    assert second == ["2023-01-01", "2023-01-01 10:00:00.000005", None, "12.50000000", None, "2", "false", "", None]


def test_rows_without_a_readable_day_travel_with_the_greatest_day_of_the_file(root: Path, land_text: Land) -> None:
    land_text(
        "a.csv", HEADER + f"x,,k1,\nx,{D3},k2,\nx,2023-02-30,k3,\nx,{D1},k4,\nx,03/01/2023,k5,\nx,2023-W01-1,k6,\n"
    )
    assert keys(root, D1) == ["k4"]
    assert keys(root, D3) == ["k1", "k2", "k3", "k5", "k6"]


def test_a_day_given_takes_the_whole_file_however_late(root: Path, land_text: Land) -> None:
    landed = land_text("a.csv", HEADER + f"x,{D1},k1,\nx,nonsense,k2,\n", day=D3)
    assert landed.days == {D3: 2}
    assert keys(root) == ["k1", "k2"]


def test_a_file_of_no_rows_is_an_empty_day_when_the_day_is_given(root: Path, land_text: Land) -> None:
    assert land_text("a.csv", HEADER, day=D1).days == {D1: 0}
    assert land_text("b.csv", HEADER.strip(), day=D2).days == {D2: 0}
    assert [(p.feed_day, p.rows) for p in parts(root, TABLE)] == [(D1, 0), (D2, 0)]
    assert rows(root) == []


def test_the_same_bytes_count_once_whatever_their_name(root: Path, land_text: Land) -> None:
    content = HEADER + f"x,{D1},k1,\nx,{D2},k2,\n"
    first = land_text("a.csv", content)
    again = land_text("a.csv", content)
    assert (again.already_landed, again.version, again.days) == (True, first.version, first.days)
    other = land_text("b.csv", content)
    assert other.stays == ("What a.csv brought has the same content: its rows count once.",)
    for name, options in [("b.csv", {}), ("a.csv", {"replace": True})]:
        again = land_text(name, content, **options)
        assert (again.already_landed, again.version) == (True, other.version)
    assert keys(root) == ["k1", "k2"]


def test_of_two_files_with_the_same_bytes_one_is_corrected(root: Path, land_text: Land) -> None:
    for name in ("a.csv", "b.csv"):
        land_text(name, HEADER + f"x,{D1},k1,\n")
    landed = land_text("a.csv", HEADER + f"x,{D1},k2,\n")
    assert keys(root) == ["k1", "k2"], "what the other says stays"
    assert landed.stays[0].startswith("1 rows of b.csv stay beside it on 2023-01-01.")
    land_text("b.csv", HEADER + f"x,{D2},k2,\n")
    assert keys(root) == ["k2", "k2"], "of two days"


def test_of_two_sets_with_the_same_part_one_is_corrected(root: Path, tmp_path: Path) -> None:
    for number, (name, key) in enumerate((("jan", "k1"), ("feb", "k1"), ("jan", "k9"))):
        files = set_of(name, tmp_path / str(number), p0=f"x,{D1},{key},\n", p1=f"x,{D1},{name},\n")
        land(root, TABLE, SOURCE, files, today=TODAY)
    assert sorted(map(str, keys(root))) == ["feb", "jan", "k1", "k9"]


def test_the_same_bytes_for_another_day_or_as_a_replacement_of_more_are_another_landing(
    root: Path, land_text: Land
) -> None:
    content = HEADER + f"x,{D1},k1,\n"
    land_text("a.csv", content)
    assert not land_text("a.csv", content, day=D2).already_landed
    assert (keys(root, D1), keys(root, D2)) == ([], ["k1"]), "it moved"
    land_text("b.csv", HEADER + f"x,{D1},k2,\n")
    assert not land_text("a.csv", content, replace=True).already_landed
    assert (keys(root, D1), keys(root, D2)) == (["k1"], [])


def test_a_new_name_adds_and_a_known_name_supersedes_all_that_it_brought(root: Path, land_text: Land) -> None:
    land_text("a.csv", HEADER + f"x,{D1},k1,\nx,{D2},k2,\n")
    land_text("b.csv", HEADER + f"x,{D2},k3,\n")
    again = land_text("a.csv", HEADER + f"x,{D2},k4,\n")
    assert keys(root, D1) == []
    assert [(p.name, p.landing) for p in parts(root, TABLE, [D2])] == [("b.csv", 2), ("a.csv", 3)]
    assert again.notes[0] == f"1 rows that it brought before, of {D1}, are superseded."
    assert "1 rows of b.csv stay beside it on 2023-01-02" in again.stays[0]
    assert keys(root, D2) == ["k3", "k4"]


def test_the_older_bytes_sent_again_are_a_landing_of_their_own(root: Path, land_text: Land) -> None:
    for key in ("k1", "k2", "k1"):
        assert not land_text("a.csv", HEADER + f"x,{D1},{key},\n").already_landed
    assert keys(root) == ["k1"]
    assert parts(root, TABLE)[0].landing == 3


# --- what identifies a delivery ---


def write(folder: Path, name: str, content: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


def test_files_of_one_name_in_folders_of_days_are_two_files(root: Path, tmp_path: Path) -> None:
    source = EventFiles(SOURCE.columns, day_in_name=True)
    for day in (D1, D2):
        file = write(tmp_path, f"inbox/{day}/transacao.csv", HEADER + f"x,,k{day.day},\n")
        land(root, TABLE, source, file, today=TODAY)
    assert [(p.feed_day, p.name) for p in parts(root, TABLE)] == [
        (D1, "2023-01-01/transacao.csv"),
        (D2, "2023-01-02/transacao.csv"),
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [("relat\u00f3rio.csv", "relato\u0301rio.csv"), ("a.csv", "a.CSV"), ("A\u030a.Csv", "\u00c5.csv")],
)
def test_names_compare_in_one_unicode_form_and_whatever_the_case_of_the_extension(
    root: Path, tmp_path: Path, first: str, second: str
) -> None:
    for number, name in enumerate((first, second)):
        land(root, TABLE, SOURCE, write(tmp_path / str(number), name, HEADER + f"x,{D1},k{number},\n"), today=TODAY)
    assert keys(root) == ["k1"], "superseded"
    assert canonical("a.b/C") == "a.b/C"
    assert canonical("A.csv") != canonical("a.csv")


def test_a_row_that_moves_to_another_day_counts_once(root: Path, land_text: Land) -> None:
    land_text("a.csv", HEADER + f"x,{D1},k1,\nx,{D1},k2,\n")
    landed = land_text("a.csv", HEADER + f"x,{D1},k1,\nx,{D3},k2,\n")
    assert (keys(root, D1), keys(root, D3)) == (["k1"], ["k2"])
    assert landed.notes == ()
    assert land_text("a.csv", HEADER + f"x,{D1},k1,\nx,{D3},k2,\n").already_landed
    land_text("a.csv", HEADER + f"x,{D2},k1,\n")
    assert keys(root) == ["k1"]
    assert (keys(root, version=0), keys(root, version=1)) == (["k1", "k2"], ["k1", "k2"]), "what held then still does"


def test_a_document_landed_again_from_another_folder_is_one_row_and_its_day_is_said(root: Path, tmp_path: Path) -> None:
    source = EventFiles(("document",), whole=True)
    one, two = (write(tmp_path, f"{folder}/x.json", '{"order": 1}') for folder in "ab")
    with pytest.raises(LandingError, match="--day"):
        land(root, TABLE, source, one, today=TODAY)
    land(root, TABLE, source, one, day=D1, today=TODAY)
    assert land(root, TABLE, source, two, day=D1, today=TODAY).already_landed
    assert land(root, TABLE, source, two, day=D2, today=TODAY).notes == (
        f"1 rows that it brought before, of {D1}, are superseded.",
    )
    assert [(part.feed_day, part.name) for part in parts(root, TABLE)] == [(D2, "x.json")]


def test_a_file_that_says_no_day_is_another_one_on_another_day(root: Path, tmp_path: Path) -> None:
    source = EventFiles(SOURCE.columns)
    for day in (D1, D2, D2):
        land(root, TABLE, source, write(tmp_path, "users.csv", HEADER + f"x,,k{day.day},\n"), day=day, today=TODAY)
    assert (keys(root, D1), keys(root, D2)) == (["k1"], ["k2"])


def set_of(name: str, folder: Path, **contents: str) -> FileSet:
    files = [write(folder, f"{file}.csv", HEADER + content) for file, content in contents.items()]
    return FileSet(name, tuple(SourceFile(file.name, file) for file in files))


def test_a_set_is_one_delivery_whose_files_may_have_new_names(root: Path, tmp_path: Path) -> None:
    first = set_of("january", tmp_path / "1", p0=f"x,{D1},k1,\n", p1=f"x,{D2},k2,\n")
    landed = land(root, TABLE, SOURCE, first, today=TODAY)
    assert (landed.name, landed.days, landed.version) == ("january", {D1: 1, D2: 1}, 0)
    assert land(root, TABLE, SOURCE, first, today=TODAY).already_landed
    again = set_of("january", tmp_path / "2", q7=f"x,{D1},k1,\n", q8=f"x,{D2},k2,\n", q9=f"x,{D3},k3,\n")
    assert land(root, TABLE, SOURCE, again, today=TODAY).version == 1
    assert keys(root) == ["k1", "k2", "k3"]
    fewer = set_of("january", tmp_path / "3", q9=f"x,{D3},k3,\n")
    assert land(root, TABLE, SOURCE, fewer, today=TODAY).notes == (
        f"2 rows that it brought before, of {D1}..{D2}, are superseded.",
    )
    assert keys(root) == ["k3"]
    assert parts(root, TABLE)[0].landing == 1, "what is as it was is not written again"


def test_a_set_is_landed_whole_or_not_at_all(root: Path, tmp_path: Path) -> None:
    with pytest.raises(LandingError, match=r"bad\.csv"):
        land(root, TABLE, SOURCE, set_of("s", tmp_path, good=f"x,{D1},k1,\n", bad="x,9999-12-31,k2,\n"), today=TODAY)
    assert parts(root, TABLE) == []
    same = set_of("s", tmp_path, good=f"x,{D1},k1,\n", bad=f"x,{D1},k1,\n")
    assert land(root, TABLE, SOURCE, same, today=TODAY).days == {D1: 2}, "two files may say the same"
    assert land(root, TABLE, SOURCE, same, today=TODAY).already_landed


def test_a_set_takes_over_files_that_were_landed_by_themselves_and_says_what_stays(root: Path, tmp_path: Path) -> None:
    files = set_of("s", tmp_path, p0=f"x,{D1},k1,\n", p1=f"x,{D1},k2,\n", p2=f"x,{D1},k3,\n")
    for file in files.files:
        land(root, TABLE, SOURCE, file.path, today=TODAY)
    write(tmp_path, "p2.csv", HEADER + f"x,{D1},k4,\n")
    landed = land(root, TABLE, SOURCE, files, today=TODAY)
    assert sorted(map(str, keys(root))) == ["k1", "k2", "k3", "k4"]
    assert landed.stays[0].startswith("1 rows of p2.csv stay beside it on 2023-01-01.")
    whole = land(root, TABLE, SOURCE, files, today=TODAY, replace=True)
    assert (whole.stays, keys(root)) == ((), ["k1", "k2", "k4"])


def test_two_files_of_one_name_are_refused_before_anything_is_landed(tmp_path: Path) -> None:
    files = [write(tmp_path, name, HEADER) for name in ("a/x.csv", "b/x.CSV")]
    with pytest.raises(LandingError, match="--below"):
        FileSet("s", tuple(SourceFile(name_of(file), file) for file in files))
    assert [name_of(file, tmp_path) for file in files] == ["a/x.csv", "b/x.CSV"]


def test_a_folder_and_a_manifest_say_what_is_delivered(tmp_path: Path) -> None:
    files = [write(tmp_path, f"d/{name}", f"{name}\n") for name in ("b.csv", "a/c.csv", ".hidden.csv", "_tmp/d.csv")]
    assert [file.name for file in files_below(tmp_path / "d")] == ["a/c.csv", "b.csv"]
    sums = "".join(f"{sha256(file)}  {file.relative_to(tmp_path / 'd')}\n" for file in files[:2])
    manifest = write(tmp_path, "d/SHA256SUMS", sums)
    assert [file.name for file in listed(manifest)] == ["b.csv", "a/c.csv"]
    assert check_content(listed(manifest)[0], b"b.csv\n") == sha256(files[0])
    with pytest.raises(LandingError, match="not what the manifest says"):
        check_content(listed(manifest)[0], b"other")
    manifest.write_text("b.csv\nmissing.csv\n")
    with pytest.raises(LandingError, match=r"missing\.csv: not there"):
        listed(manifest)


def test_a_landing_of_the_version_before_is_read_and_superseded(root: Path, land_text: Land, tmp_path: Path) -> None:
    """Its manifest has no column `delivery`, and names without folders: of several days, one file each."""
    land_text("a.csv", HEADER + f"x,{D1},k1,\nx,{D2},k2,\n")
    entries = Manifest(root / TABLE).entries()
    shutil.rmtree(root / TABLE / "_manifest")
    old = pa.Table.from_pylist([{k: v for k, v in vars(entry).items() if k != "delivery"} for entry in entries])
    kinds = {"landing": pa.int32(), "feed_day": pa.date32()}
    old = old.cast(pa.schema([(field.name, kinds.get(field.name, field.type)) for field in old.schema]))
    write_deltalake(str(root / TABLE / "_manifest"), old, configuration={"delta.appendOnly": "true"})
    assert keys(root) == ["k1", "k2"]
    assert land_text("a.csv", HEADER + f"x,{D1},k1,\nx,{D2},k2,\n").already_landed
    land_text("a.csv", HEADER + f"x,{D2},k3,\n")
    assert keys(root) == ["k1", "k3"], "a file of the same name may have been another one on another day"
    land_text("a.csv", HEADER + f"x,{D3},k3,\n")
    assert keys(root) == ["k1", "k3"], "what this version landed is superseded on whatever days"
    assert keys(root, version=0) == ["k1", "k2"]
    land(root, TABLE, SOURCE, write(tmp_path, f"{D1}/a.csv", HEADER + f"x,{D1},k5,\n"), today=TODAY)
    assert keys(root) == ["k5", "k3"], "of the same day it was the same file, called without its folder"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


ITEMS = "transaction_datetime,transaction_date,purchase_id,product_id,item_quantity,purchase_value\n"


def item(folder: Path, name: str, key: int, day: date = D1) -> str:
    return str(write(folder, name, ITEMS + f"{day} 10:00:00,{day},{key},1,1,10.00\n"))


def land_by_cli(*arguments: str) -> Result:
    return CliRunner().invoke(land_command, ["gmv/product_item", *arguments, "--format", "csv"])


def held() -> list[tuple[str, int]]:
    return [(part.name, part.rows) for part in parts(settings().landing, "gmv/product_item")]


def test_a_file_that_is_refused_holds_up_no_other(home: Path) -> None:
    files = [item(home, f"{n}.csv", n, day) for n, day in enumerate((D1, date(1900, 1, 1), date(9999, 12, 31), D2))]
    result = land_by_cli(*files, str(home / "none.csv"))
    assert held() == [("0.csv", 1), ("3.csv", 1)]
    assert isinstance(result.exception, LakehouseError)
    assert [line.split(":")[0].split("/")[-1] for line in str(result.exception).splitlines()] == [
        "1.csv",
        "2.csv",
        "none.csv",
    ]


def test_two_files_of_one_name_in_one_command(home: Path) -> None:
    files = [item(home, f"{folder}/x.csv", n) for n, folder in enumerate("ab")]
    assert "--below" in str(land_by_cli(*files).exception)
    assert held() == []
    assert land_by_cli(*files, "--below", str(home)).exit_code == 0
    assert held() == [("a/x.csv", 1), ("b/x.csv", 1)]


def test_a_set_a_folder_and_a_manifest_are_one_delivery(home: Path) -> None:
    files = [item(home, f"jan/{n}.csv", n) for n in range(2)]
    assert land_by_cli(*files, "--set", "jan").stdout.splitlines()[1:] == ["jan,landed,2023-01-01,2,0"]
    assert "already landed" in land_by_cli(str(home / "jan")).stdout, "the folder of that name is that delivery"
    (home / "jan" / "0.csv").rename(home / "jan" / "7.csv")
    manifest = write(home, "jan/SHA256SUMS", "1.csv\n7.csv\n")
    assert "already landed" in land_by_cli("--manifest", str(manifest)).stdout, "the same bytes under a new name"
    item(home, "jan/7.csv", 5)
    assert land_by_cli("--manifest", str(manifest)).exit_code == 0
    assert held() == [("1.csv", 1), ("7.csv", 1)]
    manifest.unlink()
    item(home, "jan/bad.csv", 3, date(9999, 12, 31))
    assert isinstance(land_by_cli(str(home / "jan")).exception, LakehouseError)
    assert held() == [("1.csv", 1), ("7.csv", 1)], "whole or not at all"
    for wrong in ((), ("--manifest", "m", "file"), (*files, "--replace")):
        assert land_by_cli(*wrong).exit_code == 2


def test_manifests_in_folders_of_one_name_are_two_deliveries(home: Path) -> None:
    for number, folder in enumerate("ab"):
        item(home, f"{folder}/jan/0.csv", number)
        manifest = write(home, f"{folder}/jan/SHA256SUMS", "0.csv\n")
        assert land_by_cli("--manifest", str(manifest), "--below", str(home)).exit_code == 0
        manifest.unlink()
        assert "already landed" in land_by_cli(str(home / folder / "jan"), "--below", str(home)).stdout
    assert held() == [("0.csv", 1), ("0.csv", 1)]


def test_what_is_superseded_what_stays_and_what_disagrees_is_said(home: Path) -> None:
    assert land_by_cli(item(home, "a.csv", 1), item(home, "b.csv", 2)).exit_code == 0
    message = land_by_cli(item(home, "a.csv", 3), "--day", str(D2)).stderr
    assert f"landed on {D2}, but 1 of 1 rows say {D1} in transaction_date" in message
    assert f"1 rows that it brought before, of {D1}, are superseded" in message
    assert "stay beside it" in land_by_cli(item(home, "c.csv", 4)).stderr


# --- the days that a source can have ---


@pytest.mark.parametrize("day", ["1900-01-01", "9999-12-31", "2023-06-02", "1999-12-31"])
def test_a_day_that_the_source_cannot_have_is_refused(root: Path, land_text: Land, day: str) -> None:
    with pytest.raises(LandingError, match=f"row 2 is of {day}"):
        land_text("a.csv", HEADER + f"x,{TODAY},k1,\nx,{day},k2,\n")
    assert not parts(root, TABLE)


def test_a_source_that_ended_has_a_last_day(root: Path, tmp_path: Path) -> None:
    source = EventFiles(SOURCE.columns, day_column="day", days=SourceDays(SOURCE.days.first, D2))
    with pytest.raises(LandingError, match="after the last day of this source, 2023-01-02"):
        land(root, TABLE, source, write(tmp_path, "a.csv", HEADER + f"x,{D3},k,\n"), today=TODAY)
    with pytest.raises(ValueError, match="before the first"):
        SourceDays(D2, D1)


def test_today_is_that_of_the_source() -> None:
    before_noon = datetime(2023, 1, 1, 11, 30, tzinfo=UTC)
    zones = {"UTC": D1, "Pacific/Apia": D2, "Etc/GMT+12": date(2022, 12, 31)}
    assert {zone: SourceDays(D1, zone=zone).today(before_noon) for zone in zones} == zones
    for zone, today in zones.items():
        with partition_loading_context(before_noon):
            assert partitions(date(2022, 1, 1), zone).get_last_partition_key() == str(today)
    with pytest.raises(ValueError, match="no time zone"):
        SourceDays(D1, zone="Mars/Olympus")


def test_a_day_given_against_those_that_a_file_says_is_told(root: Path, land_text: Land, tmp_path: Path) -> None:
    landed = land_text("a.csv", HEADER + f"x,{D1},k1,\nx,{D3},k2,\nx,,k3,\n", day=D3)
    assert landed.notes == (f"{tmp_path}/a.csv: landed on {D3}, but 1 of 3 rows say {D1} in day.",)
    named = EventFiles(SOURCE.columns, day_in_name=True)
    file = write(tmp_path, f"{D1}.csv", HEADER)
    assert land(root, "gmv/other", named, file, day=D2, today=TODAY).notes == (
        f"{file}: landed on {D2}, but its path says {D1}.",
    )
    assert land(root, "gmv/other", named, file, day=D1, today=TODAY).notes == ()


def test_replace_replaces_the_days_of_the_file_whole_and_later_files_add_again(root: Path, land_text: Land) -> None:
    land_text("a.csv", HEADER + f"x,{D1},k1,\nx,{D2},k2,\n")
    land_text("b.csv", HEADER + f"x,{D1},k3,\n")
    land_text("c.csv", HEADER + f"x,{D1},k4,\n", replace=True)
    assert (keys(root, D1), keys(root, D2)) == (["k4"], ["k2"])
    land_text("d.csv", HEADER + f"x,{D1},k5,\n")
    assert keys(root, D1) == ["k4", "k5"]


def test_an_earlier_manifest_version_still_shows_what_held_then(root: Path, land_text: Land) -> None:
    assert manifest_version(root, TABLE) is None
    assert parts(root, TABLE) == []
    assert not root.exists()
    land_text("a.csv", HEADER + f"x,{D1},k1,\n")
    land_text("a.csv", HEADER + f"x,{D1},k2,\n", replace=True)
    assert manifest_version(root, TABLE) == 1
    assert (keys(root, version=0), keys(root, version=1)) == (["k1"], ["k2"])
    with pytest.raises(LandingError, match="version 7"):
        parts(root, TABLE, version=7)


def test_one_landing_is_one_commit_and_the_same_file_gives_the_same_bytes(tmp_path: Path, land_text: Land) -> None:
    land_text("a.csv", HEADER + "".join(f"x,2023-01-{1 + i % 28:02},k{i},\n" for i in range(500)))
    for other in ("one", "two"):
        land(tmp_path / other, TABLE, SOURCE, tmp_path / "a.csv", today=TODAY)
        assert manifest_version(tmp_path / other, TABLE) == 0
    one, two = (
        [(p.path.relative_to(tmp_path / other), p.sha256) for p in parts(tmp_path / other, TABLE)]
        for other in ("one", "two")
    )
    assert one == two
    assert len(one) == 28


def test_a_part_that_was_changed_or_removed_is_noticed(root: Path, land_text: Land) -> None:
    land_text("a.csv", HEADER + f"x,{D1},k1,\n")
    (part,) = parts(root, TABLE)
    verify(part)
    part.path.write_bytes(part.path.read_bytes()[:-1] + b"x")
    with pytest.raises(LandingError, match=r"not what was landed.* land its source again\.$"):
        verify(part)
    part.path.unlink()
    with pytest.raises(LandingError, match="No such file"):
        verify(part)


@pytest.mark.parametrize("harm", [lambda part: part.write_bytes(part.read_bytes()[:-1] + b"x"), Path.unlink])
def test_landing_the_source_again_mends_a_part_and_loses_no_other_row(
    root: Path, land_text: Land, harm: Callable[[Path], object]
) -> None:
    land_text("a.csv", HEADER + f"x,{D1},k1,\n")
    land_text("b.csv", HEADER + f"x,{D1},k2,\n")
    harm(parts(root, TABLE)[0].path)
    assert not land_text("a.csv", HEADER + f"x,{D1},k1,\n").already_landed
    for part in parts(root, TABLE):
        verify(part)
    assert keys(root) == ["k2", "k1"]


def test_a_lander_that_read_an_older_manifest_takes_no_number_twice(root: Path, land_text: Land) -> None:
    stale_first = Manifest(root / TABLE)
    land_text("a.csv", HEADER + f"x,{D1},k1,\n")
    stale = Manifest(root / TABLE)
    land_text("b.csv", HEADER + f"x,{D1},k2,\n")
    entry = Entry(D1, 2, "c.csv", "2023-01-01/000002-0.parquet", "csv", 1, "0", "0", 1, "add")
    for manifest in (stale_first, stale):
        with pytest.raises(ManifestMoved):
            manifest.commit([entry])
    assert [p.name for p in parts(root, TABLE)] == ["a.csv", "b.csv"]


def test_what_a_killed_landing_left_is_not_seen_and_not_in_the_way(root: Path, land_text: Land) -> None:
    land_text("a.csv", HEADER + f"x,{D1},k1,\n")
    left = [root / TABLE / "_staging" / "x.parquet", root / TABLE / "2023-01-01" / "000002-0123456789abcdef.parquet"]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half a part")
    assert keys(root) == ["k1"]
    land_text("b.csv", HEADER + f"x,{D1},k2,\n")
    assert [(p.name, p.landing) for p in parts(root, TABLE)] == [("a.csv", 1), ("b.csv", 2)]
    assert not left[0].exists()


def _land_many(root: Path, folder: Path, who: str, barrier: "multiprocessing.synchronize.Barrier") -> None:
    barrier.wait(60)
    for i in range(5):
        file = folder / f"{who}{i}.csv"
        file.write_text(HEADER + f"x,{D1},{who}{i},\n")
        land(root, TABLE, SOURCE, file, today=TODAY)


def test_two_processes_landing_at_once_both_land_under_numbers_of_their_own(root: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    landers = [context.Process(target=_land_many, args=(root, tmp_path, who, barrier)) for who in "ab"]
    for lander in landers:
        lander.start()
    for lander in landers:
        lander.join(120)
    assert [lander.exitcode for lander in landers] == [0, 0]
    assert sorted(p.landing for p in parts(root, TABLE)) == list(range(1, 11))
    assert sorted(map(str, keys(root))) == [f"{who}{i}" for who in "ab" for i in range(5)]
