# ruff: noqa: S608  (names and values are the test's own)
"""Dashboards follow from declarations: every column is one of a contract, every figure one that PostgreSQL can make."""

import ast
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import jinja2
import pytest

from lakehouse_assets import defs as domains
from lakehouse_assets.bi.declaration import (
    AsOfDay,
    Chart,
    Choice,
    Dashboard,
    DashboardError,
    Heat,
    Listing,
    Number,
    Rows,
    Where,
    as_known,
    count,
    total,
)
from lakehouse_assets.bi.discover import dashboards
from lakehouse_assets.bi.environment import CONFIGURATION
from lakehouse_assets.bi.files import superset_files
from lakehouse_assets.bi.quality import RATE, VERDICTS
from lakehouse_assets.bi.sources import Dataset, dataset, in_words, known_days
from lakehouse_assets.cli import main
from lakehouse_assets.defs.gmv import contracts
from lakehouse_assets.defs.gmv.dashboard import KNOWN
from lakehouse_assets.defs.store.dashboard import ORDERS
from lakehouse_assets.platform.declare.table import Table
from lakehouse_assets.serving import postgres
from lakehouse_assets.serving.postgres import WarehouseError, connect
from lakehouse_assets.serving.warehouse_schema import prepare
from lakehouse_assets.settings import Settings
from lakehouse_assets_tests.test_docs import parse

BOARDS = dashboards(domains)
CHARTS = [(board.slug, chart) for board in BOARDS for row in board.charts for chart in row]
JANUARY = [date(2023, 1, day) for day in range(1, 6)]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """An embedded PostgreSQL with every table that a chart reads, and nothing in them."""
    here = Settings(home=tmp_path_factory.mktemp("dashboards"), warehouse_url=None)
    with connect(here) as connection, connection, connection.cursor() as cursor:
        for table in {chart.source.table for _, chart in CHARTS}:
            cursor.execute("RESET ROLE")
            prepare(cursor, table)
    yield here
    postgres.stop(here)


def rendered(of: Dataset, chosen: str | None = None) -> str:
    """The dataset as Superset would query it."""
    if of.sql is None:
        return f'SELECT * FROM "{of.schema}"."{of.name}"'
    environment = jinja2.Environment()
    environment.filters["where_in"] = lambda values: "(" + ", ".join(f"'{value}'" for value in values) + ")"
    template = environment.from_string(of.sql)
    return template.render(filter_values=lambda *_, **__: [chosen] if chosen else [])


