"""Dashboards as a person meets them: real Superset over a real PostgreSQL, opened in Chromium, figures compared."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyspark.sql.types as T
import pytest
from deltalake import write_deltalake
from playwright.sync_api import Locator, Page, expect, sync_playwright

from lakehouse_assets import defs as domains
from lakehouse_assets.bi.declaration import Dashboard, Number
from lakehouse_assets.bi.discover import dashboards
from lakehouse_assets.defs.gmv import gold as gmv_gold
from lakehouse_assets.defs.store import gold as store_gold
from lakehouse_assets.platform.declare.table import Table, TableKey
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.results.audit_log import CHECK_RESULTS, append, check_results_path
from lakehouse_assets.serving import postgres
from lakehouse_assets.serving.postgres import connect
from lakehouse_assets.settings import Settings
from lakehouse_assets_tests.browser import SWITCHES, require_chromium
from lakehouse_assets_tests.warehouse_lake import commit

# The first test installs Superset where nobody did before.
pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.bi, pytest.mark.timeout(1500)]

Row = dict[str, Any]
BOARDS = dashboards(domains)
DAYS = [date(2023, 1, day) for day in range(1, 11)]
AS_OF = DAYS[4]
JUDGED = datetime(2023, 2, 1, 12, tzinfo=UTC)
WAIT_MILLISECONDS = 90_000
PURCHASE = TableKey.parse("gmv/silver/purchase")


# --- what is in the lake ---


def ledger() -> list[Row]:
    """Ten days of GMV; two days later each figure is restated."""
    rows = []
    for number, day in enumerate(DAYS):
        for product, subsidiary in ((7, "nacional"), (8, "internacional")):
            value = Decimal(1000 + 10 * number + product)
            row = {"gmv_date": day, "subsidiary": subsidiary, "product_id": product, "purchases": product}
            row |= {"gmv": value, "effective_date": day, "version": 1, "reason": "new", "feed_day": day}
            row |= {"run_id": "run", "processed_at": JUDGED}
            rows.append(row)
            if number + 2 < len(DAYS):
                later = {"effective_date": DAYS[number + 2], "feed_day": DAYS[number + 2]}
                rows.append(row | later | {"gmv": value - 100, "version": 2, "reason": "restatement"})
    return rows


def reconciliations() -> list[Row]:
    """Ten orders, every second underpaid; on the last day two of these are settled."""
    rows = []
    for number, day in enumerate(DAYS):
        due = Decimal(f"{20 + number}.00")
        paid = due - 4 if number % 2 else due
        row = {"order_id": f"order-{number}", "due": due, "method": "pix", "cancelled": False, "feed_day": day}
        row |= {"paid": paid, "difference": paid - due, "state": "settled" if paid == due else "underpaid"}
        rows.append(row)
        if number in (1, 3):
            rows.append(row | {"feed_day": DAYS[-1], "paid": due, "difference": Decimal(0), "state": "settled"})
    return rows


def some_rows(table: Table) -> list[Row]:
    """A row a day, for the tables of whose figures the test says nothing."""

    def value(field: T.StructField, number: int) -> Any:
        match field.dataType:
            case T.DateType():
                return DAYS[number]
            case T.TimestampNTZType():
                return datetime.combine(DAYS[number], datetime.min.time()) + timedelta(minutes=number)
            case T.TimestampType():
                return JUDGED
            case T.BooleanType():
                return number % 2 == 0
            case T.DecimalType():
                return Decimal(number + 1)
            case T.StringType():
                return f"{field.name}-{number % 3}"
        return number + 1

    return [{field.name: value(field, number) for field in table.compiled.spark_schema} for number in range(len(DAYS))]


def verdicts() -> list[Row]:
    """Three tables over ten days: one day failed and then repaired, one failed, some rows set aside, one day late."""
    rows = []
    for number, day in enumerate(DAYS):
        for table in ("gmv/bronze/purchase", "gmv/silver/purchase", "gmv/gold/gmv"):
            common = {"table": table, "feed_day": day, "run_id": "run", "rows": 100, "table_version": number, "sql": ""}
            common |= {"samples": "[]", "evaluated_at": JUDGED, "blocking": True, "passed": True, "failed": 0}
            rule = {"check": "contract", "rule": "purchase_id:not_null", "dimension": "completeness"}
            aside = 3 if table == str(PURCHASE) and number % 4 == 0 else 0
            rows.append(common | rule | {"action": "quarantine", "failed": aside})
            reconciled = {"check": "conservation", "rule": "conservation", "dimension": "volume", "action": "fail"}
            lost = {"passed": False, "failed": 1} if table == "gmv/gold/gmv" and number in (5, 7) else {}
            rows.append(common | reconciled | lost)
            fresh = {"check": "freshness", "rule": "freshness", "dimension": "timeliness", "action": "warn"}
            late = {"passed": False, "failed": 1} if number == 9 and table == "gmv/bronze/purchase" else {}
            rows.append(common | fresh | late | {"blocking": False})
    repaired = [row | {"run_id": "again", "evaluated_at": JUDGED + timedelta(hours=1), "passed": True, "failed": 0}
                for row in rows if row["table"] == "gmv/gold/gmv" and row["feed_day"] == DAYS[5]]  # fmt: skip
    return rows + repaired


def fill(settings: Settings) -> None:
    own = {gmv_gold.gmv.key: ledger(), store_gold.payment_reconciliation.key: reconciliations()}
    for table in {chart.source.table for board in BOARDS for row in board.charts for chart in row}:
        if table.key.domain != "ops":
            commit(settings, table, own.get(table.key) or some_rows(table), DAYS)
    append(check_results_path(settings.lake), pa.Table.from_pylist(verdicts(), schema=CHECK_RESULTS))
    schema = pa.schema([("feed_day", pa.date32()), ("rules", pa.list_(pa.string()))])
    broken = [{"feed_day": day, "rules": ["purchase_id:not_null"]} for day in DAYS[::4] for _ in range(3)]
    place = Lake(settings.lake, settings.landing).quarantine(PURCHASE)
    write_deltalake(str(place), pa.Table.from_pylist(broken, schema=schema))


# --- Superset and the browser ---


@dataclass
class Superset:
    """`lakehouse bi`, running over a lake of the test's own."""

    settings: Settings
    url: str
    pid: int
    password_file: Path

    def figure(self, sql: str) -> Any:
        """One figure of the warehouse."""
        with connect(self.settings) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            (found,) = cursor.fetchall()
        return found[0]


