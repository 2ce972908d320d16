"""Landing loses nothing and doubles nothing: over random files of every format."""

import json
from collections import Counter
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lakehouse_assets.platform.landing import EventFiles, land, parts

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
        assert landed.already_landed == (file.read_bytes() in seen)
        if not landed.already_landed:
            expected.update((*row, file.name, i) for i, row in enumerate(content, start=1))
        seen.add(file.read_bytes())
    found = [row for part in parts(folder / "root", TABLE) for row in pq.read_table(part.path).to_pylist()]
    assert Counter(tuple(r[c] for c in (*SOURCE.columns, "source_file", "row_number")) for r in found) == expected