def answer(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    """As an analyst."""
    with connect(settings) as connection, connection.cursor() as cursor:
        cursor.execute("SET ROLE lakehouse_analyst")
        cursor.execute(sql)
        return cursor.fetchall()


def put(settings: Settings, table: Table, *rows: dict[str, Any]) -> None:
    with connect(settings) as connection, connection, connection.cursor() as cursor:
        for row in rows:
            names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
            cursor.execute(
                f"INSERT INTO {table.key.domain}.{table.key.name} ({names}) VALUES ({marks})", [*row.values()]
            )


# --- declarations ---


def test_every_domain_has_a_dashboard() -> None:
    assert [board.slug for board in BOARDS] == ["gmv", "loyalty", "marketplace", "orders", "store", "quality"]


def test_a_renamed_column_is_an_error_where_the_chart_is_declared() -> None:
    renamed = replace(KNOWN.table, contract=contracts.GmvCurrent)  # a contract without `reason`
    with pytest.raises(DashboardError, match=r"Chart 'Restatements' shows reason, which gmv/gold/gmv has not"):
        Listing(title="Restatements", source=Rows(renamed), shown=("gmv_date",), where=(Where("reason", ("new",)),))
    with pytest.raises(DashboardError, match="shows reason"):
        Listing(title="Restatements", source=Rows(renamed), shown=("gmv_date", "reason"))
    with pytest.raises(DashboardError, match="shows feed_day"):
        Number(title="GMV", source=Rows(renamed, day="feed_day"), measure=total("GMV", "gmv"))
    with pytest.raises(DashboardError, match="shows reason"):
        Number(title="GMV", source=Rows(renamed), measure=total("GMV", "reason"))


def test_what_cannot_be_shown_is_refused() -> None:
    rows = Rows(KNOWN.table)
    with pytest.raises(DashboardError, match="no column nowhere"):
        Choice("Nowhere", rows, "nowhere")
    with pytest.raises(DashboardError, match="cannot be had as of a day"):
        AsOfDay(replace(KNOWN, known_on=None))
    chart = Number(title="Rows", source=rows, measure=count("Rows"))
    with pytest.raises(DashboardError, match="two charts are called Rows"):
        Dashboard("x", "X", ((chart, chart),))
    with pytest.raises(DashboardError, match="too wide"):
        Dashboard("x", "X", ((replace(chart, width=7), replace(chart, title="Other", width=6)),))
    other = replace(chart, title="Other", measure=total("Rows", "gmv"))
    with pytest.raises(DashboardError, match="two different figures are called 'Rows'"):
        superset_files([Dashboard("x", "X", ((chart, other),))])


# --- the files ---


def test_the_files_describe_columns_as_the_contracts_do() -> None:
    files = superset_files(BOARDS)
    for _, chart in CHARTS:
        of = dataset(chart.source)
        (file,) = [
            content
            for name, content in files.items()
            if name.startswith("datasets/") and (content["schema"], content["table_name"]) == (of.schema, of.name)
        ]
        message = {column["column_name"]: column["description"] for column in file["columns"]}
        assert message.items() >= dict(chart.source.table.compiled.comments).items()
        assert {measure.label for measure in chart.measures()} <= {one["metric_name"] for one in file["metrics"]}


def test_the_files_refer_to_each_other_and_are_the_same_every_time() -> None:
    files = superset_files(BOARDS)
    assert files == superset_files(dashboards(domains))
    ids = [content["uuid"] for content in files.values() if "uuid" in content]
    assert len(ids) == len(set(ids))
    for name, content in files.items():
        if name.startswith("charts/"):
            assert content["dataset_uuid"] in ids
        if name.startswith("dashboards/"):
            shown = [part["meta"]["uuid"] for part in content["position"].values() if "chartId" in str(part)]
            assert set(shown) <= set(ids)
            for one in content["metadata"]["native_filter_configuration"]:
                assert all(target["datasetUuid"] in ids for target in one["targets"] if target)


def test_no_file_has_an_address_or_a_password() -> None:
    (database,) = [content for name, content in superset_files(BOARDS).items() if name.startswith("databases/")]
    assert database["sqlalchemy_uri"] == "postgresql+psycopg2://warehouse.invalid/warehouse"
    assert not database["allow_dml"]


def test_a_filter_is_applied_where_its_column_is_and_nowhere_else() -> None:
    files = superset_files(BOARDS)
    filters = {one["name"]: one for one in files["dashboards/gmv.yaml"]["metadata"]["native_filter_configuration"]}
    titles = [chart.title for slug, chart in CHARTS if slug == "gmv"]
    without = [titles[number - 1] for number in filters["As of"]["scope"]["excluded"]]
    assert without == ["Restatements ever", "Restatements"], "what was restated is asked of the whole ledger"
    assert filters["Subsidiary"]["scope"]["excluded"] == []


def test_amounts_have_their_currency_and_counts_have_none() -> None:
    """The currency is that of the contract's decimals; also in a table's cells."""
    files = superset_files(BOARDS)
    of_store = {name: content["params"] for name, content in files.items() if name.startswith("charts/store_")}
    assert of_store["charts/store_net_sales.yaml"]["currency_format"] == {"symbol": "BRL", "symbolPosition": "prefix"}
    assert of_store["charts/store_orders_that_are_not_settled.yaml"]["currency_format"] == {}
    cells = of_store["charts/store_sales_by_state_of_the_customer.yaml"]["column_config"]
    assert cells["Net"] == {
        "d3NumberFormat": ",.2f",
        "currencyFormat": {"symbol": "BRL", "symbolPosition": "prefix"},
    }
    assert cells["Pieces"] == {"d3NumberFormat": ",d"}
    shares = files["charts/orders_cancelled_of_what_was_sold.yaml"]["params"]
    assert (shares["y_axis_format"], shares["currency_format"]) == (".1%", {})


def test_columns_are_called_in_words() -> None:
    assert [in_words(name) for name in ("product_id", "gmv_date", "last_order")] == [
        "Product ID",
        "GMV date",
        "Last order",
    ]
    names = {
        (content["table_name"], column["column_name"]): column["verbose_name"]
        for name, content in superset_files(BOARDS).items()
        if name.startswith("datasets/")
        for column in content["columns"]
    }
    assert names["gmv as of", "gmv_date"] == "GMV day", "as the dashboard says"
    assert names["gmv as of", "subsidiary"] == "Subsidiary"
    assert not [name for name in names.values() if "_" in name]


def test_what_the_colours_mean_stands_above_the_chart_and_passed_is_green() -> None:
    files = superset_files(BOARDS)
    heat = files["charts/quality_tables_by_day.yaml"]
    assert heat["params"]["value_bounds"] == [0, 5]
    layout = files["dashboards/quality.yaml"]["position"]
    rows = layout["GRID_ID"]["children"]
    above = rows[rows.index("ROW-2") - 1]
    (text,) = layout[above]["children"]
    meaning = "**grey** no rows · **green** passed · **blue** rows warned · **yellow** rows quarantined"
    assert layout[text]["meta"]["code"] == f"{meaning} · **orange** late · **red** failed"
    configuration = colour_scheme()
    assert configuration["id"] == heat["params"]["linear_color_scheme"]
    red, green, blue = (int(configuration["colors"][1][n : n + 2], 16) for n in (1, 3, 5))
    assert green > max(red, blue), "yellow would have as much red"


def colour_scheme() -> dict[str, Any]:
    """The colours that Superset is configured with; its configuration itself imports Superset."""
    tree = ast.parse(CONFIGURATION.read_text(encoding="utf-8"))
    (value,) = [
        node.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "EXTRA_SEQUENTIAL_COLOR_SCHEMES"
    ]
    assert value is not None
    (scheme,) = ast.literal_eval(value)
    return dict(scheme)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.slug)
