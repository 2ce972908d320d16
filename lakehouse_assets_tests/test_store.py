"""The store in the lake: generated days with every defect, real files, a real shop; judged by queries of the files."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyspark.sql import SparkSession

from lakehouse_assets.defs.store.olist import map_olist
from lakehouse_assets.platform.results.step_result import Outcome, Status
from lakehouse_assets.samples.store.feeds import HEADERS, generate
from lakehouse_assets_tests.lake_driver import LakeDriver

pytestmark = pytest.mark.slow

SHARED = next((p / "shared" / "data" for p in Path(__file__).parents if (p / "shared" / "data").exists()), None)
FIRST = date(2025, 1, 1)
GENERATED = [FIRST + timedelta(days=n) for n in range(4)]
BAD = GENERATED[-1]  # its payments are mostly -1
REAL = [date(2025, 9, 5), date(2025, 9, 10)]
OLIST = date(2018, 10, 31)
TABLES = list(HEADERS)
GOLD = ("daily_sales", "payment_reconciliation", "customer_value")


@dataclass
class Shop:
    """The lake with all days made, and the folder of the drop."""

    driver: LakeDriver
    drop: Path
    outcomes: dict[str, Outcome]

    def files(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """A query of the dropped files of the generated days; each is a view with `feed_day`."""
        with duckdb.connect(":memory:") as connection:
            for table in TABLES:
                days = ", ".join(f"'{self.drop / str(day) / table}.csv'" for day in GENERATED)
                connection.execute(
                    f"CREATE VIEW {table} AS SELECT DISTINCT * EXCLUDE (filename), "  # noqa: S608
                    f"regexp_extract(filename, '(\\d{{4}}-\\d\\d-\\d\\d)', 1)::DATE AS feed_day "
                    f"FROM read_csv([{days}], all_varchar = true, filename = true)"
                )
            return sorted(connection.execute(sql, list(parameters)).fetchall(), key=repr)

    def gold(self, table: str, *days: date) -> list[tuple[Any, ...]]:
        """Rows of a gold table of these days, sorted as `files` sorts."""
        rows = [tuple(row) for row in self.driver.read(f"store/gold/{table}").toLocalIterator()]
        return sorted((row for row in rows if row[0] in days), key=repr)

    def make_gold(self, *days: date) -> None:
        for table in GOLD:
            self.outcomes[table] = self.driver.make(f"store/gold/{table}", days)


@pytest.fixture(scope="module")
def shop(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("store")
    drop = folder / "drop"
    generate(drop, FIRST, BAD, orders=150, seed=11, defects=0.05)
    spoil_payments(drop / str(BAD) / "payments.csv")
    days = list(GENERATED)
    files = [(table, day, drop / str(day) / f"{table}.csv") for table in TABLES for day in GENERATED]
    if SHARED:
        map_olist(SHARED / "store_olist", drop, OLIST)
        files += [(table, OLIST, drop / str(OLIST) / f"{table}.csv") for table in TABLES]
        files += [(table, day, SHARED / "store" / str(day) / f"{table}.csv") for table in TABLES[:2] for day in REAL]
        days += [OLIST, *REAL]
    driver = LakeDriver.at(spark, folder)
    for table, day, file in files:
        driver.land(f"store/{table}", file, day=day)
    outcomes = {}
    for table in TABLES:
        driver.make(f"store/bronze/{table}", days)
        outcomes[table] = driver.make(f"store/silver/{table}", days)
    made = Shop(driver, drop, outcomes)
    made.make_gold(*days)
    return made


def spoil_payments(file: Path) -> None:
    header, *rows = file.read_text(encoding="utf-8").splitlines()
    amount = HEADERS["payments"].index("amount")
    bad = [",".join("-1" if n == amount else value for n, value in enumerate(row.split(","))) for row in rows]
    more = [row.replace("-", f"{n}-", 1) for n in range(3) for row in bad]  # other ids, so that they are many enough
    file.write_text("\n".join([header, *bad, *more]) + "\n", encoding="utf-8")


def days_of(outcome: Outcome, status: Status) -> set[date]:
    return {day.day for day in outcome.with_status(status)}


# --- generated days ---

GOOD_LINES = """
    SELECT feed_day, order_id, product_id, user_id, quantity::DOUBLE::BIGINT AS quantity, status,
           total_price::DECIMAL(18, 2) AS total, order_date::TIMESTAMP::DATE AS day
    FROM orders WHERE try_cast(quantity AS DOUBLE) > 0 AND order_date NOT LIKE '2099%'
