"""One declaration: a source is a class, a derived table a class and a function, a domain a folder."""

from collections.abc import Callable
from datetime import date, timedelta
from importlib import import_module
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import pyspark.sql.types as T
import pytest
from pyspark.sql import DataFrame

from lakehouse_assets import declare
from lakehouse_assets.declare import (
    Contract,
    DeclarationError,
    Domain,
    Files,
    Overwrite,
    Parquet,
    Publish,
    ReplaceDays,
    SourceDays,
    column,
    day,
    full,
    rolling_window,
)
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.declare.source_files import EventFiles
from lakehouse_assets.platform.declare.table import Span, TableKey
from lakehouse_assets.platform.fingerprint.code_version import fingerprint

SHOP = Domain("shop", first_day=date(2024, 1, 1), zone="America/Sao_Paulo")
SILVER = TableKey("shop", "silver", "daily_sales")


class DailySales(Contract):
    """Sales."""

    sold_on: T.DateType = column("day of the sale", source=True)
    amount: T.LongType = column("amount", source=True, pii=True)
    feed_day: T.DateType = column("day")


class Narrow(Contract):
    """Another contract of sales."""

    amount: T.LongType = column("amount", source=True)
    feed_day: T.DateType = column("day")


# --- a source ---


def test_a_source_is_landed_files_a_bronze_and_a_silver_table() -> None:
    source = SHOP.source(DailySales, Files(day_column="sold_on"))
    bronze, silver = source.bronze, source.silver
    assert [str(one) for one in (bronze.landing, bronze.key, silver.key)] == [
        "shop/landing/daily_sales",
        "shop/bronze/daily_sales",
        "shop/silver/daily_sales",
    ]
    assert silver.contract is DailySales
    assert silver.reads["landed"].table == bronze.key
    assert (bronze.reconciles, silver.reconciles) == ("landed", "landed"), "every row arrives"
    days = SourceDays(date(2024, 1, 1), zone="America/Sao_Paulo")
    assert bronze.source == EventFiles(("sold_on", "amount"), days, day_column="sold_on")
    landed = {field.name: field.dataType.simpleString() for field in bronze.compiled.spark_schema}
    assert landed == {
        **dict.fromkeys(("sold_on", "amount", "source_file"), "string"),
        "row_number": "bigint",
        "feed_day": "date",
        "landing": "int",
    }
    assert bronze.compiled.pii == {"amount"}


def test_what_a_source_may_say_reaches_the_table_that_it_is_of() -> None:
    tuned, sla = Parquet("zstd"), timedelta(hours=1)
    source = SHOP.source(
        DailySales, Files(), name="sales", delivered=Narrow, sla=sla, parquet=tuned, publish=Publish(("amount",))
    )
    assert (str(source.bronze.key), str(source.silver.key)) == ("shop/bronze/sales", "shop/silver/sales")
    assert source.bronze.source is not None
    assert source.bronze.source.columns == ("amount",), "those of what is delivered"
    assert (source.bronze.sla, source.bronze.parquet, source.bronze.publish) == (sla, tuned, None)
    assert (source.silver.sla, source.silver.parquet, source.silver.publish) == (None, None, Publish(("amount",)))


def test_a_source_may_have_fewer_days_than_its_domain() -> None:
    ended = SourceDays(date(2024, 2, 1), date(2024, 3, 1), zone="America/Sao_Paulo")
    source = SHOP.source(DailySales, Files(), days=ended).bronze.source
    assert source is not None
    assert source.days == ended


def test_what_is_done_to_the_rows_belongs_to_the_code_of_silver() -> None:
    def halved(landed: DataFrame) -> DataFrame:
        return landed.where("amount > 2")

    def doubled(landed: DataFrame) -> DataFrame:
        return landed.where("amount > 4")

    plain, one, other = (SHOP.source(DailySales, Files(), silver=of) for of in (None, halved, doubled))
    assert len({fingerprint(source.silver).function for source in (plain, one, other)}) == 3
    assert len({fingerprint(source.bronze) for source in (plain, one, other)}) == 1