def test_every_dashboard_names_commands_that_fill_its_charts(board: Dashboard) -> None:
    layout = superset_files(BOARDS)[f"dashboards/{board.slug}.yaml"]["position"]
    assert layout["GRID_ID"]["children"][-1] == "ROW-COMMANDS"
    text = layout["MARKDOWN-COMMANDS"]["meta"]["code"]
    assert board.filled_by
    for command in board.filled_by:
        assert f"`{command}`" in text
        program, *words = command.split()
        if program == "lakehouse":
            parse(main, ["lakehouse", *words])
        else:
            assert (program, *words) == ("make", "demo")


# --- in PostgreSQL ---


@pytest.mark.parametrize(("slug", "chart"), CHARTS, ids=[f"{slug}-{chart.title}" for slug, chart in CHARTS])
def test_postgresql_can_make_every_chart(warehouse: Settings, slug: str, chart: Chart) -> None:
    columns = [f'"{name}"' for name in chart.by()]
    figures = [measure.sql for measure in chart.measures()]
    grouped = f" GROUP BY {', '.join(columns)}" if columns and figures else ""
    wheres = [f'"{one.column}" IN ({", ".join(map(literal, one.values))})' for one in chart.where]
    condition = f" WHERE {' AND '.join(wheres)}" if wheres else ""
    for chosen in (None, "2023-01-31"):
        inner = rendered(dataset(chart.source), chosen)
        answer(warehouse, f"SELECT {', '.join(columns + figures)} FROM ({inner}) AS virtual_table{condition}{grouped}")


def literal(value: str | int | bool) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value)


def figure(gmv: str, day: date, known: date, version: int = 1) -> dict[str, Any]:
    common = {"subsidiary": "nacional", "product_id": 7, "purchases": 1, "run_id": "r", "processed_at": "2023-02-01"}
    reason = "new" if version == 1 else "restatement"
    of_figure = {"gmv_date": day, "gmv": Decimal(gmv), "effective_date": known, "version": version, "reason": reason}
    return common | of_figure | {"feed_day": known}


