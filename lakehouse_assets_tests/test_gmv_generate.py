"""The generated GMV feeds look like the marketplace's, with the inconsistencies that were asked for and counted."""

import csv
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from lakehouse_assets.samples.gmv.feeds import DEFECTS, HEADERS, Generated, GenerateError, generate
from lakehouse_assets_tests.gmv_histories import COLUMNS

FIRST, LAST = date(2023, 1, 1), date(2023, 2, 14)
Row = dict[str, str]
Rows = dict[str, list[tuple[date, Row]]]  # by table: delivery day of the file, row


def read(out: Path) -> Rows:
    rows: Rows = defaultdict(list)
    for table in HEADERS:
        for path in sorted((out / table).glob("*.csv")):
            with path.open(newline="") as file:
                rows[table] += [(date.fromisoformat(path.stem), row) for row in csv.DictReader(file)]
    return rows


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.csv")}


def own_time(row: Row) -> datetime | None:
    try:
        return datetime.strptime(row["transaction_datetime"], "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return None


def by_purchase(rows: list[tuple[date, Row]]) -> Iterator[tuple[str, list[Row]]]:
    grouped: dict[str, list[Row]] = defaultdict(list)
    for _, row in rows:
        grouped[row["purchase_id"]].append(row)
    for purchase, own in grouped.items():
        yield purchase, sorted(own, key=lambda row: row["transaction_datetime"])


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[Generated, Rows]:
    out = tmp_path_factory.mktemp("clean")
    return generate(out, FIRST, LAST, purchases=60, seed=7, defects=0), read(out)


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Generated, Rows]:
    out = tmp_path_factory.mktemp("spoiled")
    return generate(out, FIRST, LAST, purchases=60, seed=7, defects=0.04), read(out)


def test_the_same_arguments_give_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        generate(tmp_path / name, FIRST, LAST, purchases=5, seed=seed, defects=0.05)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


def test_a_range_in_pieces_is_the_range_in_one(tmp_path: Path) -> None:
    whole = generate(tmp_path / "whole", FIRST, LAST, purchases=8, seed=3, defects=0.05)
    cuts = [FIRST, date(2023, 1, 2), date(2023, 2, 10), LAST + timedelta(days=1)]
    pieces = [
        generate(tmp_path / "pieces", a, b - timedelta(days=1), purchases=8, seed=3, defects=0.05, since=FIRST)
        for a, b in itertools.pairwise(cuts)
    ]
    assert contents(tmp_path / "pieces") == contents(tmp_path / "whole")
    assert sum(piece.rows for piece in pieces) == whole.rows
    assert sum((piece.defects for piece in pieces), Counter()) == whole.defects


def test_files_have_the_marketplaces_header_quotes_and_line_ends(tmp_path: Path) -> None:
    generate(tmp_path, FIRST, FIRST, purchases=20, seed=1, defects=0)
    assert HEADERS == COLUMNS
    lines = (tmp_path / "product_item" / "2023-01-01.csv").read_text().split("\n")
    assert lines[0] == "transaction_datetime,transaction_date,purchase_id,product_id,item_quantity,purchase_value"
    assert lines[-1] == ""
    item = re.compile(r'2023-01-01 \d\d:\d\d:\d\d,2023-01-01,\d+,\d+,\d+,"\d+,\d\d"')
    assert len(lines) == 22
    assert all(item.fullmatch(line) for line in lines[1:-1])


def test_what_was_counted_is_what_the_files_hold(spoiled: tuple[Generated, Rows]) -> None:
    generated, rows = spoiled
    assert {table: counts.rows for table, counts in generated.tables.items()} == {
        table: len(own) for table, own in rows.items()
    }
    assert all(counts.files == (LAST - FIRST).days + 1 for counts in generated.tables.values())


def test_without_defects_a_record_is_delivered_on_the_day_of_its_own_time(clean: tuple[Generated, Rows]) -> None:
    generated, rows = clean
    assert generated.defects == {}
    for own in rows.values():
        for delivered, row in own:
            at = own_time(row)
            assert at
            assert at.date().isoformat() == row["transaction_date"] == delivered.isoformat()


def test_items_come_before_their_purchase_and_extra_info_up_to_three_days_after(clean: tuple[Generated, Rows]) -> None:
    _, rows = clean
    first = {
        table: {key: datetime.fromisoformat(own[0]["transaction_datetime"]) for key, own in by_purchase(rows[table])}
        for table in rows
    }
    ordered = {row["purchase_id"]: date.fromisoformat(row["order_date"]) for _, row in rows["purchase"]}
    assert all(first["product_item"][key] <= at for key, at in first["purchase"].items())
    waits = Counter(
        (at.date() - ordered[key]).days for key, at in first["purchase_extra_info"].items() if key in ordered
    )
    assert set(waits) == {0, 1, 2, 3}
    assert {row["subsidiary"] for _, row in rows["purchase_extra_info"]} == {"nacional", "internacional"}


