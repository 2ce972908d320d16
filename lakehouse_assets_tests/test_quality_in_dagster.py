"""The page and Dagster's GraphQL say the same of every day: verdicts, counts of every rule, rows."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster_graphql.test.utils import execute_dagster_graphql

from lakehouse_assets import defs as domains
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.validation.day_result import percent
from lakehouse_assets.serving.day_state import State
from lakehouse_assets.serving.quality import Quality, read_quality
from lakehouse_assets.serving.quality_html import page
from lakehouse_assets.settings import Settings, settings
from lakehouse_assets_tests.dagster_lake import DagsterLake, Parts, dagster_lake, marketplace_day

pytestmark = pytest.mark.slow

DAYS = [date(2023, 2, 1) + timedelta(days=n) for n in range(3)]
GOOD, ASIDE, RED = DAYS
BRONZE, SILVER = "gmv/bronze/purchase", "gmv/silver/purchase"
NASTY = "</script><b>soon"
RESULTS = """query($asset: AssetKeyInput!, $check: String!, $day: String!) {
  assetCheckExecutions(assetKey: $asset, checkName: $check, partition: $day, limit: 1) {
    runId status partition
    evaluation { success partition description metadataEntries { label
      ... on IntMetadataEntry { intValue }
      ... on JsonMetadataEntry { jsonString }
      ... on TableMetadataEntry { table { records } } } } } }"""
STATUSES = """query($asset: AssetKeyInput!) { assetNodeOrError(assetKey: $asset) { ... on AssetNode {
  assetChecksOrError { ... on AssetChecks { checks { name partitionStatuses { ... on AssetCheckTimePartitionStatuses {
    ranges { startKey endKey status } } } } } } } } }"""


@dataclass
class Judged:
    """Three days in Dagster: a good one, one with a row in quarantine, one that failed."""

    lake: DagsterLake
    workspace: WorkspaceProcessContext
    quality: Quality

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        result = execute_dagster_graphql(self.workspace.create_request_context(), query, variables)
        assert not result.errors, result.errors
        data: dict[str, Any] = result.data
        return data

    def evaluation(self, table: str, check: str, day: date) -> dict[str, Any]:
        """The newest evaluation of a day: run, success, and its metadata by label."""
        found = self.graphql(RESULTS, asset={"path": table.split("/")}, check=check, day=str(day))
        (execution,) = found["assetCheckExecutions"]
        entries = {entry.pop("label"): entry for entry in execution["evaluation"]["metadataEntries"]}
        return {"run": execution["runId"], "success": execution["evaluation"]["success"], "entries": entries}


@pytest.fixture(scope="module")
def validated(spark_home: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    with dagster_lake(tmp_path_factory.mktemp("quality")) as lake:
        parts: Parts = {}
        for day in DAYS:
            parts |= {part: rows for part, rows in marketplace_day(day, 120).items() if part[0] == "purchase"}
        parts["purchase", ASIDE] = [
            row | ({"release_date": "soon"} if n < 5 else {}) for n, row in enumerate(parts["purchase", ASIDE])
        ]
        parts["purchase", RED] = [
            row | ({"release_date": NASTY} if n < 80 else {}) for n, row in enumerate(parts["purchase", RED])
        ]
        lake.land(parts)
        lake.run([BRONZE, SILVER], GOOD, RED)
        target = ModuleTarget("lakehouse_assets.definitions", "definitions", None, "lakehouse")
        with WorkspaceProcessContext(lake.instance, target) as workspace:
            yield Judged(lake, workspace, read_quality(settings(), discover(domains), "gmv", None))


@pytest.mark.parametrize("table", [BRONZE, SILVER])
@pytest.mark.parametrize("day", DAYS)
def test_graphql_has_the_figures_of_the_page_for_every_day(validated: Judged, table: str, day: date) -> None:
    verdict = validated.quality.verdicts[table, day]
    contract = validated.evaluation(table, "contract", day)
    assert contract["run"] == verdict.run_id
    assert contract["success"] is (verdict.state is not State.FAILED)
    records = [json.loads(record) for record in contract["entries"]["rules"]["table"]["records"]]
    in_dagster = [(r["rule"], r["dimension"], r["action"], r["rows"], r["failed"], r["result"]) for r in records]
    counts = [rule for rule in verdict.rules if rule.check == "contract"]
    on_page = [(r.rule, r.dimension, r.action, r.rows, r.failed, r.result.value) for r in counts]
    assert sorted(on_page) == sorted(in_dagster)
    assert {r["rule"]: r["rate"] for r in records} == {r.rule: percent(r.failed, r.rows) for r in counts}
    order = [("failed", "tolerated", "passed").index(r["result"]) for r in records]
    assert order == sorted(order), "broken rules first"
    samples = {
        label.removeprefix("samples: "): json.loads(entry["jsonString"])
        for label, entry in contract["entries"].items()
        if label.startswith("samples: ")
    }
    assert {rule.rule: list(rule.samples) for rule in counts if rule.samples} == samples
    equation = validated.evaluation(table, "conservation", day)["entries"]
    rows_in, quarantined = (equation[name]["intValue"] for name in ("rows_in", "quarantined"))
    assert (verdict.rows_in, verdict.quarantined) == (rows_in, quarantined)


def test_the_states_of_the_days_are_those_of_dagsters_partitions(validated: Judged) -> None:
    node = validated.graphql(STATUSES, asset={"path": SILVER.split("/")})["assetNodeOrError"]
    statuses = {check["name"]: check["partitionStatuses"]["ranges"] for check in node["assetChecksOrError"]["checks"]}
    red = {(part["startKey"], part["endKey"]) for part in statuses["contract"] if part["status"] == "FAILED"}
    assert red == {(str(RED), str(RED))}
    passed = {(part["startKey"], part["endKey"]) for part in statuses["contract"] if part["status"] == "SUCCEEDED"}
    assert passed == {(str(GOOD), str(ASIDE))}
    assert [validated.quality.state(SILVER, day) for day in DAYS] == [State.PASSED, State.QUARANTINED, State.FAILED]


def test_samples_on_the_page_have_no_personal_data_and_stay_text(validated: Judged) -> None:
    content = page(validated.quality, discover(domains))
    assert "\\u003c/script\\u003e\\u003cb\\u003esoon" in content
    assert "<b>soon" not in content
    (data,) = re.findall(r'id="data">(.*?)</script>', content, re.DOTALL)
    shown = [
        sample
        for table in json.loads(data)["tables"]
        for cell in table["cells"].values()
        for rule in cell[-1]
        for sample in rule[6]
    ]
    assert shown
    assert all("buyer_id" not in sample for sample in shown)


def test_the_listed_query_gives_the_rows_that_were_counted(validated: Judged) -> None:
    broken = [rule for rule in validated.quality.verdicts[SILVER, ASIDE].rules if rule.failed and rule.sql]
    assert broken
    for rule in broken:
        assert len(validated.lake.sql(rule.sql)) == rule.failed