def lakehouse(settings: Settings, *words: str) -> str:
    """The command, in a process of its own; what it printed."""
    command = [str(Path(sys.executable).with_name("lakehouse")), *words]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAKEHOUSE_")}
    environment["LAKEHOUSE_HOME"] = str(settings.home)
    done = subprocess.run(command, env=environment, cwd=settings.home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def superset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Superset]:
    require_chromium()
    settings = Settings(home=tmp_path_factory.mktemp("bi"), warehouse_url=None, analyst_url=None)
    fill(settings)
    message = json.loads(lakehouse(settings, "bi", "start", "--format", "json"))
    yield Superset(settings, message["url"], message["pid"], Path(message["password_file"]))
    lakehouse(settings, "bi", "stop")
    postgres.stop(settings)


@pytest.fixture(scope="module")
def page(superset: Superset) -> Iterator[Page]:
    """A tall page, logged in: charts below the edge of the window are not drawn."""
    with sync_playwright() as playwright:
        playwright.selectors.set_test_id_attribute("data-test")  # as Superset marks its parts
        chromium = playwright.chromium.launch(executable_path=require_chromium(), args=list(SWITCHES))
        page = chromium.new_page(viewport={"width": 1600, "height": 2600})
        page.set_default_timeout(WAIT_MILLISECONDS)
        expect.set_options(timeout=WAIT_MILLISECONDS)
        page.goto(f"{superset.url}/login/")
        page.locator("#username").fill("admin")
        page.locator("#password").fill(superset.password_file.read_text())
        page.locator("#password").press("Enter")
        page.wait_for_url("**/superset/welcome/**")
        yield page
        chromium.close()
        playwright.selectors.set_test_id_attribute("data-testid")


def opened(superset: Superset, page: Page, slug: str) -> Dashboard:
    page.goto(f"{superset.url}/superset/dashboard/{slug}/")
    return next(board for board in BOARDS if board.slug == slug)


def chart(page: Page, title: str) -> Locator:
    """What is drawn under this title."""
    holder = page.get_by_test_id("dashboard-component-chart-holder")
    return holder.filter(has=page.get_by_test_id("slice-header").get_by_text(title, exact=True))


def screenshot(page: Page, name: str, folder: Path) -> None:
    """For people: in the test's folder and in LAKEHOUSE_SCREENSHOTS."""
    wanted = os.environ.get("LAKEHOUSE_SCREENSHOTS")
    for place in (folder, *([Path(wanted)] if wanted else [])):
        page.screenshot(path=place / f"bi-{name}.png")


# --- tests ---


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.slug)
def test_every_chart_of_every_dashboard_is_drawn(
    superset: Superset, page: Page, board: Dashboard, tmp_path: Path
) -> None:
    opened(superset, page, board.slug)
    for row in board.charts:
        for one in row:
            drawn = chart(page, one.title)
            expect(drawn).to_have_count(1)
            content = ".header-line" if isinstance(one, Number) else "canvas, table"
            expect(drawn.locator(content).first, one.title).to_be_visible()
            expect(drawn.get_by_role("alert"), one.title).to_have_count(0)
    screenshot(page, board.slug, tmp_path)


