"""The documentation is true: its commands exist, its links lead somewhere, its code, queries and notebook run."""

import ast
import re
import shlex
from collections.abc import Iterator
from datetime import date, timedelta
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
from pyspark.sql import SparkSession

from lakehouse_assets import defs as domains
from lakehouse_assets.cli import main
from lakehouse_assets.defs.gmv.cli import gmv
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.declare.table import Ledger, Table, TableKey
from lakehouse_assets.platform.orchestration.assets import build_assets
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.results.step_result import Status
from lakehouse_assets.samples.gmv.feeds import generate
from lakehouse_assets.serving.query import query
from lakehouse_assets.settings import Settings
from lakehouse_assets_tests.lake_driver import LakeDriver
from lakehouse_assets_tests.notebooks import executed

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "lakehouse_assets"
README = PROJECT / "README.md"
GMV = PROJECT / "lakehouse_assets" / "defs" / "gmv" / "README.md"
NOTEBOOK = PROJECT / "docs" / "notebooks" / "gmv_history.ipynb"
DOMAIN_PAGES = sorted((PROJECT / "lakehouse_assets" / "defs").glob("*/README.md"))
PAGES = sorted([README, *DOMAIN_PAGES, *(PROJECT / "docs").rglob("*.md")])
EVENT_TABLES = ("product_item", "purchase", "purchase_extra_info")
FIRST, LAST = date(2023, 1, 1), date(2023, 1, 5)

page = pytest.mark.parametrize("page", PAGES, ids=[str(path.relative_to(PROJECT)) for path in PAGES])


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


DAYS_OF_THE_README = re.compile(r"\$(DAY|EARLIER)\b")
"""Variables that the README sets, as the demo's data end yesterday."""


def commands(path: Path) -> Iterator[list[str]]:
    """The words of every command in the shell blocks; settings before a command and comments behind it left out."""
    for block in blocks(path, "(?:sh|bash)"):
        for line in block.replace("\\\n", " ").splitlines():
            words = [DAYS_OF_THE_README.sub("2024-01-31", word) for word in shlex.split(line, comments=True)]
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            if words:
                yield words


def parse(command: click.Command, words: list[str], parent: click.Context | None = None) -> None:
    """Parse a command line down to its last subcommand, without running it. Raises click's UsageError."""
    with command.make_context(words[0], words[1:], parent=parent) as context:
        if isinstance(command, click.Group):
            rest = [*context._protected_args, *context.args]
            name, below, rest = command.resolve_command(context, rest)
            assert below is not None
            parse(below, [name or "", *rest], context)


def parse_dg(words: list[str]) -> None:
    """Parse a command line of dg; of a scaffold, what it is of and the names of its options."""
    from dagster.components.scaffold.scaffold import get_scaffolder
    from dagster_dg_cli.cli import create_dg_cli

    if words[1:3] != ["scaffold", "defs"]:
        return parse(create_dg_cli(), words)
    module, _, name = words[3].rpartition(".")
    known = get_scaffolder(getattr(import_module(module), name)).get_scaffold_params().model_fields
    given = {word.removeprefix("--").replace("-", "_") for word in words[4:] if word.startswith("--")}
    assert given <= known.keys(), words


# --- commands, links, modules ---


