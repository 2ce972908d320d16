"""Orders from files: both sets of column names, the shop's real days and days with every defect."""

import csv
import json
import re
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyspark.sql.types as T
import pytest
from pyspark.sql import SparkSession

from lakehouse_assets.defs.orders.contracts import OrderLine
from lakehouse_assets.defs.orders.event import FIELDS, ONLINE_RETAIL, SALES_TRANSACTION
from lakehouse_assets.platform.contracts.contract import column, row_rule, table_metadata
from lakehouse_assets.platform.contracts.rules import Action, Dimension
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.ingest.file_readers import LandingError
from lakehouse_assets.platform.results.step_result import Status
from lakehouse_assets.samples.orders.feeds import generate
from lakehouse_assets.samples.orders.producer import events_of
from lakehouse_assets_tests.lake_driver import LakeDriver

pytestmark = pytest.mark.slow

ORIGINALS = Path(__file__).parents[2] / "shared" / "data" / "orders"
SILVER = ("orders/silver/order_lines", "orders/silver/cancellations")
GOLD = tuple(f"orders/gold/{name}" for name in ("sales_by_country", "sales_by_product", "cancellation_rate",
                                                 "revenue_live"))  # fmt: skip
RUN_TIMES = ("processed_date",)
DAY, NEXT = date(2011, 1, 4), date(2011, 1, 5)


def csv_of(path: Path, names: dict[str, str], rows: list[dict[str, str]]) -> Path:
    """Rows by field name, written under the names of a scheme."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([[row[field] for field in names.values()] for row in rows])
    return path


def line(**given: str) -> dict[str, str]:
    """An order line as text, correct but for what is given."""
    usual = {
        "invoice_no": "536365", "stock_code": "85123A", "description": "HOLDER", "quantity": "6",
        "invoice_date": "2011-01-04 08:26:00", "unit_price": "2.55", "customer_id": "17850.0", "country": "France",
    }  # fmt: skip
    return usual | given


def everything(driver: LakeDriver, days: list[date]) -> None:
    """Silver and gold of days whose bronze is there."""
    for table in (*SILVER, *GOLD):
        outcome = driver.make(table, days)
        assert [day.status for day in outcome.days] == [Status.COMMITTED] * len(days), outcome.days


def content(driver: LakeDriver) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of silver and gold, without run times."""
    found = {}
    for table in (*SILVER, *GOLD):
        columns = [name for name in driver.read(table).columns if name not in RUN_TIMES]
        found[table] = driver.rows(table, *columns)
    return found


def test_every_set_of_names_gives_the_same_lines(spark: SparkSession, tmp_path: Path) -> None:
    """The same lines under three sets of names are exact duplicates: equal in every field, and in their hash."""
    rows = [line(), line(invoice_no="C536379", quantity="-6", invoice_date="1/4/2011"), line(stock_code="85123a")]
    driver = LakeDriver.at(spark, tmp_path)
    for number, names in enumerate((ONLINE_RETAIL, SALES_TRANSACTION, {name: name for name in FIELDS})):
        driver.land("orders/order_events", csv_of(tmp_path / f"{number}.csv", dict(names), rows))
    driver.make("orders/bronze/order_events", [DAY])
    (day,) = driver.make(SILVER[0], [DAY]).days
    assert (day.rows.rows_in, day.rows.kept, day.rows.duplicates) == (9, 3, 6)
    assert driver.rows(SILVER[0], "stock_code", "customer_id", "invoice_date", "amount") == [
        ("85123A", "17850", datetime(2011, 1, 4), Decimal("-15.3")),
        ("85123A", "17850", datetime(2011, 1, 4, 8, 26), Decimal("15.3")),
        ("85123A", "17850", datetime(2011, 1, 4, 8, 26), Decimal("15.3")),
    ]


