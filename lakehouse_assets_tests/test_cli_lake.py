"""The command line on a real lake: a run of Dagster started from it, and what the other commands then say."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from lakehouse_assets.ops.ui import address
from lakehouse_assets.settings import Settings, settings
from lakehouse_assets_tests.dagster_lake import DagsterLake, dagster_lake, marketplace_day
from lakehouse_assets_tests.gmv_histories import TABLES

D1, D2, D3 = date(2023, 1, 20), date(2023, 1, 21), date(2023, 1, 22)
SILVER = "gmv/silver/purchase"


@pytest.fixture(scope="module")
def lake(spark_home: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterLake]:
    """Two days of the marketplace, materialized from the command line."""
    with dagster_lake(tmp_path_factory.mktemp("lake")) as lake:
        for day in (D1, D2):
            lake.land(marketplace_day(day, 3))
        lake.cli("materialize", "gmv", "--days", f"{D1}..{D2}")
        yield lake


def rows(lake: DagsterLake, *arguments: str) -> list[dict[str, str]]:
    return [*csv.DictReader(io.StringIO(lake.cli(*arguments, "--format", "csv").stdout))]


def test_the_run_stands_in_dagsters_history_with_its_days_and_events(lake: DagsterLake) -> None:
    (run,) = lake.instance.get_runs()
    assert (run.status, run.job_name) == (dg.DagsterRunStatus.SUCCESS, "__ASSET_JOB")
    assert run.tags["dagster/asset_partition_range_start"] == str(D1)
    assert run.tags["dagster/asset_partition_range_end"] == str(D2)
    assert set(lake.materializations(SILVER, run.run_id)) == {str(D1), str(D2)}


def test_materialize_prints_the_run_its_link_and_each_step_and_nothing_else(lake: DagsterLake) -> None:
    done = lake.cli("materialize", SILVER, "--days", str(D1), "--format", "json")
    (message,) = json.loads(done.stdout)
    run = lake.instance.get_runs(limit=1)[0]
    assert message == {"step": SILVER, "state": "materialized", "days": 1, "run_id": run.run_id}
    assert done.stderr.splitlines() == [
        f"Run {run.run_id}: {address(settings().home)}/runs/{run.run_id}",
        f"  {SILVER}: materialized",
    ]


def test_a_failed_run_is_exit_code_1_and_says_why(lake: DagsterLake, tmp_path: Path) -> None:
    broken = tmp_path / "purchase.csv"
    header = (
        "transaction_datetime,transaction_date,purchase_id,buyer_id,prod_item_id,order_date,release_date,producer_id"
    )
    broken.write_text(f"{header}\n{D3} 09:00:00,{D3},nonsense,7,5,{D3},{D3},1\n")
    lake.cli("land", "gmv/purchase", str(broken), "--day", str(D3))
    lake.cli("materialize", "gmv/bronze/purchase", "--days", str(D3))
    failed = lake.cli("materialize", SILVER, "--days", str(D3), fails=True)
    assert failed.exit_code == 1
    assert f"{SILVER} {D3} failed" in failed.stderr
    state = {(one["subject"], one["state"]): one["why"] for one in json.loads(_status(lake, 1))}
    assert str(D3) in state[SILVER, "failed"]
    lake.cli("unland", "gmv/purchase", "purchase.csv", "--day", str(D3))
    lake.cli("materialize", "gmv/bronze/purchase", "--days", str(D3))
    lake.cli("materialize", SILVER, "--days", str(D3))
    assert (SILVER, "failed") not in {(one["subject"], one["state"]) for one in json.loads(_status(lake, 0))}


def _status(lake: DagsterLake, code: int) -> str:
    done = lake.cli("status", "--format", "json", fails=code != 0)
    assert done.exit_code == code
    return done.stdout


def test_tables_lists_days_versions_and_deadlines(lake: DagsterLake) -> None:
    found = {row["table"]: row for row in rows(lake, "tables", "gmv")}
    assert {name for name in found if "/bronze/" in name} == {f"gmv/bronze/{name}" for name in TABLES}
    gold = found["gmv/gold/gmv"]
    assert (gold["write"], gold["newest_day"], gold["deadline"]) == ("ledger", str(D2), "9 h after the day")
    assert gold["version"] == str(lake.version("gmv/gold/gmv"))


def test_describe_has_the_contract_and_what_the_lake_holds(lake: DagsterLake) -> None:
    message: dict[str, Any] = json.loads(lake.cli("describe", "gmv/silver/product_item", "--format", "json").stdout)
    assert (message["days"], message["version"]) == (f"{D1}..{D2}", lake.version("gmv/silver/product_item"))
    assert message["reads"] == {"landed": "gmv/bronze/product_item, the same day"}
    assert "purchase_id" in [column["name"] for column in message["columns"]]
    assert message["rules"]
    shown = lake.cli("describe", "gmv.silver.product_item").stdout
    assert "Columns" in shown
    assert "Rules" in shown


def test_versions_are_the_commits_newest_first(lake: DagsterLake) -> None:
    found = rows(lake, "versions", "gmv/silver/product_item")
    assert [int(row["version"]) for row in found] == [*range(len(found) - 1, -1, -1)]
    newest = next(row for row in found if row["kind"] == "step")
    assert (newest["days"], newest["rows"]) == (f"{D1}..{D2}", "6")


def test_preview_shows_rows_without_personal_columns(lake: DagsterLake) -> None:
    done = lake.cli("preview", SILVER, "--day", str(D1), "--limit", "2", "--format", "json")
    shown = json.loads(done.stdout)
    assert [row["feed_day"] for row in shown] == [str(D1)] * 2
    assert "buyer_id" not in shown[0]
    assert "buyer_id" in done.stderr
    assert "buyer_id" in json.loads(lake.cli("preview", SILVER, "--personal", "--format", "json").stdout)[0]


def test_sql_of_a_file_answers_as_the_same_text(lake: DagsterLake, tmp_path: Path) -> None:
    text = "select feed_day, count(*) as n from gmv.silver.product_item group by all order by all"
    (tmp_path / "question.sql").write_text(f"-- per day\n{text};\n")
    by_file = lake.cli("sql", "-f", str(tmp_path / "question.sql"), "--format", "csv").stdout
    assert by_file == lake.cli("sql", text, "--format", "csv").stdout
    assert by_file.splitlines()[1:] == [f"{D1},3", f"{D2},3"]


def test_lineage_in_every_format(lake: DagsterLake) -> None:
    arguments = ("lineage", "gmv/silver/product_item", "--day", str(D1))
    tree = lake.cli(*arguments).stdout
    nodes = rows(lake, *arguments)
    assert [int(node["depth"]) for node in nodes] == [0, 1, 2, 3]
    assert all(node["name"] in tree for node in nodes)
    assert json.loads(lake.cli(*arguments, "--format", "json").stdout)["name"] == "gmv/silver/product_item"


def test_status_says_which_days_are_stale_and_of_what(lake: DagsterLake, tmp_path: Path) -> None:
    lake.land({("product_item", D2): marketplace_day(D2, 5)["product_item", D2]})
    stale = [one for one in json.loads(lake.cli("status", "--format", "json").stdout) if one["state"] == "stale"]
    assert ("gmv/bronze/product_item", f"{D2}: gmv/landing/product_item changed") in [
        (one["subject"], one["why"]) for one in stale
    ]
    lake.cli("materialize", "gmv", "--days", str(D2))
    assert "stale" not in {one["state"] for one in json.loads(lake.cli("status", "--format", "json").stdout)}


def test_config_show_redacts_secrets_and_says_where_values_come_from(
    lake: DagsterLake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("LAKEHOUSE_DEBOUNCE_SECONDS=7\nLAKEHOUSE_SPARK_CORES=3\n")
    monkeypatch.setenv("LAKEHOUSE_DEBOUNCE_SECONDS", "5")
    monkeypatch.setenv("LAKEHOUSE_PSEUDONYM_KEY", "a-secret-that-nobody-should-ever-read")
    monkeypatch.setenv("LAKEHOUSE_WAREHOUSE_URL", "postgresql://me:hidden@127.0.0.1/x")
    settings.cache_clear()
    done = lake.cli("config", "show", "--format", "json").stdout
    found = {one["setting"].removeprefix("LAKEHOUSE_"): (one["value"], one["from"]) for one in json.loads(done)}
    assert found["DEBOUNCE_SECONDS"] == ("5.0", "environment")
    assert found["SPARK_CORES"] == ("3", ".env")
    assert found["SPARK_HEAP"][1] in ("default", "environment")
    assert found["PSEUDONYM_KEY"] == found["WAREHOUSE_URL"] == ("********", "environment")
    assert "nobody-should" not in done
    assert "hidden" not in done
    settings.cache_clear()