@page
def test_every_command_exists_with_its_options(page: Path) -> None:
    from dagster._cli import create_dagster_cli

    targets = set(re.findall(r"^([a-z0-9-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for words in commands(page):
        match words[0].removeprefix(".venv/bin/"):
            case "lakehouse":
                parse(main, words)
            case "dagster":
                parse(create_dagster_cli(), words)
            case "dg":
                parse_dg(words)
            case "make":
                assert words[1] in targets, words
            case "export" | "cd" | "cp":
                pass
            case other:
                pytest.fail(f"{other} is no command that the documentation may use: {' '.join(words)}")


@page
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    for link in links:
        if not link.startswith(("http://", "https://")):
            assert (page.parent / link).exists(), link


def imports_of(file: Path) -> set[str]:
    """Modules of ours that a module imports anywhere, also for its types alone."""
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    froms = [(str(node.module), node.names) for node in nodes if isinstance(node, ast.ImportFrom)]
    return {module for module, _ in froms} | {f"{module}.{name.name}" for module, names in froms for name in names}


def test_no_module_stands_in_a_circle_and_the_platform_knows_nothing_above_it() -> None:
    modules = {str(f.relative_to(PROJECT).with_suffix("")).replace("/", "."): f for f in sorted(PACKAGE.rglob("*.py"))}
    graph = {name: imports_of(file) & modules.keys() for name, file in modules.items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(modules) > 100
    below = ("lakehouse_assets.platform.", "lakehouse_assets.settings", "lakehouse_assets.renamed_settings")
    of_platform = {one for name, of in graph.items() if name.startswith(below) for one in of}
    assert [one for one in sorted(of_platform) if not one.startswith(below)] == []


# --- the domain page ---


def ddl(table: Table) -> str:
    """The table as its contract declares it."""
    contract = table.compiled
    columns = [
        (field.name, field.dataType.simpleString().upper(), "" if field.nullable else "NOT NULL")
        for field in contract.spark_schema
    ]
    widths = [max(len(word) for word in words) for words in zip(*columns, strict=True)]
    lines = [
        "  "
        + " ".join(word.ljust(width) for word, width in zip(words, widths, strict=True))
        + f" COMMENT '{contract.comments[words[0]].replace(chr(39), 2 * chr(39))}'"
        for words in columns
    ]
    properties = "\nTBLPROPERTIES ('delta.appendOnly' = 'true')" if isinstance(table.write, Ledger) else ""
    return f"CREATE TABLE {'.'.join(table.key.parts)} (\n" + ",\n".join(lines) + f"\n) USING delta{properties};\n"


def test_the_tables_of_the_domain_page_are_those_of_the_contracts() -> None:
    declared = [table for table in discover(domains).tables if table.key.domain == "gmv"]
    written = [block for block in blocks(GMV, "sql") if block.startswith("CREATE TABLE")]
    assert "\n".join(written) == "\n".join(ddl(table) for table in declared if table.key.layer != "bronze")


@pytest.fixture(scope="module")
def gmv_lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with some days of GMV in it."""
    home = tmp_path_factory.mktemp("docs")
    driver = LakeDriver.at(spark, home)
    generate(home / "feeds", FIRST, LAST, purchases=12, seed=3, defects=0.02)
    days = [FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)]
    for name in EVENT_TABLES:
        for file in sorted((home / "feeds" / name).glob("*.csv")):
            driver.land(f"gmv/{name}", file)
        driver.make(f"gmv/bronze/{name}", days)
        driver.make(f"gmv/silver/{name}", days)
    driver.make("gmv/gold/gmv", days)
    return Settings(home=home)


def test_the_queries_of_the_domain_page_answer_what_the_command_answers(gmv_lake: Settings) -> None:
    today, current, as_of = [block for block in blocks(GMV, "sql") if not block.startswith("CREATE TABLE")]
    newest = query(gmv_lake, current)
    assert newest.rows
    assert query(gmv_lake, as_of.replace("2023-01-31", str(LAST))).rows == newest.rows
    assert sorted(query(gmv_lake, today).rows) == sorted(newest.rows)
    assert query(gmv_lake, as_of.replace("2023-01-31", str(FIRST))).rows != newest.rows


def test_the_version_of_a_figure_is_told_as_the_command_tells_it() -> None:
    """Wherever it is shown: it is not the version of a row of the ledger."""
    message = "counts how often the figure shown has changed"
    assert message in (gmv.help or "")
    assert message in GMV.read_text(encoding="utf-8")
    assert message in NOTEBOOK.read_text(encoding="utf-8")


def test_the_notebook_runs_and_is_stored_with_its_answers(gmv_lake: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(gmv_lake.home))
    cells = executed(NOTEBOOK, gmv_lake.home, monkeypatch)
    assert all(cell.outputs for cell in cells if not cell.source.startswith("from "))


# --- add a domain, add a table ---


def lines_of(name: str) -> dict[str, int]:
    """Non-blank lines without imports of the files that a page declares."""
    counted: dict[str, int] = {}
    for block in blocks(PROJECT / "docs" / name, "python"):
        title, _, code = block.partition("\n")
        file = re.sub(r"^# |, continued$", "", title)
        written = [line for line in code.splitlines() if line.strip() and not line.startswith(("from ", "import "))]
        counted[file] = counted.get(file, 0) + len(written)
    return counted


def test_the_lines_that_a_declaration_takes_are_those_that_are_said() -> None:
    domain, table = lines_of("add-a-domain.md"), lines_of("add-a-table.md")
    assert (list(domain), list(table)) == (["shop/__init__.py", "shop/orders.py"], ["shop/daily_sales.py"])
    message = (PROJECT / "docs" / "decisions" / "0032-one-declaration.md").read_text(encoding="utf-8")
    derived, source, whole = table["shop/daily_sales.py"], domain["shop/orders.py"], sum(domain.values())
    row = f"| here | 1 file, {derived} lines | 1 file, {source} lines | 1 folder of 2 files, {whole} lines |"
    assert row in message


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The domain of the three pages, as a package beside this project's own."""
    for name in ("add-a-domain.md", "add-a-table.md", "add-a-changing-table.md"):
        for block in blocks(PROJECT / "docs" / name, "python"):
            title, _, code = block.partition("\n")
            file = tmp_path / "documented" / re.sub(r"^# |, continued$", "", title)
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a", encoding="utf-8") as stream:
                stream.write(code + "\n")
    (tmp_path / "documented" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return import_module("documented")


def test_the_documented_domain_works(shop: Any, spark: SparkSession, tmp_path: Path) -> None:
    catalog = discover(shop)
    assert [str(table.key) for table in catalog.tables] == [
        "shop/bronze/orders",
        "shop/bronze/stock",
        "shop/gold/daily_sales",
        "shop/silver/orders",
        "shop/silver/stock",
    ]
    assert len(build_assets(catalog, {"shop": catalog.domains["shop"].first_day})) == 7, "and the landed files"
    driver = LakeDriver(spark, Lake(tmp_path / "lake", tmp_path / "landing"), catalog)
    file = tmp_path / "orders.csv"
    file.write_text(
        "delivered,order_id,ordered_at,country,amount\n"
        "2024-01-02,1,2024-01-02 10:00:00,BR,10.50\n"
        "2024-01-02,2,2024-01-02 11:00:00,BR,1.25\n"
        "2024-01-02,3,2024-01-02 12:00:00,XX,99.00\n"
        '2024-01-03,4,2024-01-02 23:00:00,PT,"7,00"\n',
        encoding="utf-8",
    )
    driver.land("shop/orders", file)
    days = (date(2024, 1, 2), date(2024, 1, 3))
    for table in ("shop/bronze/orders", "shop/silver/orders", "shop/gold/daily_sales"):
        assert [day.status for day in driver.make(table, days).days] == [Status.COMMITTED] * 2
    here = Settings(home=tmp_path)
    sales = query(here, "SELECT feed_day, country, orders, amount::VARCHAR FROM shop.gold.daily_sales ORDER BY ALL")
    assert sales.rows == [(days[0], "BR", 2, "11.75"), (days[1], "PT", 1, "7.00")]
    bad = query(here, "SELECT row_number, rules FROM shop.silver.orders__quarantine")
    assert bad.rows == [(3, ["country:isin"])]
    assert catalog.table(TableKey.parse("shop/gold/daily_sales")).compiled.owners == ("team:shop",)
    for name, text in (
        ("2024-01-02", "op;changed_at;sku;pieces\nI;2024-01-01 09:00:00;a;5\nI;2024-01-01 09:00:00;b;1\n"),
        (
            "2024-01-03",
            "op,changed_at,article,pieces,Colour\nD,2024-01-03 08:00:00,b,,red\nU,2023-12-31 08:00:00,a,9,\n",
        ),
    ):
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
        driver.land("shop/stock", tmp_path / f"{name}.csv")
    driver.make("shop/bronze/stock", days)
    driver.make("shop/silver/stock", days)
    assert driver.rows("shop/silver/stock", "article", "pieces", "is_deleted") == [("a", 5, False), ("b", None, True)]