def test_what_is_no_sale_is_kept_apart_and_what_is_wrong_is_quarantined_with_its_reason(
    spark: SparkSession, tmp_path: Path
) -> None:
    driver = LakeDriver.at(spark, tmp_path)
    sale, later = line(), line(invoice_no="536370", invoice_date="2011-01-04 10:00:00")
    other_price = line(invoice_no="536371", unit_price="9.99", invoice_date="2011-01-04 11:00:00")
    rows = [
        sale, sale, later, other_price,
        line(invoice_no="C536379", quantity="-6", invoice_date="2011-01-04 12:00:00"),
        line(invoice_no="C536380", quantity="-2", invoice_date="2011-01-04 09:00:00"),
        line(invoice_no="C536381", quantity="-7", invoice_date="2011-01-04 13:00:00"),
        line(invoice_no="536382", quantity="-20", unit_price="0.0", customer_id="", description=""),
        line(invoice_no="536383", unit_price="0"),
        line(invoice_no="C536384"),
        line(invoice_no="A536385", unit_price="-11062.06"),
        line(invoice_no="536386", quantity="many"),
        line(invoice_no="536387", invoice_date="yesterday"),
        line(invoice_no="", country=""),
    ]  # fmt: skip
    driver.land("orders/order_events", csv_of(tmp_path / "day.csv", dict(ONLINE_RETAIL), rows))
    driver.make("orders/bronze/order_events", [DAY])
    silver = driver.make(SILVER[0], [DAY])
    (day,) = silver.days
    assert (day.rows.rows_in, day.rows.kept, day.rows.quarantined, day.rows.duplicates) == (14, 8, 5, 1)
    warned = {rule.rule: rule.failed for rule in day.rules if rule.action.value == "warn" and rule.failed}
    assert warned == {"customer_is_known": 1, "sale_has_a_price": 2}, "also of rows that leave"
    lines = driver.rows(SILVER[0], "invoice_no", "line_type", "customer_id")
    assert Counter(kind for _, kind, _ in lines) == {"sale": 4, "cancellation": 3, "adjustment": 1}
    assert {customer for *_, customer in lines} == {"17850", None}
    bad = spark.read.format("delta").load(str(driver.lake.quarantine(driver.catalog.table(silver.table).key)))
    reasons = {row.row_number: sorted(row.rules) for row in bad.collect()}
    assert reasons == {
        10: ["cancellation_takes_back"],
        11: ["sale_has_a_price", "unit_price:ge"],
        12: ["quantity:not_null", "quantity:parses"],
        13: ["invoice_date:not_null", "invoice_date:parses"],
        14: ["country:not_null", "invoice_no:not_null"],
    }
    driver.make(SILVER[1], [DAY])
    driver.make("orders/gold/cancellation_rate", [DAY])
    matched = {row[0]: row[1:] for row in driver.rows(SILVER[1], "invoice_no", "match", "sale_invoice_no")}
    assert matched == {
        "C536379": ("whole", "536370"),
        "C536380": ("part", "536365"),
        "C536381": ("none", None),
    }
    (rate,) = driver.rows("orders/gold/cancellation_rate", "orders", "cancellations", "sales", "cancelled", "rate")
    sold, taken = Decimal("90.54"), Decimal("38.25")
    assert rate == (4, 3, sold, taken, (taken / sold).quantize(Decimal("0.000001")))


def test_a_record_that_is_no_event_is_quarantined_whole(spark: SparkSession, tmp_path: Path) -> None:
    """Records of the topic may hold anything: every one is either a line or in quarantine, as it came."""
    from lakehouse_assets.defs.orders.lines import order_lines_of
    from lakehouse_assets.platform.validation import row_validation

    good = [json.dumps(line(invoice_no=str(n))) for n in range(14)]
    values = [
        good[0], None, "", "no JSON", "[1,2]", "42", "null", "{}", '{"invoice_no":',
        good[9][:-1] + ',"coupon":{"a":[1]}}', good[10][:-1] + ',"schema_version":"2"}', good[11].replace('"6"', "6"),
        good[12][:-1] + ',"x":1,"x":2}', good[13][:-1],
    ]  # fmt: skip
    driver = LakeDriver.at(spark, tmp_path)
    table = driver.catalog.table(driver.catalog.table(_key(SILVER[0])).key)
    bronze = driver.catalog.table(_key("orders/bronze/order_events"))
    frame = spark.createDataFrame(
        [("k", value, "orders", 0, n, None, None, "kafka", DAY) for n, value in enumerate(values)],
        bronze.compiled.spark_schema,
    )
    stamped = order_lines_of(frame).selectExpr("*", "current_date() AS processed_date")
    marked = row_validation.validate_rows(stamped, table.compiled, duplicates_of=None)
    rows = {row.row_number: row for row in marked.collect()}
    assert len(rows) == len(values)
    assert sorted(n for n, row in rows.items() if not row._quarantined) == [0, 9, 11]
    assert rows[9].unknown_fields == '{"coupon":"{\\"a\\":[1]}"}'
    assert all(row._row == (values[n] or "") for n, row in rows.items())
    assert "schema_version:not_null" in rows[3]._broken
    assert all("document:parses" in rows[n]._broken for n in (1, 2, 3, 4, 5, 6, 8, 12, 13))
    assert rows[10]._broken == ["schema_version:isin"]
    assert len({row.record_hash for row in rows.values()}) == len(values) - 1, "different records are no duplicates"


class Strict(OrderLine):
    """Lines of a table that declares another policy: what it does not know, or cannot read, fails the day."""

    quantity: T.IntegerType = column("units", source=True, action=Action.FAIL)

    class Config:
        metadata = table_metadata(key=("record_hash",))

    @row_rule(action=Action.FAIL, dimension=Dimension.SCHEMA)
    def fields_are_known(cls) -> str:
        """The event has no fields that its schema does not know."""
        return "unknown_fields IS NULL"