def test_release_dates_are_set_later_cancelled_and_rewritten(clean: tuple[Generated, Rows]) -> None:
    _, rows = clean
    changes: Counter[str] = Counter()
    for _, own in by_purchase(rows["purchase"]):
        released = [row["release_date"] for row in own]
        changes["never"] += released == [""]
        changes["ahead"] += any(row["release_date"] > row["transaction_date"] for row in own)
        for before, after in itertools.pairwise(released):
            changes["set later"] += not before and bool(after)
            changes["cancelled"] += bool(before) and not after
            changes["rewritten"] += bool(before) and bool(after) and before != after
    assert {name for name, n in changes.items() if n} == {"never", "ahead", "set later", "cancelled", "rewritten"}


def test_values_and_subsidiaries_are_corrected(clean: tuple[Generated, Rows]) -> None:
    _, rows = clean
    assert any(len({row["purchase_value"] for row in own}) > 1 for _, own in by_purchase(rows["product_item"]))
    assert any(len({row["subsidiary"] for row in own}) > 1 for _, own in by_purchase(rows["purchase_extra_info"]))


def test_every_defect_occurs_where_it_applies(spoiled: tuple[Generated, Rows]) -> None:
    generated, _ = spoiled
    assert set(generated.defects) == set(DEFECTS)
    of_value = {"negative_value", "decimal_dot", "thousands"}
    assert set(generated.tables["purchase"].defects) == set(DEFECTS) - of_value - {"missing"}
    assert set(generated.tables["purchase_extra_info"].defects) == set(DEFECTS) - of_value


@pytest.mark.parametrize("table", HEADERS)
def test_defects_are_counted_as_they_lie_in_the_files(spoiled: tuple[Generated, Rows], table: str) -> None:
    generated, every = spoiled
    rows, counted = every[table], generated.tables[table].defects
    found: Counter[str] = Counter()
    copies = Counter((day, *row.values()) for day, row in rows)
    found["resent_same_day"] = sum(n - 1 for n in copies.values())
    for day, row in rows:
        at, value = own_time(row), row.get("purchase_value", "0,00")
        found["null_key"] += row["purchase_id"] == ""
        found["null_transaction_date"] += row["transaction_date"] == ""
        found["future"] += at is not None and at.date() > day
        found["behind"] += at is not None and at.date() < day
        found["negative_value"] += value.startswith("-")
        found["decimal_dot"] += bool(re.fullmatch(r"\d+\.\d\d", value))
        found["thousands"] += bool(re.fullmatch(r"\d{1,3}(,\d{3})+\.\d\d|\d{1,3}(\.\d{3})+,\d\d", value))
        numbers = [row[name] for name in row if name.endswith(("_id", "_quantity"))]
        found["malformed_number"] += not all(re.fullmatch(r"\d*", text) for text in numbers) or not re.fullmatch(
            r"-?[\d.,]+[.,]\d\d", value
        )
        dates = [row[name] for name in ("order_date", "release_date") if row.get(name)]
        found["malformed_date"] += at is None or not all(is_day(text) for text in dates)
    # Both arrive after the day of their own time.
    counted = counted + Counter({"behind": counted["late"] + counted["resent_later"]})
    del counted["late"], counted["resent_later"], counted["missing"]
    assert +found == counted


def is_day(text: str) -> bool:
    try:
        return datetime.strptime(text, "%Y-%m-%d").strftime("%Y-%m-%d") == text
    except ValueError:
        return False


def test_missing_items_leave_purchases_without_one(
    spoiled: tuple[Generated, Rows], clean: tuple[Generated, Rows]
) -> None:
    def lacking(rows: Rows) -> set[str]:
        return {row["purchase_id"] for _, row in rows["purchase"]} - {
            row["purchase_id"] for _, row in rows["product_item"]
        }

    assert lacking(clean[1]) == set()
    assert len(lacking(spoiled[1])) >= 50


def test_a_file_begins_with_a_record_that_names_its_day(tmp_path: Path) -> None:
    generate(tmp_path, FIRST, LAST, purchases=2, seed=1, defects=0.9)
    for table, own in read(tmp_path).items():
        firsts: dict[date, Row] = {}
        for day, row in own:
            firsts.setdefault(day, row)
            assert row["transaction_date"] in {"", day.isoformat()}, table
        assert all(row["transaction_date"] == day.isoformat() for day, row in firsts.items())


def test_a_marketplace_without_purchases_delivers_nothing(tmp_path: Path) -> None:
    assert generate(tmp_path, FIRST, LAST, purchases=0, seed=1, defects=0.1).rows == 0
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"last": date(2022, 12, 31)}, "since <= first <= last"),
        ({"since": date(2023, 1, 2)}, "since <= first <= last"),
        ({"purchases": -1}, "from 0 to 999999"),
        ({"purchases": 1_000_000}, "from 0 to 999999"),
        ({"defects": 1.5}, "from 0 to 1"),
    ],
)
def test_senseless_arguments_are_refused_and_nothing_is_written(
    tmp_path: Path, arguments: dict[str, object], message: str
) -> None:
    good: dict[str, object] = {"first": FIRST, "last": LAST, "purchases": 1, "seed": 1, "defects": 0.0}
    with pytest.raises(GenerateError, match=message):
        generate(tmp_path, **(good | arguments))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