"""


def test_a_bad_day_of_payments_blocks_only_what_needs_payments(shop: Shop) -> None:
    assert days_of(shop.outcomes["payments"], Status.FAILED) == {BAD}
    assert days_of(shop.outcomes["payment_reconciliation"], Status.BLOCKED) >= {BAD}
    for table in ("users", "products", "orders", "daily_sales", "customer_value"):
        assert BAD in days_of(shop.outcomes[table], Status.COMMITTED), table


def test_nothing_is_lost_and_every_defect_has_its_rule(shop: Shop) -> None:
    broken: dict[str, int] = {}
    for table in TABLES:
        for day in shop.outcomes[table].days:
            assert day.reconciled
            if day.day in GENERATED[:-1]:
                for rule in day.rules:
                    broken[f"{table}.{rule.rule}"] = broken.get(f"{table}.{rule.rule}", 0) + rule.failed
    for rule in (
        "users.user_id:not_null", "users.has_email", "products.price:not_null", "products.price:ge",
        "orders.quantity:gt", "orders.quantity_goes_with_product", "orders.not_from_the_future",
        "payments.amount:ge", "payments.paid_at:not_null",
    ):  # fmt: skip
        assert broken[rule] > 0, (rule, broken)
    duplicates = sum(day.rows.duplicates for table in TABLES for day in shop.outcomes[table].days)
    assert duplicates > 0
    unknown = {rule.rule: rule.failed for day in shop.outcomes["daily_sales"].days for rule in day.rules if rule.failed}
    assert unknown["user_is_known"] > 0


def test_daily_sales_are_those_of_the_files(shop: Shop) -> None:
    expected = shop.files(f"""
        WITH lines AS ({GOOD_LINES}),
        known_users AS (SELECT feed_day, user_id, any_value(state) AS state FROM users
                        WHERE user_id IS NOT NULL GROUP BY ALL),
        known_products AS (SELECT feed_day, product_id, any_value(category) AS category FROM products
                           WHERE price::DOUBLE >= 0 GROUP BY ALL)
        SELECT lines.feed_day, day, coalesce(category, 'unknown'), coalesce(state, 'unknown'), count(DISTINCT order_id),
               sum(quantity)::BIGINT, sum(total), coalesce(sum(total) FILTER (status = 'cancelado'), 0::DECIMAL(38, 2)),
               coalesce(sum(total) FILTER (status <> 'cancelado'), 0::DECIMAL(38, 2))
        FROM lines
        ASOF LEFT JOIN known_users u ON lines.user_id = u.user_id AND lines.feed_day >= u.feed_day
        ASOF LEFT JOIN known_products p ON lines.product_id = p.product_id AND lines.feed_day >= p.feed_day
        GROUP BY ALL
    """)  # noqa: S608
    assert shop.gold("daily_sales", *GENERATED) == expected
    assert len(expected) > 100


def test_the_reconciliation_is_that_of_the_files(shop: Shop) -> None:
    rows = shop.gold("payment_reconciliation", *GENERATED[:-1])
    expected = shop.files(
        f"""
        WITH lines AS ({GOOD_LINES}),
        paid AS (SELECT feed_day, payment_id, order_id, payment_method, amount::DECIMAL(18, 2) AS amount FROM payments
                 WHERE amount <> '-1' AND paid_at IS NOT NULL AND feed_day < ?),
        news AS (SELECT DISTINCT feed_day, order_id FROM lines WHERE feed_day < ?
                 UNION SELECT feed_day, order_id FROM paid),
        due AS (SELECT n.feed_day, n.order_id, coalesce(sum(total), 0::DECIMAL(38, 2)) AS due,
                       coalesce(bool_and(status = 'cancelado'), false) AS cancelled, count(l.order_id) AS lines
                FROM news n LEFT JOIN lines l ON l.order_id = n.order_id AND l.feed_day <= n.feed_day GROUP BY ALL),
        got AS (SELECT n.feed_day, n.order_id, coalesce(sum(amount), 0::DECIMAL(38, 2)) AS paid,
                       coalesce(string_agg(DISTINCT payment_method, ',' ORDER BY payment_method), '') AS method
                FROM news n LEFT JOIN paid p ON p.order_id = n.order_id AND p.feed_day <= n.feed_day GROUP BY ALL)
        SELECT feed_day, order_id, due, paid, method, (paid - due)::DECIMAL(28, 2), cancelled,
               CASE WHEN lines = 0 THEN 'no_order' WHEN paid = 0 THEN 'unpaid' WHEN paid = due THEN 'settled'
                    ELSE 'other' END
        FROM due JOIN got USING (feed_day, order_id)
        """,  # noqa: S608
        BAD,
        BAD,
    )
    assert rows == expected
    assert {row[-1] for row in rows} == {"settled", "unpaid", "no_order"}


def test_the_value_of_customers_is_that_of_the_files(shop: Shop) -> None:
    expected = shop.files(f"""
        WITH lines AS ({GOOD_LINES} AND user_id IS NOT NULL), news AS (SELECT DISTINCT feed_day, user_id FROM lines)
        SELECT n.feed_day, n.user_id, max(day), (n.feed_day - max(day))::INTEGER,
               count(DISTINCT order_id) FILTER (status <> 'cancelado'),
               coalesce(sum(total) FILTER (status <> 'cancelado'), 0::DECIMAL(38, 2))
        FROM news n JOIN lines l ON l.user_id = n.user_id AND l.feed_day <= n.feed_day GROUP BY n.feed_day, n.user_id
    """)  # noqa: S608
    assert shop.gold("customer_value", *GENERATED) == expected


def test_days_made_one_by_one_backwards_are_those_made_as_a_range(shop: Shop) -> None:
    before = {table: shop.gold(table, *GENERATED) for table in GOLD}
    for day in reversed(GENERATED[1:3]):
        shop.make_gold(day)
    assert {table: shop.gold(table, *GENERATED) for table in GOLD} == before


# --- real files ---

real = pytest.mark.skipif(SHARED is None, reason="the shared real data are not beside the project")


@real
def test_the_real_users_and_products_are_all_accounted_for(shop: Shop) -> None:
    for table, key in (("users", "user_id"), ("products", "product_id")):
        days = {day.day: day for day in shop.outcomes[table].days}
        for day in REAL:
            file = duckdb.read_csv(f"{SHARED}/store/{day}/{table}.csv", all_varchar=True)
            rows_in, ids = len(file), len(file.project(key).filter(f"{key} IS NOT NULL").distinct())
            rows = days[day].rows
            assert (days[day].status, rows.rows_in, rows.duplicates) == (
                Status.COMMITTED,
                rows_in,
                rows_in - len(file.distinct()),
            )
            assert 0 < rows.kept <= ids
            assert rows.rows_in == rows.kept + rows.quarantined + rows.duplicates


def test_payments_of_orders_that_the_folder_does_not_hold_land_too(tmp_path: Path) -> None:
    files = {
        "customers": "customer_id,customer_city,customer_state\nc,x,SP\n",
        "orders": "order_id,customer_id,order_status,order_purchase_timestamp,order_approved_at\n"
        "held,c,delivered,2018-01-01 10:00:00,2018-01-02 10:00:00\n",
        "order_items": "order_id,product_id,price,freight_value\nheld,p,1.00,0.50\n",
        "order_payments": "order_id,payment_sequential,payment_type,payment_value\n"
        "held,1,boleto,1.50\nunknown,1,voucher,2.00\nunknown,2,not_defined,0.00\n",
        "products": "product_id,product_category_name\np,toys\n",
    }
    for name, text in files.items():
        (tmp_path / f"olist_{name}_dataset.csv").write_text(text)
    assert map_olist(tmp_path, tmp_path / "drop", OLIST)["payments"] == 3
    paid = (tmp_path / "drop" / OLIST.isoformat() / "payments.csv").read_text().splitlines()
    assert paid[1:] == [
        "held-1,held,boleto,1.50,2018-01-02 10:00:00",
        f"unknown-1,unknown,vale,2.00,{OLIST} 00:00:00",
        f"unknown-2,unknown,indefinido,0.00,{OLIST} 00:00:00",
    ]


@real
def test_the_totals_of_olist_are_those_of_its_files(shop: Shop) -> None:
    sums = olist("""
        SELECT count(DISTINCT order_id), count(*) FILTER (product_id IS NOT NULL),
               sum(price::DECIMAL(18, 2) + freight_value::DECIMAL(18, 2)),
               sum(price::DECIMAL(18, 2) + freight_value::DECIMAL(18, 2)) FILTER (status IN ('canceled', 'unavailable'))
        FROM (SELECT order_id, order_status AS status FROM orders) LEFT JOIN order_items USING (order_id)
    """)
    sales = shop.gold("daily_sales", OLIST)
    gross, cancelled, units = (sum(row[n] for row in sales) for n in (6, 7, 5))
    assert (units, gross, cancelled) == sums[0][1:]
    reconciled = shop.gold("payment_reconciliation", OLIST)
    assert len(reconciled) == sums[0][0] == 8135
    assert sum(row[2] for row in reconciled) == gross
    assert [(sum(row[3] for row in reconciled),)] == olist(
        "SELECT sum(payment_value::DECIMAL(18, 2)) FROM order_payments"
    )
    by_state = olist("""
        SELECT customer_state, sum(price::DECIMAL(18, 2) + freight_value::DECIMAL(18, 2))
        FROM orders JOIN order_items USING (order_id) JOIN customers USING (customer_id) GROUP BY 1 ORDER BY 1
    """)
    found: dict[str, Decimal] = {}
    for row in sales:
        found[row[3]] = found.get(row[3], Decimal(0)) + row[6]
    assert sorted((state, value) for state, value in found.items() if value) == by_state


@real
def test_the_reconciliation_lists_exactly_the_orders_whose_payments_differ(shop: Shop) -> None:
    """In whole cents 42 orders differ, 26 by more than one. A query in floats finds 30 by "more than 0.01": between."""
    differ = """
        WITH due AS (SELECT order_id, sum(price::{t} + freight_value::{t}) AS due FROM order_items GROUP BY 1),
             paid AS (SELECT order_id, sum(payment_value::{t}) AS paid FROM order_payments GROUP BY 1)
        SELECT order_id FROM due JOIN paid USING (order_id) WHERE {condition} ORDER BY 1
    """
    exact = {row[0] for row in olist(differ.format(t="DECIMAL(18, 2)", condition="due <> paid"))}
    more = {row[0] for row in olist(differ.format(t="DECIMAL(18, 2)", condition="abs(due - paid) > 0.01"))}
    floats = {row[0] for row in olist(differ.format(t="DOUBLE", condition="abs(due - paid) > 0.01"))}
    states = {row[1]: row[-1] for row in shop.gold("payment_reconciliation", OLIST)}
    listed = {order for order, state in states.items() if state in ("rounding", "underpaid", "overpaid")}
    assert listed == exact
    assert {order for order in listed if states[order] != "rounding"} == more
    assert (len(exact), len(floats), len(more)) == (42, 30, 26)
    assert more < floats < exact
    assert sum(state == "no_items" for state in states.values()) == 775


def olist(sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(":memory:") as connection:
        for source in ("customers", "orders", "order_items", "order_payments", "products"):
            file = f"{SHARED}/store_olist/olist_{source}_dataset.csv"
            connection.read_csv(file, all_varchar=True).create_view(source)
        return connection.execute(sql).fetchall()
