"""The loyalty domain as a person uses it: generated feeds, landed by command, one Dagster run, questions."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from random import Random

import pytest

from lakehouse_assets.definitions import catalog
from lakehouse_assets.platform.common.fault_injection import VARIABLE
from lakehouse_assets.settings import Settings, settings
from lakehouse_assets_tests.dagster_lake import DagsterLake, dagster_lake
from lakehouse_assets_tests.notebooks import executed

pytestmark = pytest.mark.slow

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebooks" / "loyalty_history.ipynb"
FIRST, LAST = date(2024, 1, 29), date(2024, 2, 2)
TABLES = ("clientes", "produtos", "transacao", "transacao_produto")


@pytest.fixture
def lake(spark_home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagsterLake]:
    monkeypatch.setenv("LAKEHOUSE_PSEUDONYM_KEY", "a key of these tests, 32 characters or more")
    with dagster_lake(tmp_path) as found:
        yield found


def test_from_files_to_answers_in_one_run(lake: DagsterLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feeds = tmp_path / "feeds"
    lake.cli("generate", "loyalty", "--days", f"{FIRST}..{LAST}", "--transactions", "20", "--out", str(feeds))
    for table in TABLES:
        files = sorted((feeds / table).iterdir())
        lake.cli("land", f"loyalty/{table}", *map(str, files), "--allow-shrinking")
    tables = [str(table.key) for table in catalog.tables if table.key.domain == "loyalty"]
    result = lake.run(tables, FIRST, LAST)
    assert result.success, lake.why(result)
    for table in tables:
        assert set(lake.materializations(table)) >= {str(LAST)}, table
        assert not lake.check_days(table, "contract").get("FAILED"), table
    (live, table_metadata) = lake.sql(
        "select (select count(*) from loyalty.silver.transacao where not is_deleted), "
        "(select count(*) from loyalty.gold.fct_transacao)"
    )[0]
    assert live == table_metadata > 50
    found = json.loads(lake.cli("history", "loyalty/silver/clientes", "--format", "json").output)
    assert found[-1]["day"] == str(LAST)
    count = "select count(*) as n from loyalty.silver.clientes where not is_deleted"
    for row in found:
        (known,) = json.loads(lake.cli("sql", count, "--as-of", row["day"], "--format", "json").output)
        assert known["n"] == row["live"]
    somebody = lake.sql("select id_cliente from loyalty.silver.clientes order by 1 limit 1")[0][0]
    (first, *_) = json.loads(
        lake.cli("history", "loyalty/silver/clientes", "--key", somebody, "--format", "json").output
    )
    assert first["id_cliente"] == somebody
    assert "no history" in lake.cli("history", "loyalty/gold/churn", fails=True).output
    assert "do not say whose" in lake.cli("forget", "loyalty/produtos", "--key", "1", "--yes", fails=True).output
    assert str(settings().pseudonym_key).count("*") > 5, "a key is never shown"
    executed(NOTEBOOK, tmp_path, monkeypatch)


TRANSACAO = ("bronze/transacao", "silver/transacao")
IN_CI = ("after-swap:loyalty/bronze/transacao", "before-swap:loyalty/silver/transacao", 3.0, 6.0)
OF_STEPS = ("before-write", "before-swap", "after-swap", "before-metadata", "between-journals")
EVERYWHERE = (
    *[f"{place}:loyalty/{table}" for place in OF_STEPS for table in TRANSACAO],
    *[f"{place}:loyalty/silver/transacao__changes" for place in ("before-swap", "after-swap")],
    *[Random(n).uniform(2, 12) for n in range(20)],
)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("last", "kills"), [(LAST, IN_CI), pytest.param(date(2024, 2, 24), EVERYWHERE, marks=pytest.mark.random_kills)]
)
def test_a_stream_of_files_killed_anywhere_applies_each_change_once(
    lake: DagsterLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: date, kills: tuple[str | float, ...]
) -> None:
    """Killed at named places and after so many seconds, then beside a backfill: the same as made in one go."""
    feeds, inbox, held = tmp_path / "feeds", tmp_path / "inbox", tmp_path / "held"
    lake.cli("generate", "loyalty", "--days", f"{FIRST}..{last}", "--transactions", "20", "--out", str(feeds))
    assert "LAKEHOUSE_INBOX" in lake.cli("stream", "loyalty", fails=True).output
    for table in TABLES[2:]:
        shutil.copytree(feeds / table, inbox / "loyalty" / table)
    (inbox / "loyalty" / "transacao" / "2024-01-30-broken.json").write_text("{")
    for file in (inbox / "loyalty" / "transacao").glob(f"{last}*"):
        held.mkdir(exist_ok=True)
        file.rename(held / file.name)
    monkeypatch.setenv("LAKEHOUSE_INBOX", str(inbox))
    settings.cache_clear()
    command = [str(Path(sys.executable).with_name("lakehouse")), "stream", "loyalty", "--max-files", "2"]
    for kill in kills:
        if isinstance(kill, str):
            killed = subprocess.run(command, env=os.environ | {VARIABLE: kill}, check=False, capture_output=True)
            assert killed.returncode == -signal.SIGKILL, killed.stderr
        else:
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
                with suppress(subprocess.TimeoutExpired):
                    running.wait(kill)
                running.kill()
    for file in held.iterdir():
        file.rename(inbox / "loyalty" / "transacao" / file.name)
    # The rest by a stream and a backfill at once: whoever loses a race computes again, and nobody hears of it.
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as streaming:
        backfill = lake.run([f"loyalty/{table}" for table in TRANSACAO], FIRST, last)
        message, _ = streaming.communicate(timeout=600)
    assert backfill.success, lake.why(backfill)
    assert streaming.returncode != 0, "a file was refused"
    assert "broken" in message
    assert "Concurrent" not in message
    assert "Traceback" not in message
    (status,) = json.loads(lake.cli("stream", "status", "loyalty", "--format", "json", fails=True).output)
    assert (status["lag"], status["mode"]) == (1, "ended"), "the refused file waits"
    assert status["records"] > 0
    assert "broken" in status["error"]
    (inbox / "loyalty" / "transacao" / "2024-01-30-broken.json").unlink()
    assert "0 files; days made: 0" in lake.cli("stream", "loyalty").output
    columns = ("id_transacao", "qtde_pontos", "is_deleted", "feed_day", "record_hash")
    streamed = lake.rows("loyalty.silver.transacao", *columns)
    shutil.rmtree(settings().lake)
    made = lake.run([f"loyalty/{table}" for table in TRANSACAO], FIRST, last)
    assert made.success, lake.why(made)
    assert lake.rows("loyalty.silver.transacao", *columns) == streamed
    assert len(streamed) > 50
