"""The loyalty domain as a person uses it: generated feeds, landed by command, one Dagster run, questions."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from lakehouse_assets.definitions import catalog
from lakehouse_assets.settings import Settings, settings
from lakehouse_assets_tests.dagster_lake import DagsterLake, dagster_lake

pytestmark = pytest.mark.slow

FIRST, LAST = date(2024, 1, 29), date(2024, 2, 2)
TABLES = ("clientes", "produtos", "transacao", "transacao_produto")


@pytest.fixture
def lake(spark_home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagsterLake]:
    monkeypatch.setenv("LAKEHOUSE_PSEUDONYM_KEY", "a key of these tests, 32 characters or more")
    with dagster_lake(tmp_path) as found:
        yield found


def test_from_files_to_answers_in_one_run(lake: DagsterLake, tmp_path: Path) -> None:
    feeds = tmp_path / "feeds"
    lake.cli("generate", "loyalty", "--days", f"{FIRST}..{LAST}", "--transactions", "20", "--out", str(feeds))
    for table in TABLES:
        files = sorted((feeds / table).iterdir())
        lake.cli("land", f"loyalty/{table}", *map(str, files), "--yes-really")
    tables = [str(table.key) for table in catalog.tables if table.key.domain == "loyalty"]
    result = lake.run(tables, FIRST, LAST)
    assert result.success, lake.why(result)
    for table in tables:
        assert set(lake.materializations(table)) >= {str(LAST)}, table
        assert not lake.check_days(table, "contract").get("FAILED"), table
    (live, facts) = lake.sql(
        "select (select count(*) from loyalty.silver.transacao where not is_deleted), "
        "(select count(*) from loyalty.gold.fct_transacao)"
    )[0]
    assert live == facts > 50
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
