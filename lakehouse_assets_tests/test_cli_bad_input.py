"""Whatever a user gets wrong ends in one message, and in an exit code: 2 for wrong usage, 1 for the rest."""

import os
from collections.abc import Iterator
from pathlib import Path

import click
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from deltalake import write_deltalake

from lakehouse_assets.cli import main
from lakehouse_assets.settings import settings

FAILED, USAGE = 1, 2
TABLE = "gmv/silver/purchase"
ENGINES = {
    ("bi", "start"), ("bi", "stop"), ("demo",), ("dev",), ("jars",), ("kafka", "start"), ("kafka", "stop"),
    ("notebook",), ("s3", "start"), ("s3", "stop"), ("spark", "start"), ("spark", "stop"), ("spark", "take-over"),
    ("warehouse", "catch-up"), ("warehouse", "status"), ("warehouse", "stop"), ("warehouse", "url"),
}  # fmt: skip
"""Commands that start or end a server, and take nothing that could be wrong but a format."""

WRONG: list[tuple[str, int, str]] = [
    ("alerts --try", FAILED, "No hook is set"),
    ("bi export {file}", USAGE, "is a file"),
    ("bi status", FAILED, "Not running"),
    ("bucket create Not_A_Bucket --nonsense", USAGE, "No such option"),
    ("bucket list --path", USAGE, "requires an argument"),
    ("bucket put b {missing}", USAGE, "does not exist"),
    ("config show --set now", USAGE, "unexpected extra argument"),
    ("describe purchase", USAGE, "is not a table"),
    ("describe gmv/silver/purchas", USAGE, "is gmv/silver/purchase meant?"),
    ("doctor please", USAGE, "unexpected extra argument"),
    ("forget", USAGE, "Missing argument"),
    ("generate gmv --days tomorrow --out {out}", USAGE, "is not a day"),
    ("generate gmv --days 2023-01-02..2023-01-01 --out {out}", USAGE, "ends before it begins"),
    ("generate gmv --days 2023-01-01 --out {file}", FAILED, "{file}"),
    ("generate loyalty --days x --out {out}", USAGE, "is not a day"),
    ("generate loyalty --days 2024-01-01 --from {missing} {missing} --out {out}", FAILED, "{missing}"),
    ("generate marketplace --days x --out {out}", USAGE, "is not a day"),
    ("generate orders --days x --out {out}", USAGE, "is not a day"),
    ("generate store --days 2023-01-01 --since x --out {out}", USAGE, "is not a day"),
    ("gmv --as-of x", USAGE, "is not a day"),
    ("gmv --month x", FAILED, "is not a month"),
    ("gmv", FAILED, "There is no table gmv.gold.gmv"),
    ("history gmv/silver/purchase", FAILED, "keeps no history"),
    ("history loyalty/silver/clientes", FAILED, "There is no table loyalty.silver.clientes"),
    ("kafka status", FAILED, "Not running"),
    ("land gmv/refunds {file}", FAILED, "No files are landed as 'gmv/refunds'"),
    ("land gmv/purchase {missing}", FAILED, "no such file"),
    ("land gmv/purchase {folder}", FAILED, "no files"),
    ("land gmv/purchase {binary}", FAILED, "{binary}"),
    ("land gmv/purchase {file} --day x", USAGE, "is not a day"),
    ("land gmv/purchase --manifest {missing}", FAILED, "{missing}"),
    ("lineage gmv/gold/gmv --day 2023-01-01", FAILED, "never materialized"),
    ("lineage gmv/gold/gmv --day x", USAGE, "is not a day"),
    ("maintain gmv/silver/refunds", FAILED, "gmv/silver/refunds"),
    ("materialize nonsense --days 2023-01-01", FAILED, "selects no asset"),
    ("materialize group: --days 2023-01-01", FAILED, "is no selection of assets"),
    ("materialize gmv --days x", USAGE, "is not a day"),
    ("materialize gmv --days 1999-01-01", FAILED, "has no partition 1999-01-01"),
    ("preview gmv/silver/purchase", FAILED, "was never materialized"),
    ("preview gmv/silver/purchase --limit 0", USAGE, "not in the range"),
    ("produce orders --from {missing}", FAILED, ""),
    ("quality", FAILED, "Nothing was judged yet"),
    ("quality --days x", USAGE, "is not a day"),
    ("quality --html {folder}", USAGE, "is a directory"),
    ("quarantine list nonsense", FAILED, "is not a table"),
    ("quarantine list --day x", USAGE, "is not a day"),
    ("quarantine retry gmv/silver/purchase", FAILED, "nothing in quarantine"),
    ("replay gmv/silver/purchase --day x", USAGE, "is not a day"),
    ("s3 status", FAILED, "Not running"),
    ("shell --nonsense", USAGE, "No such option"),
    ("spark status", FAILED, "Not running"),
    ("sql selec", FAILED, "That is no query"),
    ("sql", USAGE, "Write the query"),
    ("sql -f {missing}", USAGE, "No such file"),
    ("sql -f {binary}", FAILED, "not UTF-8 text"),
    ("sql -f {folder}", USAGE, "Is a directory"),
    ("sql 'select 1' -f {file}", USAGE, "one of the two"),
    ("sql 'select * from gmv.silver.purchase'", FAILED, "There is no table gmv.silver.purchase"),
    ("sql 'select * from gmv.silver.purchase' --version gmv.silver.purchase=x", USAGE, "write it as"),
    ("sql 'select 1' --as-of x", USAGE, "is not a day"),
    ("status now", USAGE, "unexpected extra argument"),
    ("store olist {missing} --day 2018-10-31 --out {out}", FAILED, "{missing}"),
    ("store olist {folder} --day x --out {out}", USAGE, "is not a day"),
    ("stream latency nonsense", FAILED, "There is no stream 'nonsense'"),
    ("stream nonsense", USAGE, "No such command"),
    ("stream loyalty --metrics-port 70000", USAGE, "not in the range"),
    ("stream marketplace --metrics-port 70000", USAGE, "not in the range"),
    ("stream orders --metrics-port 70000", USAGE, "not in the range"),
    ("stream status nonsense", FAILED, ""),
    ("tables nonsense", USAGE, "is no domain"),
    ("unland gmv/purchase", USAGE, "Name a landed file"),
    ("unland gmv/refunds file.csv", FAILED, "No files are landed as 'gmv/refunds'"),
    ("unland gmv/purchase file.csv", FAILED, "nothing was ever landed"),
    ("versions gmv/silver/purchase", FAILED, "was never materialized"),
    ("versions gmv/silver/purchase --limit x", USAGE, "not a valid integer"),
    ("warehouse publish gmv/gold/nonsense --days 2023-01-01", USAGE, "no domain declares a table"),
    ("nonsense", USAGE, "No such command"),
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty lake; beside it a file, an empty folder, a file that is no text, and a name that nothing has."""
    for name in [name for name in os.environ if name.startswith("LAKEHOUSE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.setenv("COLUMNS", "400")
    settings.cache_clear()
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.csv").write_text("a,b\n1,2\n")
    (tmp_path / "binary.csv").write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff\xfe")
    yield tmp_path
    settings.cache_clear()


def call(*arguments: str) -> Result:
    """Call `lakehouse`. Whatever happens, no exception reaches the user."""
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert "Traceback" not in result.output
    return result


def leaves(command: click.Command, context: click.Context, *words: str) -> Iterator[tuple[str, ...]]:
    """Every command that is no group, by its words."""
    if not isinstance(command, click.Group):
        yield words
        return
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        yield from leaves(child, click.Context(child, parent=context), *words, name)


def every_command() -> list[tuple[str, ...]]:
    return [*leaves(main, click.Context(main))]


@pytest.mark.parametrize(("line", "code", "message"), WRONG)
def test_a_mistake_ends_in_one_message(home: Path, line: str, code: int, message: str) -> None:
    import shlex

    places = {
        "file": home / "file.csv",
        "folder": home / "folder",
        "binary": home / "binary.csv",
        "missing": home / "missing.csv",
        "out": home / "out",
    }
    found = call(*shlex.split(line.format(**places)))
    assert (found.exit_code, message.format(**places) in found.output) == (code, True), found.output


def test_every_command_is_tried() -> None:
    tried = {tuple(line.split()[:length]) for line, *_ in WRONG for length in (1, 2)}
    assert [words for words in every_command() if words not in tried | ENGINES] == []


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_an_unknown_format_is_a_usage_error_and_the_formats_are_the_same_everywhere(
    home: Path, words: tuple[str, ...]
) -> None:
    found = call(*words, "--format", "xml")
    assert found.exit_code == USAGE
    if "No such option" not in found.output and "Missing" not in found.output:
        assert "'xml' is not one of 'table', 'json', 'csv'" in found.output


@pytest.mark.parametrize("former", ["text", "tree"])
def test_a_former_name_of_the_format_is_taken_with_a_notice(home: Path, former: str) -> None:
    found = call("config", "show", "--format", former)
    assert (found.exit_code, "deprecated" in found.stderr) == (0, True)


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_a_home_that_is_a_file_is_told_by_every_command(
    home: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(home / "file.csv"))
    monkeypatch.delenv("DAGSTER_HOME")
    settings.cache_clear()
    assert call(*words).exit_code in (FAILED, USAGE)


READS = [
    "alerts",
    "describe gmv/silver/purchase",
    "gmv",
    "lineage gmv/silver/purchase --day 2023-01-01",
    "maintain --dry-run",
    "preview gmv/silver/purchase",
    "quality",
    "quarantine list",
    "sql 'select * from gmv.silver.purchase'",
    "status",
    "stream status",
    "stream latency orders",
    "tables",
    "unland gmv/purchase --day 2023-01-01",
    "versions gmv/silver/purchase",
]


@pytest.fixture(params=["torn", "foreign", "file"])
def foreign(request: pytest.FixtureRequest, home: Path) -> Path:
    """A lake whose folders hold what is not ours: a torn log, tables of other columns, a file instead of a folder."""
    lake, landing = home / "home" / "lake", home / "home" / "landing"
    places = [
        lake / "gmv/silver/purchase", lake / "gmv/gold/gmv", lake / "gmv/audit", lake / "ops/check_results",
        lake / "ops/alerts", lake / "orders/bronze/order_events", lake / "orders/gold/revenue_live",
        lake / "gmv/silver/purchase__quarantine", landing / "gmv/purchase/_manifest",
    ]  # fmt: skip
    for place in places:
        match request.param:
            case "torn":
                (place / "_delta_log").mkdir(parents=True)
                (place / "_delta_log" / f"{0:020}.json").write_text('{"commitInfo": {"operation"')
            case "foreign":
                write_deltalake(str(place), pa.table({"x": [1, 2], "y": ["a", "b"]}))
            case "file":
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text("no table")
    return home


@pytest.mark.parametrize("line", READS)
def test_a_lake_that_is_not_ours_is_told_and_not_a_traceback(foreign: Path, line: str) -> None:
    import shlex

    assert call(*shlex.split(line)).exit_code in (0, FAILED)
