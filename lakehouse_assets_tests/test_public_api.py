"""A domain imports `lakehouse_assets.declare` and nothing else of the project; what that has is written here."""

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from lakehouse_assets import declare, defs, samples
from lakehouse_assets.declare import assets, command, dashboard, rows, stream, tables

DEFS, SAMPLES = Path(defs.__path__[0]), Path(samples.__path__[0])
PACKAGE = "lakehouse_assets"
MODULES = sorted(DEFS.rglob("*.py"))

PROMISED = {
    "lakehouse_assets.declare": (
        "MIB Action Contract CurrentState DayFrom DeclarationError Dimension DocumentRow Documents Domain Drift "
        "Files History IncrementalRefresh KafkaTopic LakehouseError Ledger NormalForm Overwrite Parquet Publish "
        "Rate ReplaceDays SilverEvent SnapshotHistory Source SourceDays StateRow Table TableKey column cumulative "
        "day full rolling_window row_rule scd1 scd2 scd2_from_snapshots table_metadata"
    ),
    "lakehouse_assets.declare.rows": (
        "DOCUMENT KEY_ID MALFORMED ROW document json_fields json_objects parse passed_rows pseudonymized read_fields "
        "validated_rows"
    ),
    "lakehouse_assets.declare.dashboard": (
        "AsOfDay Choice Dashboard DashboardError Days Heat Listing Measure Newest Number Parts Rows Series Shape Where "
        "as_known count distinct greatest share total"
    ),
    "lakehouse_assets.declare.assets": "LakeTables",
    "lakehouse_assets.declare.stream": "BadTable IncompleteProcess Process parsed run",
    "lakehouse_assets.declare.command": "DAY DAYS TABLE Rows as_of_remark format_option parse_month query show",
}
"""Semantic versioning is promised for these names: one that goes, or means another thing, is a new major version."""


def imports_of(file: Path) -> set[str]:
    """What a module imports anywhere, with relative imports in full."""
    package = [PACKAGE, "defs", *file.relative_to(DEFS).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            found.add(".".join([*above, *([node.module] if node.module else [])]))
    return found


@pytest.mark.parametrize("file", MODULES, ids=[str(file.relative_to(DEFS)) for file in MODULES])
def test_a_domain_imports_what_is_promised_and_itself(file: Path) -> None:
    own = f"{PACKAGE}.defs.{file.relative_to(DEFS).parts[0]}"
    ours = {name for name in imports_of(file) if name.partition(".")[0] == PACKAGE}
    allowed = {name for name in ours if name in PROMISED or f"{name}.".startswith(f"{own}.")}
    assert ours - allowed == set()


def test_the_documentation_imports_what_is_promised() -> None:
    imported = {
        module
        for page in (DEFS.parents[1] / "docs").rglob("*.md")
        for module in re.findall(
            r"^from (lakehouse_assets[\w.]*) import", page.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    assert imported - PROMISED.keys() == set()
    assert imported


@pytest.mark.parametrize("module", PROMISED)
def test_the_public_names_are_those_that_are_promised(module: str) -> None:
    names = tables.__all__ if module == declare.__name__ else import_module(module).__all__
    assert sorted(names) == sorted(PROMISED[module].split())
    assert all(hasattr(import_module(module), name) for name in names)


def test_every_public_name_says_what_it_is() -> None:
    for module in (tables, rows, dashboard, command, assets, stream):
        for name in module.__all__:
            value = getattr(module, name)
            if callable(value):
                assert value.__doc__, f"{module.__name__}.{name}"


def test_a_command_of_a_domain_starts_without_the_declarations() -> None:
    """`lakehouse --help` imports the commands of all domains."""
    code = "import sys, lakehouse_assets.defs.gmv.cli, lakehouse_assets.defs.store.cli\nprint('pandera' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_feeds_are_of_domains_and_named_by_no_command() -> None:
    domains = {folder.name for folder in DEFS.iterdir() if (folder / "__init__.py").exists()}
    feeds = {folder.name for folder in SAMPLES.iterdir() if (folder / "__init__.py").exists()}
    assert feeds <= domains
    assert {folder.name for folder in SAMPLES.iterdir() if (folder / "generate.py").exists()} == domains
    for file in (DEFS.parent / "cli").glob("*.py"):
        named = [domain for domain in domains if f"defs.{domain}" in file.read_text(encoding="utf-8")]
        assert named == [], file.name
