"""How a stream does, seen from outside: metrics for Prometheus, `stream status`, Dagster's observations, the page."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen

import dagster as dg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pyspark.sql import SparkSession

from lakehouse_assets.definitions import catalog, definitions
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.streams.stream_ingest import drain_available
from lakehouse_assets.settings import Settings, settings
from lakehouse_assets.streaming.documents import Documents
from lakehouse_assets.streaming.latency import Latency, Moment
from lakehouse_assets.streaming.latency_page import page
from lakehouse_assets.streaming.metrics import HOST, PortTaken, serve
from lakehouse_assets.streaming.state import State
from lakehouse_assets_tests.dagster_lake import DagsterLake, dagster_lake
from lakehouse_assets_tests.test_marketplace import document, write

ONE, TWO = date(2024, 3, 1), date(2024, 3, 2)


def scraped(port: int) -> dict[str, float]:
    """The samples that Prometheus would store, of whatever stream."""
    with urlopen(f"http://{HOST}:{port}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {sample.name.removeprefix("lakehouse_stream_"): sample.value for f in families for sample in f.samples}


def test_prometheus_reads_what_the_stream_says() -> None:
    state = State.begin("orders", "orders/bronze/order_events", "continuous")
    port = serve(0, lambda: [state])
    fresh = scraped(port)
    assert (fresh["running"], fresh["records_total"], fresh["failing"]) == (1, 0, 0)
    assert not {"lag_records", "position_age_seconds", "last_version"} & set(fresh), "what it does not know is left out"
    state.took(500, 7, lag=40)
    state.took(300, 8, lag=10)
    state.failed(ValueError("the broker is gone"))
    state.restarts += 1
    now = scraped(port)
    assert (now["records_total"], now["commits_total"], now["restarts_total"]) == (800, 2, 1)
    assert (now["lag_records"], now["last_version"], now["failing"]) == (10, 8, 1)
    assert now["rate_records_per_second"] > 0
    assert 0 <= now["position_age_seconds"] < 60
    assert now["last_commit_timestamp_seconds"] == pytest.approx(datetime.now(UTC).timestamp(), abs=60)
    with pytest.raises(PortTaken, match=f"{HOST}:{port}.*--metrics-port"):
        serve(port, lambda: [state])


def test_the_page_shows_the_course_and_whether_the_bar_is_met() -> None:
    def at(second: int, live: float) -> Moment:
        return Moment(
            datetime(2024, 3, 1, tzinfo=UTC) + timedelta(seconds=second), 10, {0.5: 1, 0.95: 2, 1.0: 3},
            {0.5: 1, 0.95: live, 1.0: live},
        )  # fmt: skip

    def of(live: float) -> Latency:
        course = (at(0, live), at(10, live / 2))
        return Latency("o/bronze/<b>", "o/gold/live", 20, 1000.4, course[0].bronze, course[0].live, 10, course)

    text = page([of(12.25)])
    assert 'class="met">met<' in text
    assert "12.2 s" in text
    assert "20 events, 1,000 a second" in text
    assert "o/bronze/&lt;b&gt;" in text
    assert text.count("<polyline") == 6
    assert 'class="missed">missed<' in page([of(15.1)])
    assert "<script" not in text
    assert "No event" in page([])


@pytest.fixture
def lake(spark_home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagsterLake]:
    monkeypatch.setenv("LAKEHOUSE_INBOX", str(tmp_path / "inbox"))
    monkeypatch.setenv("LAKEHOUSE_DOCUMENTS", str(tmp_path / "documents"))
    with dagster_lake(tmp_path) as found:
        yield found


@pytest.mark.slow
def test_every_stream_has_a_status_that_of_files_too(lake: DagsterLake) -> None:
    inbox = lake.folder / "inbox" / "loyalty" / "transacao"
    inbox.mkdir(parents=True)
    (inbox / "2024-01-30.csv").write_text("x")
    write(lake.folder / "documents", "a", document("a", 1, "PAID"))
    found = {row["stream"]: row for row in json.loads(lake.cli("stream", "status", "--format", "json").output)}
    assert set(found) == {"loyalty", "marketplace", "orders"}
    assert (found["loyalty"]["table"], found["loyalty"]["lag"]) == ("files of loyalty", 1)
    assert (found["marketplace"]["lag"], found["marketplace"]["mode"]) == (1, "never ran")
    assert lake.cli("stream", "status", "marketplace", fails=True).exit_code == 1, "for a health check: it is down"


@pytest.mark.slow
def test_commits_of_a_stream_are_observed_in_dagster_and_fire_what_reads_them(
    lake: DagsterLake, spark: SparkSession
) -> None:
    """Per touched day an observation with the Delta version; then silver of exactly these days is asked for."""
    folder, table = lake.folder / "documents", catalog.table(TableKey.parse("marketplace/bronze/marketing_place"))
    for name, day in (("a", ONE), ("b", ONE), ("c", TWO)):
        file = write(folder, name, document(name, 1, "PAID"))
        changed = datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()
        os.utime(file, (changed, changed))
    step = Step(spark, Lake(settings().lake, settings().landing), catalog, "stream")
    drain_available(step, table, Documents(str(folder), batch=2))
    sensors = definitions.get_repository_def()
    observed = sensors.get_sensor_def("marketplace_unreported_commits")(dg.build_sensor_context(instance=lake.instance))
    assert isinstance(observed, dg.SensorResult)
    told = [event for event in observed.asset_events if isinstance(event, dg.AssetObservation)]
    assert [(event.asset_key.path, event.partition) for event in told] == [
        (list(table.key.parts), str(ONE)),
        (list(table.key.parts), str(TWO)),
    ]
    assert [event.metadata["delta_version"].value for event in told] == [0, 1]
    assert [event.metadata["records"].value for event in told] == [2, 1]
    assert told[0].metadata["position"].data == {"place": str(folder), "places": [str(folder)]}  # type: ignore[union-attr]
    asked = sensors.get_sensor_def("marketplace_staleness")(dg.build_sensor_context(instance=lake.instance))
    assert isinstance(asked, dg.SensorResult)
    for request in asked.run_requests or ():
        assert {key.path[1] for key in request.asset_selection or ()} <= {"silver", "gold"}
        ends = [request.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end")]
        assert ends == [str(ONE), str(TWO)]
    assert asked.run_requests
