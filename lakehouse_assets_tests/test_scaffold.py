"""`dg scaffold defs` writes a source, its domain and a table that load as they are; dg knows this project."""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pyspark.sql.types as T
import pytest
from dagster import DagsterInstance, DagsterRunStatus

from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.scaffold import Place, columns_of

DG = Path(sys.executable).with_name("dg")
ROOT = Path(__file__).parents[1]
PROJECT = """
[tool.dg]
directory_type = "project"
[tool.dg.project]
root_module = "{name}"
registry_modules = ["lakehouse_assets.scaffold"]
[tool.dg.cli]
suppress_warnings = ["project_and_activated_venv_mismatch"]
"""
SAMPLE = (
    "Delivered,orderId,price,ordered at,note\n"
    "2024-01-02,1,2.505,2024-01-02 10:00:00,x\n"
    "2024-01-02,2,1.0,2024-01-02 11:00:00,\n"
)


def dg(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run dg in a project."""
    return subprocess.run(
        [DG, *words],
        cwd=folder,
        env=os.environ | {"HOME": str(folder), "PYTHONPATH": str(folder), "DAGSTER_TELEMETRY_DISABLED": "1"} | env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose domain, source and table are scaffolded, and nothing else."""
    folder = tmp_path_factory.mktemp("scaffolded")
    (folder / "pyproject.toml").write_text(PROJECT.format(name="scaffolded"), encoding="utf-8")
    (folder / "scaffolded" / "defs").mkdir(parents=True)
    for package in ("scaffolded", "scaffolded/defs"):
        (folder / package / "__init__.py").touch()
    (folder / "sample.csv").write_text(SAMPLE, encoding="utf-8")
    for words in (
        ("source", "shop/orders.py", "--sample", str(folder / "sample.csv"), "--day-column", "delivered"),
        ("table", "shop/daily_sales.py", "--reads", "orders"),
    ):
        done = dg(folder, "scaffold", "defs", f"lakehouse_assets.scaffold.{words[0]}", *words[1:])
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def catalog(project: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    monkeypatch.syspath_prepend(project)
    return discover(import_module("scaffolded.defs"))


def test_what_is_scaffolded_loads_as_it_is(catalog: Catalog) -> None:
    assert [str(table.key) for table in catalog.tables] == [
        "shop/bronze/orders",
        "shop/gold/daily_sales",
        "shop/silver/orders",
    ]
    daily = catalog.table(TableKey.parse("shop/gold/daily_sales"))
    assert [str(read.table) for read in daily.reads.values()] == ["shop/silver/orders"]
    assert daily.compiled.owners == ("team:shop",)


def test_the_columns_are_those_of_the_sample(catalog: Catalog) -> None:
    orders = catalog.table(TableKey.parse("shop/silver/orders")).compiled
    assert {name: type(orders.spark_schema[name].dataType) for name in orders.source_columns} == {
        "delivered": T.DateType,
        "order_id": T.LongType,
        "price": T.DecimalType,
        "ordered_at": T.TimestampNTZType,
        "note": T.StringType,
    }
    assert orders.spark_schema["price"].dataType == T.DecimalType(18, 3), "as many decimals as the sample has"
    assert [name for name in orders.source_columns if orders.spark_schema[name].nullable] == ["note"]
    source = catalog.table(TableKey.parse("shop/bronze/orders")).source
    assert source is not None
    assert source.day_column == "delivered"
    assert source.drift is not None
    assert source.drift.aliases == (("Delivered", "delivered"), ("orderId", "order_id"), ("ordered at", "ordered_at"))


def test_what_is_scaffolded_is_formatted(project: Path) -> None:
    ruff = Path(sys.executable).with_name("ruff")
    rules = [
        "--isolated",
        "--config",
        "line-length=120",
        "--config",
        "lint.isort.known-first-party=['lakehouse_assets']",
    ]
    for command in (["format", "--check"], ["check"]):
        done = subprocess.run(
            [ruff, *command, *rules, "scaffolded"], cwd=project, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


def test_a_second_time_nothing_is_overwritten(project: Path) -> None:
    file = project / "scaffolded" / "defs" / "shop" / "orders.py"
    before = file.read_text(encoding="utf-8")
    done = dg(project, "scaffold", "defs", "lakehouse_assets.scaffold.source", "shop/orders.py")
    assert (done.returncode != 0, "already exists" in done.stderr + done.stdout) == (True, True)
    assert file.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("name", ["Orders.py", "orders", "1st.py", "daily-sales.py"])
def test_a_module_that_is_called_as_no_table_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="name the new module as its table"):
        Place(tmp_path / "shop" / name).check()


def test_a_table_needs_a_domain_and_a_sample_a_file(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match=r"has no Domain\. Begin with a source: dg scaffold defs"):
        Place(tmp_path / "sales.py").domain_object()
    with pytest.raises(click.ClickException, match=r"none\.csv: cannot be read"):
        columns_of(tmp_path / "none.csv")


def test_what_is_refused_leaves_nothing_behind(project: Path) -> None:
    for words in (("table", "shop/returns.py"), ("source", "museum/visits.py", "--sample", "none.csv")):
        done = dg(project, "scaffold", "defs", f"lakehouse_assets.scaffold.{words[0]}", *words[1:])
        assert done.returncode != 0, done.stdout
        assert not (project / "scaffolded" / "defs" / words[1]).exists(), "so that the right command works"
    assert not (project / "scaffolded" / "defs" / "museum").exists()


def test_dagsters_commands_know_this_project(tmp_path: Path) -> None:
    """`dg check defs`, `dg list defs` and `dg launch`, without a warning of something that Dagster gives up."""
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    env = {"HOME": str(tmp_path), "LAKEHOUSE_HOME": str(tmp_path), "DAGSTER_HOME": str(home)}
    checked = dg(ROOT, "check", "defs", **env)
    assert checked.returncode == 0, checked.stderr
    assert "All definitions loaded successfully" in checked.stdout
    listed = dg(ROOT, "list", "defs", "--json", **env)
    assert listed.returncode == 0, listed.stderr
    assert "gmv/silver/purchase" in {asset["asset_key"] for asset in json.loads(listed.stdout)["assets"]}
    launched = dg(ROOT, "launch", "--job", "maintain", **env)
    assert launched.returncode == 0, launched.stderr
    with DagsterInstance.from_config(str(home)) as instance:
        assert [(run.job_name, run.status) for run in instance.get_runs()] == [("maintain", DagsterRunStatus.SUCCESS)]
    assert [one.args for one in (checked, listed, launched) if "eprecat" in one.stdout + one.stderr] == []