def test_bronze_may_be_laid_out_otherwise_than_its_files() -> None:
    made = SHOP.bronze(
        Narrow, Files(whole=True), name="documents", columns=("document",), write=ReplaceDays(channel="x")
    )
    assert made.source is not None
    assert (made.source.columns, made.source.whole, made.write) == (("document",), True, ReplaceDays(channel="x"))


# --- a derived table ---


def test_a_function_is_a_table_of_the_layer_that_declares_it() -> None:
    @SHOP.gold(DailySales, sales=rolling_window(7, SILVER), write=Overwrite())
    def weekly(sales: DataFrame) -> DataFrame:
        return sales

    @SHOP.silver(DailySales, sales=day(SILVER), reconciles="sales")
    def cleaned(sales: DataFrame) -> DataFrame:
        return sales

    assert (str(weekly.key), weekly.publish) == ("shop/gold/weekly", Publish()), "gold is published"
    assert (str(cleaned.key), cleaned.publish, cleaned.reconciles) == ("shop/silver/cleaned", None, "sales")
    assert (weekly.reads["sales"].span, weekly.reads["sales"].days) == (Span.LAST, 7)


# --- mistakes ---


def _sales(sales: DataFrame) -> DataFrame:
    return sales


MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "a domain's name": (lambda: Domain("My Shop", date(2024, 1, 1)), "'My Shop': a domain is called as its folder"),
    "a text for a day": (lambda: Domain("shop", "2024-01-01"), "first_day='2024-01-01' is no day; write date"),  # type: ignore[arg-type]
    "a zone": (lambda: Domain("shop", date(2024, 1, 1), "Sao Paulo"), "'Sao Paulo' is no time zone"),
    "files that are none": (
        lambda: SHOP.source(DailySales, "sold_on"),
        "'sold_on' does not say how files are delivered",
    ),  # type: ignore[arg-type]
    "a day column that is none": (
        lambda: SHOP.source(DailySales, Files(day_column="sold")),
        "shop/bronze/daily_sales: the day column 'sold' is none of",
    ),
    "a subject that is none": (
        lambda: SHOP.source(DailySales, Files(subject="member_mail")),
        "shop/bronze/daily_sales: the subject 'member_mail' is none of",
    ),
    "a contract that is none": (lambda: SHOP.source(_sales, Files()), "_sales is no contract"),  # type: ignore[arg-type]
    "no parentheses": (lambda: SHOP.gold(_sales), "shop/gold: _sales is no contract"),  # type: ignore[arg-type]
    "a parameter of its own": (
        lambda: SHOP.source(DailySales, Files(), silver=lambda rows: rows),
        "the parameter 'rows' of its function is no declared input; declared are landed",
    ),
    "an option misspelt": (lambda: SHOP.gold(DailySales, wirte=Overwrite()), "'wirte' is no option; is 'write' meant"),  # type: ignore[arg-type]
    "an input without days": (
        lambda: SHOP.gold(DailySales, sales=SHOP.source(DailySales, Files()).silver),  # type: ignore[arg-type]
        r"its input 'sales' does not say which of its days are read; write sales=day\(",
    ),
    "a source as an input": (
        lambda: day(SHOP.source(DailySales, Files())),  # type: ignore[arg-type]
        r"Source is no table to read; name one, as day\(orders.silver\)",
    ),
    "a function as an input": (lambda: full(_sales), "_sales is no table to read"),  # type: ignore[arg-type]
    "a write that is none": (
        lambda: SHOP.gold(DailySales, sales=day(SILVER), write=Overwrite)(_sales),  # type: ignore[arg-type]
        "is no kind of write",
    ),
    "no column of a source": (
        lambda: SHOP.source(type("None_", (Contract,), {"__doc__": "None."}), Files()),
        "no column has source=True, so there is nothing to land",
    ),
}


