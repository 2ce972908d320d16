"""Rows that broke a rule: kept whole with the reason, listed, accounted for, and moved once the contract is mended."""

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import pyspark.sql.types as T
import pytest

from lakehouse_assets.defs.gmv import contracts
from lakehouse_assets.platform.contracts.contract import column
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.fingerprint.code_version import code_version
from lakehouse_assets.settings import Settings
from lakehouse_assets_tests.dagster_lake import DagsterLake, dagster_lake, marketplace_day
from lakehouse_assets_tests.gmv_histories import TABLES

DAY = date(2023, 2, 1)
ITEMS = "gmv/silver/product_item"
HOSTILE_KEY = "1'; DROP TABLE gmv.silver.product_item; --"
HOSTILE_NAME = "o'Brien\"; DROP TABLE gmv -- ${env:HOME} \\ `x`"
FILE = f"product_item-{DAY}.csv"


@pytest.fixture(scope="module")
def lake(spark_home: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterLake]:
    """A day with four good items, one of none, one with SQL for a key, and one sent twice; in gold as well."""
    parts = {part: list(rows) for part, rows in marketplace_day(DAY, 6).items()}
    items = parts["product_item", DAY]
    items[4] = items[4] | {"item_quantity": "0"}
    items[5] = items[5] | {"purchase_id": HOSTILE_KEY}
    items.append(items[0])
    names = parts["purchase_extra_info", DAY]
    names[0] = names[0] | {"subsidiary": HOSTILE_NAME}
    with dagster_lake(tmp_path_factory.mktemp("quarantine")) as lake:
        lake.land(parts)
        made = [f"gmv/{layer}/{table}" for layer in ("bronze", "silver") for table in TABLES]
        result = lake.run([*made, "gmv/gold/gmv", "gmv/gold/gmv_current"], DAY)
        assert result.success, lake.why(result)
        yield lake


def listed(lake: DagsterLake, *options: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(lake.cli("quarantine", "list", *options, "--format", "json").stdout)
    return rows


def test_rows_are_kept_whole_with_rules_file_row_and_day(lake: DagsterLake) -> None:
    none, hostile = listed(lake, ITEMS, "--rows")
    for row, number in ((none, 5), (hostile, 6)):
        assert (row["table"], row["feed_day"]) == ("gmv.silver.product_item", str(DAY))
        assert row["source_file"] == FILE
        assert row["row_number"] == number
    assert "item_quantity" in none["rules"]
    assert "purchase_id" in hostile["rules"]
    whole = json.loads(hostile["row"])
    assert whole == {
        "transaction_datetime": f"{DAY} 09:05:00",
        "transaction_date": str(DAY),
        "purchase_id": HOSTILE_KEY,
        "product_id": "2",
        "item_quantity": "1",
        "purchase_value": "6,50",
    }


def test_they_are_counted_by_rule(lake: DagsterLake) -> None:
    counts = {row["rules"].split(":")[0]: row["rows"] for row in listed(lake)}
    assert counts == {"item_quantity": 1, "purchase_id": 1}
    assert listed(lake, "--day", "2023-02-02") == []
    assert "2 rows in quarantine" in lake.cli("quarantine", "list").stderr


def test_hostile_text_harms_no_table(lake: DagsterLake) -> None:
    assert len(lake.rows("gmv.silver.product_item")) == 4
    (found,) = [row for row in lake.rows("gmv.gold.gmv", "subsidiary", "purchases") if "DROP" in row[0]]
    assert found == (HOSTILE_NAME, 1), "a name is a name, whatever it says"
    assert HOSTILE_NAME in [row["subsidiary"] for row in json.loads(lake.cli("gmv", "--format", "json").stdout)]


def test_every_row_that_came_in_is_somewhere(lake: DagsterLake) -> None:
    audit = lake.rows("gmv.audit", "table", "rows_in", "kept", "quarantined", "duplicates", "status")
    assert (ITEMS, 7, 4, 2, 1, "committed") in audit
    results = lake.sql(
        'select "check", passed, failed from ops.check_results '
        "where \"table\" = 'gmv/silver/product_item' and \"check\" = 'conservation'"
    )
    assert results[:1] == [("conservation", True, 0)]
    evaluation = lake.evaluations(ITEMS, lake.runs[0].run_id)[str(DAY)]["contract"]
    assert evaluation.passed, "two of six are within what the contract tolerates on so few rows"
    assert evaluation.description == "2 of 7 rows in quarantine"
    query = str(evaluation.metadata["sql"].value).split("```sql\n")[1].split("\n```")[0]
    assert len(lake.sql(query)) == 1, "the query shown beside the check lists the row"


class MendedProductItem(contracts.ProductItem):
    """Product items, of which there may be none."""

    item_quantity: T.LongType = column("number of items", source=True, nullable=True, ge=0)


def test_what_passes_a_mended_contract_is_moved_by_a_retry(lake: DagsterLake, monkeypatch: pytest.MonkeyPatch) -> None:
    from lakehouse_assets.definitions import catalog

    version = lake.version(ITEMS)
    (unchanged,) = json.loads(lake.cli("quarantine", "retry", ITEMS, "--format", "json").stdout)
    assert (unchanged["rows_before"], unchanged["rows_still"], unchanged["rows_moved"]) == (2, 2, 0)
    assert (unchanged["run"], lake.version(ITEMS)) == ("", version), "the same code, the same inputs: nothing to run"
    table = catalog.table(TableKey.parse(ITEMS))
    monkeypatch.setitem(table.__dict__, "contract", MendedProductItem)
    code_version.cache_clear()  # a mended contract comes with a new process
    (moved,) = json.loads(lake.cli("quarantine", "retry", ITEMS, "--day", str(DAY), "--format", "json").stdout)
    assert (moved["feed_days"], moved["rows_before"], moved["rows_still"], moved["rows_moved"]) == (str(DAY), 2, 1, 1)
    assert len(lake.rows("gmv.silver.product_item")) == 5
    (left,) = listed(lake, ITEMS, "--rows")
    assert json.loads(left["row"])["purchase_id"] == HOSTILE_KEY
    assert lake.instance.get_run_by_id(moved["run"]) is not None, "a run like any other, seen in Dagster's UI"
    code_version.cache_clear()
