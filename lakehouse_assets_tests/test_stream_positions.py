"""How far a source was read, lost or moved, by every door: nothing is read twice, and a message says what was found."""

import json
import shutil
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from lakehouse_assets.defs.orders.event import ONLINE_RETAIL
from lakehouse_assets.platform.common.source_days import SourceDays
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.ingest.landing import manifest_path
from lakehouse_assets.platform.storage.delta_table import last_position
from lakehouse_assets.platform.streams.stream_ingest import drain_available
from lakehouse_assets.samples.orders.producer import send
from lakehouse_assets.settings import Settings
from lakehouse_assets.streaming.documents import Documents
from lakehouse_assets.streaming.kafka_client import client_options
from lakehouse_assets.streaming.kafka_topic import KafkaTopic
from lakehouse_assets_tests.lake_driver import LakeDriver
from lakehouse_assets_tests.test_kafka import BRONZE, DAY, bronze, coordinates, numbered, step, topic_of
from lakehouse_assets_tests.test_orders import csv_of, line

pytestmark = pytest.mark.slow


def test_a_topic_goes_on_where_its_table_is(
    broker: Settings, spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Brought back to an older version; copied to another folder, where no commit says a position; another topic."""
    driver, source = LakeDriver.at(spark, tmp_path), topic_of(broker, "moved", batch=60)
    path = driver.lake.path(bronze(driver).key)
    send(client_options(broker), numbered(90), source.topic)
    drain_available(step(driver), bronze(driver), source)
    read = last_position(path, 0)
    spark.sql(f"RESTORE TABLE delta.`{path}` TO VERSION AS OF 0").collect()
    assert last_position(path) == read, "rows and position are brought back together"
    assert source.lag(path) == 90 - len(coordinates(driver)) > 0
    drain_available(step(driver), bronze(driver), source)
    assert {key for *_, key in coordinates(driver)} == {str(n) for n in range(90)}
    assert len(coordinates(driver)) == 90

    copied = LakeDriver.at(spark, tmp_path / "copied")
    spark.read.format("delta").load(str(path)).write.format("delta").save(str(copied.lake.path(bronze(copied).key)))
    assert "no commit says how far the topic moved was read" not in caplog.text
    assert drain_available(step(copied), bronze(copied), source) == []
    assert "no commit says how far the topic moved was read" in caplog.text
    send(client_options(broker), numbered(10, first=90), source.topic)
    drain_available(step(copied), bronze(copied), source)
    assert len(coordinates(copied)) == len({row[:2] for row in coordinates(copied)}) == 100

    other = topic_of(broker, "moved-on", partitions=1)
    send(client_options(broker), numbered(5, first=100), other.topic)
    drain_available(step(driver), bronze(driver), other)
    topics = [topic for (topic,) in driver.rows(BRONZE, "topic")]
    assert (topics.count("moved"), topics.count("moved-on")) == (90, 5)
    drain_available(step(driver), bronze(driver), source)
    assert len(coordinates(driver)) == 105, "back at the first topic: it is read on, not again"


def test_a_topic_that_was_never_made_is_not_waited_for(broker: Settings, spark: SparkSession, tmp_path: Path) -> None:
    driver, source = LakeDriver.at(spark, tmp_path), KafkaTopic("never-made", SourceDays(date(2009, 1, 1)))
    assert source.end(driver.lake.path(bronze(driver).key)) is None
    assert drain_available(step(driver), bronze(driver), source) == []


def test_documents_that_moved_with_their_place_are_known(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder renamed; then the position lost with the log: the rows themselves say what was read."""
    driver, here, there = LakeDriver.at(spark, tmp_path / "lake"), tmp_path / "old" / "input", tmp_path / "new"
    table = driver.catalog.table(TableKey.parse("marketplace/bronze/marketing_place"))
    here.mkdir(parents=True)
    for number in range(3):
        (here / f"{number}.json").write_text(json.dumps({"number": number}))
    drain_available(step(driver), table, Documents(str(here)))
    (tmp_path / "old").rename(there)
    moved = Documents(str(there / "input"))
    assert moved.lag(driver.lake.path(table.key)) == 0
    assert drain_available(step(driver), table, moved) == []
    (there / "input" / "3.json").write_text(json.dumps({"number": 3}))
    assert [batch.records for batch in drain_available(step(driver), table, moved)] == [1]
    assert "3 of the 4 documents there were read already" in caplog.text
    (there / "input" / "0.json").write_text(json.dumps({"number": 4}))
    assert [batch.records for batch in drain_available(step(driver), table, moved)] == [1], "overwritten: another one"

    copied = LakeDriver.at(spark, tmp_path / "copied")
    rows = spark.read.format("delta").load(str(driver.lake.path(table.key))).where("path LIKE '%/new/%'")
    rows.write.format("delta").save(str(copied.lake.path(table.key)))
    drain_available(step(copied), table, moved)
    assert len(copied.rows(str(table.key), "path", "etag")) == 4, "what the copy lacked, and nothing twice"


def test_files_landed_again_after_the_manifest_was_lost_are_there_once(spark: SparkSession, tmp_path: Path) -> None:
    driver = LakeDriver.at(spark, tmp_path)
    file = csv_of(tmp_path / "day.csv", dict(ONLINE_RETAIL), [line(), line(invoice_no="2")])
    driver.land("orders/order_events", file)
    driver.make(BRONZE, [DAY])
    held = driver.rows(BRONZE, "key", "topic", "offset")
    shutil.rmtree(manifest_path(driver.lake.landing, "orders/order_events"))
    assert not driver.land("orders/order_events", file).already_landed
    driver.make(BRONZE, [DAY])
    assert driver.rows(BRONZE, "key", "topic", "offset") == held