@pytest.mark.parametrize(("declare_it", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_where_it_is_made(declare_it: Callable[[], Any], message: str) -> None:
    with pytest.raises(declare.LakehouseError, match=message) as told:
        declare_it()
    assert "\n" not in str(told.value), "in one sentence"


def test_a_name_that_is_not_promised_is_told_with_those_that_are() -> None:
    with pytest.raises(AttributeError, match=r"lakehouse_assets\.declare has no table; it has .*Domain"):
        declare.table  # noqa: B018


# --- what is declared is loaded ---

_numbers = count()
DOMAIN = """
from datetime import date
from lakehouse_assets.declare import Domain

SHOP = Domain("shop", first_day=date(2024, 1, 1))
"""
SOURCE = '''
import pyspark.sql.types as T
from pyspark.sql import DataFrame

from lakehouse_assets.declare import Contract, TableKey, column, day
{imports}


class Sales(Contract):
    """Sales."""

    feed_day: T.DateType = column("day")


@SHOP.{layer}(Sales, orders=day(TableKey("shop", "silver", "orders")))
def {name}(orders: DataFrame) -> DataFrame:
    return orders
'''
PLAIN = '''
import dagster as dg


@dg.asset
def exported() -> None:
    """An asset without a table."""


@dg.asset_check(asset=exported)
def is_fine() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


outside = dg.AssetSpec("outside")
nightly = dg.define_asset_job("nightly", selection=[exported])
at_night = dg.ScheduleDefinition(name="at_night", job=nightly, cron_schedule="0 3 * * *")


@dg.sensor(job=nightly)
def seen() -> None:
    """A sensor."""
'''
COMPONENT = """
type: dagster.PythonScriptComponent
attributes:
  execution:
    path: export.py
  assets:
    - key: from_yaml
"""
Load = Callable[[dict[str, str]], ModuleType]


def source(name: str = "sales", layer: str = "gold", package: str = ".") -> str:
    """A module that declares one table."""
    return SOURCE.format(name=name, layer=layer, imports=f"from {package} import SHOP")


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """A package of domains of these files, in a project of its own."""
    monkeypatch.syspath_prepend(tmp_path)

    def load(files: dict[str, str]) -> ModuleType:
        package = f"project_{next(_numbers)}"
        project = f'[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "{package}"\n'
        (tmp_path / "pyproject.toml").write_text(project, encoding="utf-8")
        inside = {f"defs/{name}": text for name, text in files.items()}
        for name, text in {"__init__.py": "", "defs/__init__.py": "", **inside}.items():
            file = tmp_path / package / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return import_module(f"{package}.defs")

    return load


def test_a_table_may_stand_in_any_module_of_its_domain(load: Load) -> None:
    found = discover(
        load(
            {
                "shop/__init__.py": DOMAIN,
                "shop/Anything.py": source("a"),
                "shop/more/__init__.py": source("b", "silver", ".."),
                "shop/more/deeper.py": source("c", package=".."),
            }
        )
    )
    assert [str(one.key) for one in found.tables] == ["shop/gold/a", "shop/gold/c", "shop/silver/b"]
    assert {name: domain.first_day for name, domain in found.domains.items()} == {"shop": date(2024, 1, 1)}


def test_the_whole_domain_may_stand_in_one_module(load: Load) -> None:
    found = discover(load({"shop/__init__.py": "", "shop/all.py": source().replace("from . import SHOP", DOMAIN)}))
    assert ([str(one.key) for one in found.tables], list(found.domains)) == (["shop/gold/sales"], ["shop"])


def test_both_tables_of_a_source_are_found(load: Load) -> None:
    text = source().split("@SHOP")[0].replace('column("day")', 'column("day", source=True)').replace("feed_day", "sold")
    text += "\nfrom lakehouse_assets.declare import Files\n\nkept = {'x': SHOP.source(Sales, Files())}\n"
    found = discover(load({"shop/__init__.py": DOMAIN, "shop/sales.py": text}))
    assert [str(one.key) for one in found.tables] == ["shop/bronze/sales", "shop/silver/sales"]


def test_tables_held_in_a_list_or_a_dictionary_are_found(load: Load) -> None:
    several = source("first") + "\nfound = [first]\ndel first\n"
    by_name = source("second") + "\nnamed = {'x': second}\ndel second\n"
    found = discover(load({"shop/__init__.py": DOMAIN, "shop/gold.py": several, "shop/silver.py": by_name}))
    assert [str(one.key) for one in found.tables] == ["shop/gold/first", "shop/gold/second"]


MISPLACED = {
    "a domain called otherwise than its folder": (
        {"store/__init__.py": DOMAIN},
        r"store: the domain 'shop' stands in the folder store/; a domain is called as its folder",
    ),
    "a domain outside of a folder": ({"shop.py": DOMAIN}, "the domain 'shop' stands outside a domain's folder"),
    "two domains in a folder": (
        {"shop/__init__.py": DOMAIN + 'AGAIN = Domain("shop", first_day=date(2024, 1, 2))\n'},
        "shop is declared twice; a folder is one domain",
    ),
    "a table of another domain": (
        {
            "shop/__init__.py": DOMAIN,
            "shop/sales.py": source(),
            "store/__init__.py": "",
            "store/a.py": "from ..shop.sales import sales",
        },
        "store.a has shop/gold/sales: a table stands in the folder of its domain",
    ),
    "a table outside of a folder": (
        {"shop/__init__.py": DOMAIN, "gold.py": source(package=".shop")},
        "stands outside a domain's folder",
    ),
    "two tables of one key": (
        {"shop/__init__.py": DOMAIN, "shop/a.py": source(), "shop/b.py": source()},
        "shop.b: shop/gold/sales is declared twice",
    ),
    "a folder that is no package": ({"shop/gold.py": ""}, "has no __init__.py, so gold.py in it would not be loaded"),
    "a folder in a domain that is no package": (
        {"shop/__init__.py": DOMAIN, "shop/more/gold.py": ""},
        "has no __init__.py, so gold.py in it would not be loaded",
    ),
}


@pytest.mark.parametrize(("files", "message"), MISPLACED.values(), ids=MISPLACED)
def test_what_stands_at_the_wrong_place_is_an_error(files: dict[str, str], message: str, load: Load) -> None:
    with pytest.raises(DeclarationError, match=message):
        discover(load(files))


@pytest.mark.parametrize("file", ["shop/gold.py", "shop/exports.py", "shop/more/exports.py", "exports.py"])
def test_what_dagster_knows_stands_beside_declared_tables(file: str, load: Load, tmp_path: Path) -> None:
    packages = {f"{parent}/__init__.py": "" for parent in Path(file).parents if str(parent) != "."}
    files = {"shop/__init__.py": DOMAIN, "shop/sales.py": source()}
    again = f"from .{Path(file).stem} import exported\n"
    component = {"shop/nightly/defs.yaml": COMPONENT, "shop/nightly/export.py": "print('exported')\n"}
    package = load({**packages, **files, file: PLAIN, str(Path(file).parent / "uses_it.py"): again, **component})
    assert [str(one.key) for one in discover(package).tables] == ["shop/gold/sales"]
    loaded = dg.load_from_defs_folder(path_within_project=tmp_path)
    keys = {key.to_user_string() for key in loaded.resolve_asset_graph().get_all_asset_keys()}
    assert keys == {"exported", "outside", "from_yaml"}
    repository = loaded.get_repository_def()
    assert {"nightly"} <= set(repository.job_names)
    assert [one.name for one in repository.schedule_defs] == ["at_night"]
    assert [one.name for one in repository.sensor_defs] == ["seen"]
    assert len(loaded.resolve_asset_graph().asset_check_keys) == 1
    merged = dg.Definitions.merge(dg.Definitions(executor=dg.in_process_executor), loaded)
    job = merged.resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(asset_selection=[dg.AssetKey("exported")]).success