def test_gmv_as_of_a_day_is_what_the_ledger_said_then(warehouse: Settings) -> None:
    one, two, three, four, five = JANUARY
    put(
        warehouse,
        KNOWN.table,
        figure("10.00", one, two),
        figure("12.00", one, two, version=2),  # the open day is completed
        figure("5.00", one, four, version=3),
        figure("7.00", three, three),
        figure("0.00", three, five, version=2),
    )
    expected = {
        one: [],
        two: [(one, Decimal("12.00"), "2023-01-02")],
        three: [(one, Decimal("12.00"), "2023-01-03"), (three, Decimal("7.00"), "2023-01-03")],
        four: [(one, Decimal("5.00"), "2023-01-04"), (three, Decimal("7.00"), "2023-01-04")],
        five: [(one, Decimal("5.00"), "2023-01-05"), (three, Decimal("0.00"), "2023-01-05")],
    }
    for day, figures in expected.items():
        sql = rendered(dataset(KNOWN), day.isoformat())
        found = answer(warehouse, f"SELECT gmv_date, gmv, as_of FROM ({sql}) AS t ORDER BY 1")
        assert found == figures, day
    newest = answer(warehouse, f"SELECT gmv_date, gmv, as_of FROM ({rendered(dataset(KNOWN))}) AS t ORDER BY 1")
    assert newest == [(day, gmv, "newest") for day, gmv, _ in expected[five]]
    days = answer(warehouse, known_days(KNOWN).sql or "")
    assert days == [(day.isoformat(),) for day in (two, three, four, five)], "also days on which nothing became known"


def test_the_newest_row_of_an_order_holds(warehouse: Settings) -> None:
    row = {"due": 10, "method": "pix", "cancelled": False}
    for order, day, paid, state in (("a", 0, 4, "underpaid"), ("a", 2, 10, "settled"), ("b", 1, 0, "unpaid")):
        known = {"feed_day": JANUARY[day], "order_id": order, "paid": paid, "difference": paid - 10, "state": state}
        put(warehouse, ORDERS.table, row | known)
    for chosen, expected in (
        (None, [("a", "settled"), ("b", "unpaid")]),
        ("2023-01-02", [("a", "underpaid"), ("b", "unpaid")]),
        ("2023-01-01", [("a", "underpaid")]),
    ):
        sql = rendered(dataset(ORDERS), chosen)
        assert answer(warehouse, f"SELECT order_id, state FROM ({sql}) AS t ORDER BY 1") == expected


def test_what_is_no_day_is_refused_by_postgresql(warehouse: Settings) -> None:
    with pytest.raises(WarehouseError, match="no day"):
        answer(warehouse, rendered(dataset(KNOWN), "no day"))


def test_as_known_needs_a_key_and_days() -> None:
    assert as_known(ORDERS.table).of == ("order_id",)
    assert as_known(KNOWN.table).of == ("gmv_date", "subsidiary", "product_id")


def test_the_board_of_quality_tells_days_without_rows_warned_and_quarantined_rows_apart(warehouse: Settings) -> None:
    """Also where the table has a rule of the whole day, which is evaluated once on a day without rows too."""
    message: list[dict[str, Any]] = [
        {"rows": 0},
        {"rows": 9},
        {"rows": 9, "failed": 2, "action": "warn"},
        {"rows": 9, "failed": 2, "action": "quarantine"},
        {"rows": 9, "failed": 9, "action": "fail", "passed": False},
    ]
    validated = {
        '"table"': "a/silver/b",
        "run_id": "r",
        '"check"': "contract",
        "evaluated_at": "2023-02-01",
        "failed": 0,
    }
    validated |= {"action": "quarantine", "passed": True, "blocking": True, "dimension": "validity"}
    for day, of_day in zip(JANUARY, message, strict=True):
        put(warehouse, VERDICTS.table, validated | {"feed_day": day, "rule": "of_rows"} | of_day)
        put(warehouse, VERDICTS.table, validated | {"feed_day": day, "rule": "of_the_day", "rows": 1})
    (heat,) = [chart for slug, chart in CHARTS if slug == "quality" and isinstance(chart, Heat) and chart.y == "table"]
    sql = f"SELECT feed_day, {heat.measure.sql} FROM ({rendered(dataset(VERDICTS))}) AS t GROUP BY 1 ORDER BY 1"
    assert answer(warehouse, sql) == [*zip(JANUARY, (0, 1, 2, 3, 5), strict=True)]
    rate = f"SELECT {RATE.sql} FROM ({rendered(dataset(VERDICTS))}) AS t WHERE rule = 'of_rows' AND action = 'warn'"
    assert answer(warehouse, rate) == [(2 / 9,)]