def test_gmv_is_that_of_the_table_now_and_as_of_a_day(superset: Superset, page: Page, tmp_path: Path) -> None:
    opened(superset, page, "gmv")
    newest = """SELECT sum(gmv) FROM (SELECT DISTINCT ON (gmv_date, product_id) gmv FROM gmv.gmv
                WHERE effective_date <= '{}' ORDER BY gmv_date, product_id, effective_date DESC, version DESC) t"""
    now, then = (superset.figure(newest.format(day)) for day in (DAYS[-1], AS_OF))
    assert now != then
    expect(chart(page, "GMV")).to_contain_text(f"{now:,.2f}")
    by_product = chart(page, "GMV by product").get_by_role("row")
    expect(by_product).to_have_count(3)
    choose(page, "As of", AS_OF.isoformat())
    expect(chart(page, "GMV")).to_contain_text(f"{then:,.2f}")
    expect(chart(page, "Days with GMV")).to_contain_text("5")
    of_seven = superset.figure(newest.format(AS_OF).replace("WHERE", "WHERE product_id = 7 AND"))
    expect(by_product.filter(has_text="7").filter(has_text=f"{of_seven:,.2f}")).to_have_count(1)
    restatements = superset.figure("SELECT count(*) FROM gmv.gmv WHERE reason = 'restatement'")
    expect(chart(page, "Restatements ever")).to_contain_text(str(restatements))
    screenshot(page, "gmv-as-of", tmp_path)


def choose(page: Page, label: str, value: str) -> None:
    """Choose a value of a filter and apply it."""
    form = page.locator("form .ant-form-item").filter(
        has=page.get_by_test_id("filter-control-name").get_by_text(label, exact=True)
    )
    box = form.get_by_role("combobox").first
    box.click()
    box.fill(value)
    page.locator(".ant-select-item-option").filter(has_text=value).click()
    page.get_by_test_id("filter-bar__apply-button").click()


def test_sales_and_reconciliation_are_those_of_the_tables(superset: Superset, page: Page) -> None:
    opened(superset, page, "store")
    net = superset.figure("SELECT sum(net) FROM store.daily_sales")
    expect(chart(page, "Net sales")).to_contain_text(f"{net:,.2f}")
    rows = chart(page, "Orders whose payments differ").get_by_role("row")
    expect(rows).to_have_count(1 + 3)
    for order in ("order-5", "order-7", "order-9"):
        expect(rows.filter(has_text=order)).to_contain_text("-4.00")
    expect(chart(page, "Orders that are not settled")).to_contain_text("3")
    choose(page, "As of", DAYS[7].isoformat())
    expect(rows).to_have_count(1 + 4)
    expect(rows.filter(has_text="order-1")).to_contain_text("underpaid")
    expect(chart(page, "Orders that are not settled")).to_contain_text("4")


def test_quality_is_that_of_the_newest_verdicts(superset: Superset, page: Page) -> None:
    opened(superset, page, "quality")
    for title, figure in (
        ("Judged days of tables", 30),
        ("Failed", 1),
        ("Late", 1),
        ("Rows in quarantine", superset.figure("SELECT sum(rows) FROM ops.quarantine")),
    ):
        expect(chart(page, title).locator(".header-line"), title).to_have_text(str(figure))
    failed = chart(page, "Failed days").get_by_role("row")
    expect(failed).to_have_count(2)
    expect(failed.last).to_contain_text(DAYS[7].isoformat())
    late = chart(page, "Freshness").get_by_role("row")
    expect(late.filter(has_text="gmv/bronze/purchase")).to_contain_text("false")
    expect(late.filter(has_text="gmv/silver/purchase")).to_contain_text("true")
    expect(chart(page, "Quarantine by rule").get_by_role("row").last).to_contain_text("purchase_id:not_null")


def test_amounts_columns_and_states_are_in_words_and_an_empty_chart_has_its_commands(
    superset: Superset, page: Page, tmp_path: Path
) -> None:
    opened(superset, page, "store")
    expect(chart(page, "Net sales")).to_contain_text("R$")
    heading = chart(page, "Orders whose payments differ").get_by_role("row").first
    for name in ("Order", "Paid less due", "Feed day"):
        expect(heading).to_contain_text(name)
    expect(page.get_by_text("lakehouse warehouse catch-up")).to_be_visible()
    opened(superset, page, "quality")
    expect(page.get_by_text("green passed · blue rows warned · yellow rows quarantined", exact=False)).to_have_count(2)
    screenshot(page, "quality-states", tmp_path)


def test_starting_again_finds_it_and_no_secret_is_told(superset: Superset) -> None:
    again = json.loads(lakehouse(superset.settings, "bi", "start", "--format", "json"))
    assert (again["pid"], again["url"]) == (superset.pid, superset.url)
    folder = superset.password_file.parent
    secrets = [(folder / name).read_text() for name in ("admin_password", "secret_key")]
    told = (folder / "server.log").read_text() + json.dumps(again)
    files = "".join(path.read_text() for path in folder.rglob("*.yaml"))
    assert not [secret for secret in secrets if secret in told + files]
    assert stat.S_IMODE(superset.password_file.stat().st_mode) == 0o600
    assert "postgresql+psycopg2://warehouse.invalid" in files
