"""Files of one source that differ: what is declared is undone, whatever else is refused whole. No Spark."""

import json
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse_assets.platform.declare.source_files import Drift, EventFiles
from lakehouse_assets.platform.ingest.file_readers import LandingError
from lakehouse_assets.platform.ingest.landing import Landed, land, parts
from lakehouse_assets.platform.ingest.schema_drift import day_in_name, read_drifting

COLUMNS = ("id", "desc_produto", "qtde_pontos", "outras")
DRIFT = Drift(
    aliases=(("uuid", "id"), ("Desccateogria", "desc_produto")),
    delimiters=(",", ";"),
    optional=("qtde_pontos",),
    extra="outras",
    headerless=("id", "desc_produto"),
)
WHOLE = [{"id": "1", "desc_produto": "Torta", "qtde_pontos": "5", "outras": None}]
NO_POINTS = [WHOLE[0] | {"qtde_pontos": None}]


def read(text: str, drift: Drift = DRIFT, kind: str = "csv") -> list[dict[str, str | None]]:
    return read_drifting("f", kind, text.encode(), COLUMNS, drift).to_pylist()


@pytest.mark.parametrize(
    "text",
    [
        "id,desc_produto,qtde_pontos\n1,Torta,5\n",
        '"Id";"DescProduto";"QtdePontos"\n"1";"Torta";"5"\n',
        "QTDE_PONTOS;UUID;DescCateogria\n5;1;Torta\n",
        "\ufeffid,descProduto,qtdePontos\n1,Torta,5",
    ],
    ids=["as declared", "other case, delimiter and quotes", "aliases, other order", "with a byte order mark"],
)
def test_what_may_differ_is_undone(text: str) -> None:
    assert read(text) == WHOLE


def test_a_column_that_came_later_is_null_before() -> None:
    assert read("id;desc_produto\n1;Torta\n") == NO_POINTS


def test_a_file_without_a_header_is_read_by_declaration() -> None:
    assert read("1;Torta") == NO_POINTS
    assert read("\ufeff1;Torta") == NO_POINTS  # a byte order mark is no content
    with pytest.raises(LandingError, match="no column of this source in its first line"):
        read("1;Torta;zu;viel\n")


def test_json_and_parquet_drift_as_well(tmp_path: Path) -> None:
    assert read('{"UUID": 1, "descProduto": "Torta", "QtdePontos": 5}\n', kind="json") == WHOLE
    file = tmp_path / "f.parquet"
    pq.write_table(pa.table({"uuid": ["1"], "DescProduto": ["Torta"], "qtdePontos": [5]}), file)
    assert read_drifting("f", "parquet", file.read_bytes(), COLUMNS, DRIFT).to_pylist() == WHOLE


def test_a_column_nobody_declared_is_kept_or_refused() -> None:
    (row,) = read("id;desc_produto;cor\n1;Torta;azul\n")
    assert json.loads(row["outras"] or "") == {"cor": "azul"}
    with pytest.raises(LandingError, match="not declared 'cor'"):
        read("id;desc_produto;cor\n1;Torta;azul\n", Drift(delimiters=(";",), optional=("qtde_pontos", "outras")))


def test_a_missing_column_or_one_named_twice_is_refused() -> None:
    with pytest.raises(LandingError, match="missing 'desc_produto'"):
        read("id,pontos\n1,5\n")
    with pytest.raises(LandingError, match="more than once 'id'"):
        read("id,uuid,desc_produto\n1,2,Torta\n")


def test_the_day_is_in_the_name_of_the_file_or_of_its_folder() -> None:
    assert day_in_name(("clientes-2025-03-06.csv", "2024-01-01")) == date(2025, 3, 6)
    assert day_in_name(("part-0.json", "dt=2024-01-01")) == date(2024, 1, 1)
    assert day_in_name(("12025-03-061.csv", "x")) is None
    with pytest.raises(LandingError, match="2025-02-30 is no day"):
        day_in_name(("2025-02-30.csv",))


# Snapshots

SOURCE = EventFiles(("id", "name"), day_in_name=True, drift=Drift(), most_missing=0.2)


def snapshot(folder: Path, day: int, keys: int, allow_shrinking: bool = False) -> Landed:
    file = folder / f"2025-01-{day:02}.csv"
    file.write_text("id,name\n" + "".join(f"{n},x\n" for n in range(keys)))
    return land(folder / "landing", "d/t", SOURCE, file, today=date(2026, 1, 1), allow_shrinking=allow_shrinking)


def test_a_snapshot_that_shrinks_too_much_is_refused_unless_really_meant(tmp_path: Path) -> None:
    snapshot(tmp_path, 3, 100)
    snapshot(tmp_path, 4, 80)
    with pytest.raises(LandingError, match=r"63 rows, where the snapshot of 2025-01-04 had 80.*20%.*--allow-shrinking"):
        snapshot(tmp_path, 5, 63)
    assert {part.feed_day.day for part in parts(tmp_path / "landing", "d/t")} == {3, 4}
    snapshot(tmp_path, 5, 63, allow_shrinking=True)
    snapshot(tmp_path, 2, 5)  # the first of all: there is nothing to compare it with
    snapshot(tmp_path, 6, 51)


@pytest.mark.parametrize("text", ["id,name\n", ""], ids=["a header alone", "no byte"])
def test_an_empty_snapshot_is_refused_unless_really_meant(tmp_path: Path, text: str) -> None:
    snapshot(tmp_path, 2, 5)
    file = tmp_path / "2025-01-03.csv"
    file.write_text(text)
    today = date(2026, 1, 1)
    with pytest.raises(LandingError, match=r"without a row.*--allow-shrinking"):
        land(tmp_path / "landing", "d/t", SOURCE, file, today=today)
    assert land(tmp_path / "landing", "d/t", SOURCE, file, today=today, allow_shrinking=True).days == {
        date(2025, 1, 3): 0
    }
    assert [part.rows for part in parts(tmp_path / "landing", "d/t")] == [5, 0]
    snapshot(tmp_path, 4, 1)
