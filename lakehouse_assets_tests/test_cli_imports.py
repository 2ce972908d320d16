"""What a command imports. A command that only reads starts no engine and imports none: that is what makes it quick."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lakehouse_assets.settings import Settings
from lakehouse_assets_tests.judged_days import Judge
from lakehouse_assets_tests.test_quality import DAYS, SILVER

HEAVY = ("dagster", "pandas", "pandera", "pyspark")
CALL = """
import json, sys
from lakehouse_assets.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print("\\n" + json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def call(home: Path, *arguments: str) -> tuple[int, set[str]]:
    """Run a command in a process of its own: its exit code and the top-level modules that it imported."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAKEHOUSE_")}
    environment |= {"LAKEHOUSE_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
    done = subprocess.run(
        [sys.executable, "-c", CALL, *arguments], env=environment, cwd=home, capture_output=True, text=True, check=True
    )
    code, modules = json.loads(done.stdout.splitlines()[-1])
    return code, set(modules)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which nothing was landed, and one command has been run."""
    home = tmp_path_factory.mktemp("home")
    code, modules = call(home, "tables")
    assert (code, set(HEAVY) - modules) == (0, set()), "the first command imports every domain, and remembers it"
    return home


@pytest.fixture(scope="module")
def validated(empty: Path) -> Path:
    """The same home with the check results of some days."""
    judge = Judge.of(Settings(home=empty))
    judge.write(SILVER, [judge.day(SILVER, day) for day in DAYS])
    return empty


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["alerts"], 0),
        (["config", "show"], 0),
        (["describe", "gmv/silver/purchase"], 0),
        (["lineage", "gmv/gold/gmv", "--day", "2023-01-31"], 1),
        (["preview", "gmv/silver/purchase"], 1),
        (["sql", "select 1 as one"], 0),
        (["status"], 0),
        (["stream", "latency", "orders"], 0),
        (["stream", "status"], 0),
        (["tables"], 0),
        (["unland", "gmv/purchase", "--day", "2023-01-01"], 1),
        (["versions", "gmv/silver/purchase"], 1),
    ],
)
def test_a_command_that_reads_imports_no_engine(empty: Path, arguments: list[str], code: int) -> None:
    found, modules = call(empty, *arguments)
    assert (found, modules & set(HEAVY)) == (code, set())


def test_quality_imports_no_engine(validated: Path) -> None:
    found, modules = call(validated, "quality", "--format", "csv")
    assert (found, modules & set(HEAVY)) == (0, set())


def test_help_opens_no_table(empty: Path) -> None:
    assert not call(empty, "--help")[1] & {"duckdb", "psycopg2"}
