"""GMV in Dagster's UI: the graph, a backfill launched there, a day with its versions, its checks day by day."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from lakehouse_assets.platform.declare.table import LAYERS
from lakehouse_assets.settings import Settings
from lakehouse_assets_tests.browser import (
    Browser,
    Product,
    chromium_on,
    require_chromium,
    running_product,
)
from lakehouse_assets_tests.dagster_lake import DagsterLake, dagster_lake
from lakehouse_assets_tests.gmv_histories import TABLES

pytestmark = pytest.mark.browser

FIRST, LAST, DAY = "2023-01-01", "2023-01-12", "2023-01-05"
DAYS = 12
NEXT = "2023-01-13"
MADE = [f"gmv/{layer}/{table}" for layer in ("bronze", "silver") for table in TABLES] + [
    "gmv/gold/gmv",
    "gmv/gold/gmv_current",
]
FINISH_SECONDS = 300
SENSORS = "{ repositoriesOrError { ... on RepositoryConnection { nodes { sensors { sensorState { id } } } } } }"
STOP_SENSOR = "mutation($id: String!) { stopSensor(id: $id) { __typename } }"
START_SENSOR = "mutation($of: SensorSelector!) { startSensor(sensorSelector: $of) { __typename } }"
NEWEST = """query($asset: AssetKeyInput!, $day: String!) { assetNodeOrError(assetKey: $asset) { ... on AssetNode {
    latestMaterializationByPartition(partitions: [$day]) { runId } } } }"""
STALE = """query($asset: AssetKeyInput!, $day: String!) { assetNodeOrError(assetKey: $asset) { ... on AssetNode {
    staleStatus(partition: $day) staleCauses(partition: $day) { reason } } } }"""
BACKFILL = """query($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill {
    status runs(limit: 10) { status } assetBackfillData { assetBackfillStatuses { ... on AssetPartitionsStatusCounts {
        assetKey { path } numPartitionsTargeted numPartitionsMaterialized numPartitionsFailed } } } } } }"""


@pytest.fixture(scope="module")
def lake(spark_home: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterLake]:
    require_chromium()
    with dagster_lake(tmp_path_factory.mktemp("browser")) as lake:
        yield lake


@pytest.fixture(scope="module")
def product(lake: DagsterLake) -> Iterator[Product]:
    with running_product(lake.folder / "dev.log") as product:
        for repository in product.graphql(SENSORS)["repositoriesOrError"]["nodes"]:
            for sensor in repository["sensors"]:  # which would make the landed days before a person asks for them
                stopped = product.graphql(STOP_SENSOR, id=sensor["sensorState"]["id"])["stopSensor"]
                assert stopped["__typename"] == "StopSensorMutationResult", stopped
        land_feeds(lake)
        yield product


@pytest.fixture(scope="module")
def browser(product: Product, lake: DagsterLake) -> Iterator[Browser]:
    with chromium_on(product, lake.folder / "screenshots") as browser:
        yield browser


@pytest.fixture(scope="module")
def backfill(browser: Browser) -> dict[str, Any]:
    """The state of a backfill of the whole group, launched in the UI, when it has ended."""
    return finished(browser.product, launch_backfill(browser))


def graph(group: str, *boxes: str) -> str:
    """The page of the graph of a group, with these boxes open."""
    opened = quote(",".join(f"global@global:{box}" for box in boxes))
    return "asset-groups~" + quote(f'group:"{group}"', safe="") + f"/?expanded={opened}"


def land_feeds(lake: DagsterLake) -> None:
    feeds = lake.folder / "feeds"
    asked = ("--days", f"{FIRST}..{LAST}", "--purchases", "40", "--seed", "7", "--defects", "0.02")
    lake.cli("generate", "gmv", *asked, "--out", str(feeds))
    for table in TABLES:
        lake.cli("land", f"gmv/{table}", *map(str, sorted((feeds / table).glob("*.csv"))))


def launch_backfill(browser: Browser) -> str:
    """Materialize all, choose the days, look at the preview, launch: as a person does. Its id."""
    page = browser.open(graph("gmv/*"))
    page.get_by_role("button", name="Materialize all").click()
    page.get_by_role("button", name="Show all partitions").click()
    days = page.get_by_placeholder("ex: 2020-01-01").locator("visible=true")
    days.fill(f"[{FIRST}...{LAST}]")
    days.press("Enter")
    expect(browser.seen(f"{DAYS} partitions")).to_be_visible()
    page.get_by_role("button", name="Preview").click()
    expect(browser.seen("Backfills all partitions in a single run")).to_have_count(len(MADE))
    expect(browser.seen(f"{FIRST}...{LAST}"), "no table is made for other days").to_have_count(len(MADE))
    browser.screenshot("backfill-preview")
    page.get_by_role("button", name="OK").click()
    page.get_by_role("button", name="Launch backfill").click()
    message = page.get_by_text(re.compile(r"Created backfill"))
    return str(message.first.locator("span").inner_text())


def finished(product: Product, backfill: str) -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = product.graphql(BACKFILL, id=backfill)["partitionBackfillOrError"]
        return found | {"id": backfill} if found["status"] not in ("REQUESTED", "COMPLETING") else None

    return product.until(ended, FINISH_SECONDS, "the end of the backfill")


def test_the_graph_shows_a_box_for_each_layer_and_every_table_in_its_own(browser: Browser) -> None:
    browser.open(graph("gmv/*", "gmv", *(f"gmv/{layer}" for layer in LAYERS)))
    for layer in LAYERS:
        expect(browser.seen(layer)).to_be_visible()
    browser.screenshot("graph")
    for layer in LAYERS:
        browser.open(graph(f"gmv/{layer}", "gmv", f"gmv/{layer}"))
        for table in ("gmv_current",) if layer == "gold" else TABLES:
            expect(browser.seen(table)).to_be_visible()


def test_a_range_launched_in_the_ui_is_one_run_that_makes_every_day(browser: Browser, backfill: dict[str, Any]) -> None:
    assert backfill["status"] == "COMPLETED_SUCCESS", browser.product.last_lines()
    assert [run["status"] for run in backfill["runs"]] == ["SUCCESS"], "BackfillPolicy.single_run, upstream and all"
    counts = {"/".join(s.pop("assetKey")["path"]): s for s in backfill["assetBackfillData"]["assetBackfillStatuses"]}
    everything = {"numPartitionsTargeted": DAYS, "numPartitionsMaterialized": DAYS, "numPartitionsFailed": 0}
    assert counts == dict.fromkeys(MADE, everything)
    browser.open(f"runs/b/{backfill['id']}")
    expect(browser.seen("100% completed")).to_have_count(len(MADE))
    expect(browser.seen("Succeeded").first).to_be_visible()
    browser.screenshot("backfill")


@pytest.mark.usefixtures("backfill")
def test_after_the_run_the_graph_says_passed(browser: Browser) -> None:
    # The last check of a table is the nightly one, by Pandera. Bronze and gold have no event time: `freshness` is there
    # where a deadline is declared, for the ledger, and not evaluated by a run.
    for layer, checks in (("bronze", {"2 / 3": 3}), ("silver", {"3 / 4": 3}), ("gold", {"2 / 4": 1, "2 / 3": 1})):
        browser.open(graph(f"gmv/{layer}", "gmv", f"gmv/{layer}"))
        for passed, tables in checks.items():
            expect(browser.seen(f"{passed} Passed")).to_have_count(tables)
        browser.screenshot(f"graph-after-{layer}")


@pytest.mark.usefixtures("backfill")
@pytest.mark.parametrize(
    ("table", "inputs"),
    [
        ("gmv/silver/purchase", ["gmv/bronze/purchase"]),
        ("gmv/gold/gmv", [f"gmv/silver/{table}" for table in TABLES]),
        ("gmv/gold/gmv_current", ["gmv/gold/gmv"]),
    ],
)
def test_a_day_shows_which_versions_it_was_made_from(browser: Browser, table: str, inputs: list[str]) -> None:
    page = browser.open(f"assets/{table}?view=partitions&partition={DAY}")
    expect(browser.seen(f"Materialized ({DAYS})")).to_be_visible()
    metadata = page.get_by_role("table").filter(has_text="input_versions")
    row = metadata.get_by_role("row")
    expect(row.filter(has_text="delta_version")).to_contain_text(re.compile(r"delta_version\s*\d+"))
    for name in inputs:
        expect(row.filter(has_text="input_versions")).to_contain_text(re.compile(rf'"{name}": {{[^}}]*"version": \d+'))
    browser.screenshot(f"day-{table.replace('/', '-')}")
    node = browser.product.graphql(STALE, asset={"path": table.split("/")}, day=DAY)["assetNodeOrError"]
    assert node == {"staleStatus": "FRESH", "staleCauses": []}, "shown as Unsynced, though nothing has changed since"


@pytest.mark.usefixtures("backfill")
@pytest.mark.parametrize(
    ("check", "message", "metadata"),
    [
        ("contract", r"^\d+ of \d+ rows in quarantine$", "purchase_id:not_null"),
        ("conservation", r"^\d+ in = \d+ kept \+ \d+ quarantined \+ \d+ duplicates$", "quarantined"),
        ("freshness", r"^The newest record is .* older than the end of the day\.$", "newest"),
    ],
)
def test_the_checks_tab_has_a_result_for_every_day(browser: Browser, check: str, message: str, metadata: str) -> None:
    page = browser.open(f"assets/gmv/silver/purchase?view=checks&checkDetail={check}")
    page.locator("button#partitions").click()
    expect(browser.seen(f"Passed ({DAYS})")).to_be_visible()
    page.get_by_placeholder("Filter by partition").fill(DAY)
    expect(browser.seen("1 Partitions Selected")).to_be_visible()
    browser.seen(DAY).last.click()
    expect(page.get_by_text(re.compile(message)).first).to_be_visible()
    expect(page.get_by_text(metadata, exact=True).first).to_be_visible()
    browser.screenshot(f"check-{check}")


@pytest.mark.usefixtures("backfill")
def test_a_dropped_file_becomes_gold_with_nobody_touching_it(browser: Browser, lake: DagsterLake) -> None:
    product = browser.product
    of = {"repositoryName": "__repository__", "repositoryLocationName": "lakehouse"}
    for sensor in ("gmv_unreported_commits", "gmv_staleness"):
        started = product.graphql(START_SENSOR, of=of | {"sensorName": sensor})["startSensor"]
        assert started["__typename"] == "Sensor", started
    feeds = lake.folder / "dropped"
    lake.cli("generate", "gmv", "--days", f"{NEXT}..{NEXT}", "--purchases", "40", "--seed", "8", "--out", str(feeds))
    for table in TABLES:
        lake.cli("land", f"gmv/{table}", *map(str, sorted((feeds / table).glob("*.csv"))))

    def gold() -> dict[str, Any] | None:
        asset = {"path": ["gmv", "gold", "gmv"]}
        node: dict[str, Any] = product.graphql(NEWEST, asset=asset, day=NEXT)["assetNodeOrError"]
        (newest,) = node["latestMaterializationByPartition"]
        return newest

    fired = product.until(gold, FINISH_SECONDS, "gold of the dropped day")
    page = browser.open("automation")
    expect(browser.seen("gmv_staleness")).to_be_visible()
    browser.screenshot("sensors")
    browser.open(f"runs/{fired['runId']}")
    expect(browser.seen("gmv_staleness").first, "the run says which sensor asked for it").to_be_visible()
    browser.screenshot("fired-run")
    page = browser.open(f"assets/gmv/gold/gmv?view=partitions&partition={NEXT}")
    row = page.get_by_role("table").filter(has_text="input_versions").get_by_role("row")
    for table in TABLES:
        expect(row.filter(has_text="input_versions")).to_contain_text(f"gmv/silver/{table}")
    browser.screenshot("fired-gold")
    page = browser.open(f"assets/gmv/landing/purchase?view=partitions&partition={NEXT}")
    expect(page.get_by_text("manifest_version").first, "the landed file is reported too").to_be_visible()
    browser.screenshot("landed")
    page = browser.open("assets/gmv/gold/gmv?view=checks&checkDetail=contract")
    page.locator("button#partitions").click()
    expect(browser.seen(f"Passed ({DAYS + 1})")).to_be_visible()
    browser.screenshot("fired-checks")
