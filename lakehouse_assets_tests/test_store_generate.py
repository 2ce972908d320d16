"""The store's generator: deterministic, every defect, days that continue each other."""

import csv
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pytest

from lakehouse_assets.samples.store.feeds import DEFECTS, HEADERS, GenerateError, generate

FIRST = date(2025, 1, 1)
DAYS = [FIRST + timedelta(days=n) for n in range(5)]
Rows = list[dict[str, str]]


def read(folder: Path, day: date, table: str) -> Rows:
    with (folder / str(day) / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def dropped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    generate(folder, FIRST, DAYS[-1], orders=300, seed=3, defects=0)
    return folder


def test_the_same_seed_gives_the_same_bytes_in_one_call_or_in_pieces(tmp_path: Path) -> None:
    generate(tmp_path / "whole", FIRST, DAYS[-1], 200, seed=-5, defects=0.02)
    for day in reversed(DAYS):
        generate(tmp_path / "pieces", day, day, 200, seed=-5, defects=0.02, since=FIRST)
    files = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.csv"))
    assert len(files) == len(DAYS) * len(HEADERS)
    for file in files:
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "pieces" / file).read_bytes(), file
    generate(tmp_path / "other", FIRST, FIRST, 200, seed=5, defects=0.02)
    assert read(tmp_path / "other", FIRST, "orders") != read(tmp_path / "whole", FIRST, "orders")


def test_days_continue_each_other(dropped: Path) -> None:
    registered: dict[str, str] = {}
    prices: dict[str, set[str]] = {}
    returning = 0
    for day in DAYS:
        users = {row["user_id"]: row["signup_date"] for row in read(dropped, day, "users")}
        assert all(signup <= str(day) for signup in users.values())
        registered |= {user: signup for user, signup in users.items() if user not in registered}
        for row in read(dropped, day, "products"):
            prices.setdefault(row["product_id"], set()).add(row["price"])
        for order in read(dropped, day, "orders"):
            assert order["order_date"].startswith(str(day))
            returning += registered[order["user_id"]] < str(day)
    assert returning > 100
    assert any(len(seen) > 1 for seen in prices.values()), "prices change between weeks"


def test_payments_follow_their_order_and_pay_all_of_it(dropped: Path) -> None:
    orders = {row["order_id"]: row for day in DAYS for row in read(dropped, day, "orders")}
    payments = [(day, row) for day in DAYS for row in read(dropped, day, "payments")]
    for day, payment in payments:
        order = orders[payment["order_id"]]
        assert payment["paid_at"] >= order["order_date"]
        assert payment["paid_at"].startswith(str(day))
        assert (payment["amount"], order["status"]) == (order["total_price"], "aprovado")
    later = Counter((day - date.fromisoformat(orders[p["order_id"]]["order_date"][:10])).days for day, p in payments)
    assert set(later) == {0, 1, 2, 3}
    assert len({p["payment_id"] for _, p in payments}) == len(payments)
    assert len({p["order_id"] for _, p in payments}) == len(payments)


def test_every_defect_is_there_and_counted(tmp_path: Path) -> None:
    made = generate(tmp_path, FIRST, DAYS[-1], orders=600, seed=1, defects=0.02)
    rows = {table: [row for day in DAYS for row in read(tmp_path, day, table)] for table in HEADERS}
    for table, kinds in DEFECTS.items():
        assert set(made[table].defects) == set(kinds)
        assert made[table].rows == len(rows[table])
    of = {table: made[table].defects for table in HEADERS}
    assert sum(row["quantity"] == "0" for row in rows["orders"]) == of["orders"]["quantity_0"]
    assert sum(row["quantity"] == "" for row in rows["orders"]) == of["orders"]["null_quantity"]
    assert sum(row["order_date"].startswith("2099") for row in rows["orders"]) == of["orders"]["year_2099"]
    assert sum(row["user_id"].isdigit() for row in rows["orders"]) == of["orders"]["orphan_user"]
    assert sum(row["amount"] == "-1" for row in rows["payments"]) == of["payments"]["amount_-1"]
    assert sum(row["paid_at"] == "" for row in rows["payments"]) == of["payments"]["null_paid_at"]
    assert sum(row["order_id"].isdigit() for row in rows["payments"]) == of["payments"]["orphan_order"]
    assert sum(row["price"] == "" for row in rows["products"]) == of["products"]["null_price"]
    assert sum(row["price"].startswith("-") for row in rows["products"]) == of["products"]["negative_price"]
    assert sum(row["user_id"] == "" for row in rows["users"]) == of["users"]["null_id"]
    assert sum(row["email"] == "" for row in rows["users"]) == of["users"]["null_email"]


@pytest.mark.parametrize(
    ("first", "last", "orders", "defects", "since"),
    [
        (DAYS[1], FIRST, 10, 0.0, None),
        (FIRST, FIRST, -1, 0.0, None),
        (FIRST, FIRST, 10, 1.5, None),
        (FIRST, FIRST, 10, 0, DAYS[1]),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, first: date, last: date, orders: int, defects: float, since: date | None
) -> None:
    with pytest.raises(GenerateError):
        generate(tmp_path, first, last, orders, 1, defects, since)
    assert not list(tmp_path.iterdir())
