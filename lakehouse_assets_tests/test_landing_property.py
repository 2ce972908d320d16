"""Landing loses nothing and doubles nothing: over random files of every format."""

import json
import unicodedata
from collections import Counter
from datetime import date
from functools import reduce
from operator import or_
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lakehouse_assets.platform.declare.source_files import EventFiles
from lakehouse_assets.platform.ingest.delivery_names import FileSet, SourceFile
from lakehouse_assets.platform.ingest.landing import land, parts

TABLE = "gmv/purchase"
SOURCE = EventFiles(("at", "day", "key", "value"), day_column="day")
TODAY = date(2023, 6, 1)
D1, D2, D3 = date(2023, 1, 1), date(2023, 1, 2), date(2023, 1, 3)
HEADER = "at,day,key,value\n"

_texts = st.text(st.characters(codec="utf-8"), max_size=6)
_days = st.sampled_from([D1.isoformat(), f"{D2} 10:00:00", D3.isoformat(), "", "2023-13-01"])
_files = st.lists(
    st.tuples(
        st.lists(st.tuples(_texts, _days, _texts, _texts), max_size=6), st.sampled_from(["csv", "jsonl", "parquet"])
    ),
    min_size=1,
    max_size=3,
)


def _write(file: Path, content: list[tuple[str, ...]]) -> None:
    if file.suffix == ".csv":
        lines = [",".join('"' + value.replace('"', '""') + '"' for value in row) for row in content]
        file.write_bytes((HEADER + "".join(line + "\n" for line in lines)).encode())
    elif file.suffix == ".jsonl":
        lines = [json.dumps(dict(zip(SOURCE.columns, row, strict=True)), ensure_ascii=False) for row in content]
        file.write_bytes("".join(line + "\n" for line in lines).encode() or b"\n")
    else:
        columns = {c: pa.array([row[i] for row in content], pa.string()) for i, c in enumerate(SOURCE.columns)}
        pq.write_table(pa.table(columns), file)


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(files=_files)
def test_parts_hold_every_row_of_every_landed_file_exactly_once(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[list[tuple[str, ...]], str]]
) -> None:
    folder = tmp_path_factory.mktemp("property")
    expected: Counter[tuple[object, ...]] = Counter()
    seen: set[bytes] = set()
    for number, (content, suffix) in enumerate(files):
        file = folder / f"{number}.{suffix}"
        _write(file, content)
        dated = any(len(day) >= 10 and "-13-" not in day for _, day, _, _ in content)
        landed = land(folder / "root", TABLE, SOURCE, file, day=None if dated else D1, today=TODAY)
        assert sum(landed.days.values()) == len(content)
        if file.read_bytes() not in seen:
            expected.update((*row, file.name, i) for i, row in enumerate(content, start=1))
        seen.add(file.read_bytes())
    found = [row for part in parts(folder / "root", TABLE) for row in pq.read_table(part.path).to_pylist()]
    assert Counter(tuple(r[c] for c in (*SOURCE.columns, "source_file", "row_number")) for r in found) == expected


# --- what holds after deliveries in any order, against a plain model ---

DAYS = (D1, D2, D3)
# Rows of a file: per row the day and the key that it says. A name may be delivered again with other rows, on other
# days; files of several names may have the same bytes.
Rows = tuple[tuple[date, str], ...]
_contents = st.lists(st.tuples(st.sampled_from(DAYS), st.sampled_from("kl")), min_size=1, max_size=3).map(tuple)
_names = st.sampled_from(["a.csv", "a.CSV", "b.csv", "relat\u00f3rio.csv", "relato\u0301rio.csv", "2023-01-01/a.csv"])
_alone = st.tuples(st.none(), st.dictionaries(_names, _contents, min_size=1, max_size=1))
_as_sets = st.tuples(
    st.sampled_from(["january", "february"]),
    st.dictionaries(st.sampled_from(["p0.csv", "p1.csv", "p2.csv"]), _contents, min_size=1, max_size=3),
)
Delivered = tuple[str | None, dict[str, Rows]]
K1, K2, K3, L1 = (D1, "k"), (D2, "k"), (D3, "k"), (D1, "l")


@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example([(None, {"a.csv": (K1, K1)}), (None, {"a.csv": (K1, K3)})])  # a row that moves to another day
@example([(None, {"a.csv": (K1,)}), (None, {"a.csv": (K2,)}), (None, {"a.csv": (K1,)})])
@example([("january", {"p0.csv": (K1,), "p1.csv": (K2,)}), ("january", {"p2.csv": (K1, K2)})])  # under new names
@example([(None, {"a.csv": (K1,)}), (None, {"b.csv": (K1,)}), (None, {"a.csv": (L1,)})])  # the same bytes
@example([("january", {"p0.csv": (K1,), "p1.csv": (K1,)}), (None, {"b.csv": (K1,)}), ("january", {"p0.csv": (L1,)})])
@given(deliveries=st.lists(st.one_of(_alone, _as_sets), min_size=1, max_size=6))
def test_a_delivery_supersedes_all_that_it_brought_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, deliveries: list[Delivered]
) -> None:
    """Of what several have with the same content on a day, the rows count once."""
    folder = tmp_path_factory.mktemp("deliveries")
    model: dict[str, Counter[tuple[date, Rows]]] = {}  # per delivery: its contents of each day, and how often
    changed: dict[int, dict[date, Counter[tuple[object, ...]]]] = {}
    for number, (name, files) in enumerate(deliveries):
        source_files, brought = [], Counter[tuple[date, Rows]]()
        for file_name, content in files.items():
            file = folder / str(number) / file_name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(HEADER + "".join(f"x,{day},{key},\n" for day, key in content))
            source_files.append(SourceFile(file_name, file))
            brought.update({(day, content) for day, _ in content})
        identity = name or unicodedata.normalize("NFC", next(iter(files))).replace(".CSV", ".csv")
        delivery = FileSet(identity, tuple(source_files))
        landed = land(folder / "root", TABLE, SOURCE, delivery, today=TODAY)
        assert landed.already_landed == (model.get(identity) == brought)
        assert land(folder / "root", TABLE, SOURCE, delivery, today=TODAY).already_landed
        model[identity] = brought
        changed[landed.version] = _held(folder / "root", None)
        expected = Counter[tuple[object, ...]]()
        for (day, content), times in reduce(or_, model.values()).items():  # of each content the greatest number
            expected.update([row for row in content if row[0] == day] * times)
        assert sum(changed[landed.version].values(), Counter()) == expected
    for version, held in changed.items():
        assert _held(folder / "root", version) == held, "what held at a version holds there for ever"


def _held(root: Path, version: int | None) -> dict[date, Counter[tuple[object, ...]]]:
    """Rows by the day they are landed on, which is the day they say."""
    found: dict[date, Counter[tuple[object, ...]]] = {}
    for part in parts(root, TABLE, version=version):
        rows = pq.read_table(part.path).to_pylist()
        assert {row["feed_day"] for row in rows} == {part.feed_day}
        found.setdefault(part.feed_day, Counter()).update((part.feed_day, row["key"]) for row in rows)
    return found
