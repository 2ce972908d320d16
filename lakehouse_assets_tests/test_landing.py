"""Landing: files become immutable parts by feed day, one commit per file; nothing is lost, nothing lands twice."""

import multiprocessing
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse_assets.platform.landing import EventFiles, Landed, LandingError, land, manifest_version, parts, verify
from lakehouse_assets.platform.landing_manifest import Entry, Manifest, ManifestMoved

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
    land(root, TABLE, EventFiles(tuple(columns), "day"), tmp_path / "a.parquet", today=TODAY)
    first, second = ([row[column] for column in columns] for row in rows(root))
    assert first[:5] == [
        "2023-01-01",
        "2023-01-01 10:00:00",
        "2023-01-01 00:00:00Z",
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


def test_the_same_bytes_are_landed_once_whatever_their_name(root: Path, land_text: Land) -> None:
    content = HEADER + f"x,{D1},k1,\nx,{D2},k2,\n"
    first = land_text("a.csv", content)
    for name, options in [("a.csv", {}), ("b.csv", {}), ("a.csv", {"replace": True})]:
        again = land_text(name, content, **options)
        assert (again.already_landed, again.version, again.days) == (True, first.version, first.days)
    assert keys(root) == ["k1", "k2"]


def test_the_same_bytes_for_another_day_or_as_a_replacement_of_more_are_another_landing(
    root: Path, land_text: Land
) -> None:
    content = HEADER + f"x,{D1},k1,\n"
    land_text("a.csv", content)
    assert not land_text("a.csv", content, day=D2).already_landed
    land_text("b.csv", HEADER + f"x,{D1},k2,\n")
    assert not land_text("a.csv", content, replace=True).already_landed
    assert (keys(root, D1), keys(root, D2)) == (["k1"], ["k1"])


def test_a_new_name_adds_and_a_known_name_supersedes_its_part_of_its_days_only(root: Path, land_text: Land) -> None:
    land_text("a.csv", HEADER + f"x,{D1},k1,\nx,{D2},k2,\n")
    land_text("b.csv", HEADER + f"x,{D2},k3,\n")
    land_text("a.csv", HEADER + f"x,{D2},k4,\n")
    assert keys(root, D1) == ["k1"]
    assert [(p.name, p.landing) for p in parts(root, TABLE, [D2])] == [("b.csv", 2), ("a.csv", 3)]
    assert keys(root, D2) == ["k3", "k4"]


def test_the_older_bytes_sent_again_are_a_landing_of_their_own(root: Path, land_text: Land) -> None:
    for key in ("k1", "k2", "k1"):
        assert not land_text("a.csv", HEADER + f"x,{D1},{key},\n").already_landed
    assert keys(root) == ["k1"]
    assert parts(root, TABLE)[0].landing == 3


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
    with pytest.raises(LandingError, match="not what was landed"):
        verify(part)
    part.path.unlink()
    with pytest.raises(LandingError, match="No such file"):
        verify(part)


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