def test_a_changed_schema_is_treated_as_the_table_declares(spark: SparkSession, tmp_path: Path) -> None:
    """Of files, and (the same text) of a topic: a new field, one of another type, one that is missing."""
    driver = LakeDriver.at(spark, tmp_path)
    names = dict(ONLINE_RETAIL) | {"Coupon": "coupon", "Channel": "channel"}
    rows = [line(coupon="ção", channel=""), line(invoice_no="2", quantity="6.5", coupon="", channel="")]
    file = csv_of(tmp_path / "new.csv", names, rows)
    driver.land("orders/order_events", file)
    driver.make("orders/bronze/order_events", [DAY])
    held = [value for (value,) in driver.rows("orders/bronze/order_events", "value")]
    assert held == sorted(event.value for event in events_of(file)), "as the producer sends it"
    (day,) = driver.make(SILVER[0], [DAY]).days
    assert (day.status, day.rows.kept, day.rows.quarantined) == (Status.COMMITTED, 1, 1)
    assert day.rows.broken == {"fields_are_known": 2, "quantity:parses": 1, "quantity:not_null": 1}
    assert driver.rows(SILVER[0], "unknown_fields") == [('{"Channel":"","Coupon":"ção"}',)]

    lacking = {name: field for name, field in ONLINE_RETAIL.items() if field != "quantity"}
    with pytest.raises(LandingError, match="missing 'quantity'"):
        driver.land("orders/order_events", csv_of(tmp_path / "lacking.csv", lacking, rows))

    tables = {table.key: table for table in driver.catalog.tables}
    key = TableKey.parse(SILVER[0])
    strict = replace(driver, catalog=Catalog(tuple({**tables, key: replace(tables[key], contract=Strict)}.values())))
    (day,) = strict.make(SILVER[0], [DAY]).days
    assert day.status is Status.FAILED
    assert {"fields_are_known", "quantity:parses"} <= set(re.findall(r"[\w:]+", " ".join(day.reasons)))
    assert driver.rows(SILVER[0], "unknown_fields") == [('{"Channel":"","Coupon":"ção"}',)], "nothing was committed"


def _key(name: str):  # type: ignore[no-untyped-def]
    from lakehouse_assets.platform.declare.table import TableKey

    return TableKey.parse(name)


@pytest.fixture(scope="module")
def shop_days() -> list[Path]:
    """Three of the shop's real days."""
    files = sorted((ORIGINALS / "by-day").glob("*.csv"))
    if not files:
        pytest.skip(f"the shop's files are not beside this checkout: {ORIGINALS}")
    return [file for file in files if file.stem in ("2010-12-05", "2010-12-22", "2010-12-23")]


def test_the_figures_of_the_shops_real_days(spark: SparkSession, tmp_path: Path, shop_days: list[Path]) -> None:
    """Silver and gold against plain Python over the same files."""
    driver = LakeDriver.at(spark, tmp_path)
    days = [date.fromisoformat(file.stem) for file in shop_days]
    expected: dict[tuple[date, str], Decimal] = defaultdict(Decimal)
    rows = 0
    for file in shop_days:
        driver.land("orders/order_events", file)
        with file.open(encoding="utf-8") as text:
            read = list(csv.DictReader(text))
        rows += len(read)
        for row in {tuple(row.items()): row for row in read}.values():
            if not row["InvoiceNo"].startswith("C") and int(row["Quantity"]) > 0:
                amount = int(row["Quantity"]) * Decimal(row["UnitPrice"])
                expected[date.fromisoformat(file.stem), row["Country"]] += amount
    bronze = driver.make("orders/bronze/order_events", days)
    assert sum(day.rows.kept for day in bronze.days) == rows
    everything(driver, days)
    found = {(day, country): sales for day, country, sales in
             driver.rows("orders/gold/sales_by_country", "feed_day", "country", "sales") if sales}  # fmt: skip
    assert found == expected
    assert sum(sales for *_, sales in driver.rows("orders/gold/revenue_live", "minute", "sales")) == sum(
        expected.values()
    )


def test_generated_days_are_the_same_for_the_same_seed_and_can_be_read(tmp_path: Path) -> None:
    """Also in pieces; under either set of names; and every defect occurs."""
    days = (date(2024, 1, 1), date(2024, 1, 3))
    whole = generate(tmp_path / "whole", *days, lines=400, defects=0.02)
    generate(tmp_path / "piece", days[1], days[1], lines=400, defects=0.02)
    other = generate(tmp_path / "other", *days, lines=400, defects=0.02, names="sales-transaction")
    file = f"{days[1]}.csv"
    assert (tmp_path / "whole" / file).read_text() == (tmp_path / "piece" / file).read_text()
    assert len(whole.defects) == 8
    assert (whole.files, whole.rows) == (other.files, other.rows)
    for folder in ("whole", "other"):
        events = list(events_of(tmp_path / folder / file))
        assert {event.time.date() for event in events} == {days[1]}
        assert all(set(json.loads(event.value)) == set(FIELDS) for event in events)
