"""Streams, brokers and servers killed: each record is once in bronze, and silver and gold are those of a quiet run."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from random import Random
from threading import Timer

import pytest
from pyspark.sql import SparkSession

from lakehouse_assets.platform.common.fault_injection import VARIABLE, Failpoint
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.runtime.spark_server import server_status, stop_server
from lakehouse_assets.platform.streams.stream_ingest import drain_available
from lakehouse_assets.samples.orders.producer import send
from lakehouse_assets.settings import Settings
from lakehouse_assets.streaming.documents import Documents
from lakehouse_assets.streaming.kafka_client import client_options, require_bootstrap
from lakehouse_assets.streaming.kafka_server import SERVER
from lakehouse_assets_tests.lake_driver import LakeDriver
from lakehouse_assets_tests.stream_process import StreamProcess
from lakehouse_assets_tests.test_kafka import BRONZE, DAY, bronze, coordinates, numbered, step, stream_of, topic_of
from lakehouse_assets_tests.test_orders import content, everything

pytestmark = pytest.mark.slow

LIVE = "orders/gold/revenue_live"
OF_DAGSTER = {Failpoint.BEFORE_EVENTS, Failpoint.BETWEEN_EVENTS, Failpoint.AFTER_EVENTS}
PLACES = [
    *[f"{place.value}:{BRONZE}" for place in (Failpoint.BEFORE_SWAP, Failpoint.AFTER_SWAP)],
    *[f"{place.value}:{LIVE}" for place in Failpoint if place not in OF_DAGSTER],
]


def is_whole(driver: LakeDriver, sent: int) -> None:
    """Each record that was sent is in bronze, once."""
    rows = coordinates(driver)
    assert len({row[:2] for row in rows}) == len(rows) == sent
    assert {row[2] for row in rows} == {str(n) for n in range(sent)}


@pytest.mark.timeout(1800)
def test_a_stream_killed_at_every_place_it_passes(broker: Settings, spark: SparkSession, tmp_path: Path) -> None:
    """A commit of bronze has no step before it and no journal of checks after it; the live table has all."""
    source, sent = topic_of(broker, "places"), 0
    driver, settled = LakeDriver.at(spark, tmp_path / "killed"), LakeDriver.at(spark, tmp_path / "quiet")
    for place in PLACES:
        send(client_options(broker), numbered(40, first=sent), source.topic)
        sent += 40
        killed = StreamProcess.start(tmp_path / "killed", source.topic, live=True, **{VARIABLE: place})
        assert killed.end() == -signal.SIGKILL, place
    stream_of(broker, driver, source).run_available()
    kept = driver.rows(LIVE, "minute", "lines", "sales")
    is_whole(driver, sent)
    drain_available(step(settled), bronze(settled), source)
    for lake in (driver, settled):
        everything(lake, [DAY])
    assert driver.rows(LIVE, "minute", "lines", "sales") == kept, "what the stream kept is what a run makes anew"
    assert content(driver) == content(settled)


KILLS = [3, pytest.param(30, marks=pytest.mark.random_kills)]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", KILLS)
def test_stream_and_broker_killed_at_random(broker: Settings, spark: SparkSession, tmp_path: Path, kills: int) -> None:
    """The stream is killed within a second after one of its commits; in odd rounds the broker just before it."""
    random, topic = Random(8), f"killed-{kills}"
    driver, source = LakeDriver.at(spark, tmp_path), topic_of(broker, topic, batch=150)
    sent = 0
    for number in range(kills):
        send(client_options(broker), numbered(600, first=sent), topic)
        sent += 600
        stream = StreamProcess.start(tmp_path, topic)
        stream.until(lambda line: "version" in line)
        stream.process.join(random.uniform(0, 1))
        if number % 2:
            SERVER.stop(broker, force=True)
        stream.kill()
        if number % 2:
            SERVER.start(broker)
    drain_available(step(driver), bronze(driver), source)
    is_whole(driver, sent)


def test_a_stream_goes_on_when_the_spark_server_was_killed(
    broker: Settings, spark: SparkSession, tmp_path: Path
) -> None:
    """Killed between two batches of a backlog: the stream starts a server, and reads on where the table is."""
    driver, source = LakeDriver.at(spark, tmp_path), topic_of(broker, "server")
    own = Settings(home=tmp_path / "own", spark_heap="1g")
    send(client_options(broker), numbered(600), source.topic)
    try:
        stream = StreamProcess.start(
            tmp_path, source.topic, LAKEHOUSE_HOME=str(own.home), LAKEHOUSE_SPARK_HEAP="1g",
            LAKEHOUSE_KAFKA_BOOTSTRAP=require_bootstrap(broker),
        )  # fmt: skip
        stream.until(lambda line: "version 0" in line)
        server = server_status(own).pid
        assert server is not None
        os.kill(server, signal.SIGKILL)
        message = stream.until(lambda line: "lag 0" in line)
        assert any("Again in" in line for line in message), message
        send(client_options(broker), numbered(100, first=600), source.topic)
        stream.until(lambda line: "lag 0" in line)
        stream.kill()
    finally:
        stop_server(own)
    is_whole(driver, 700)


DOCUMENTS = 400


@pytest.fixture
def bucket(spark_home: Settings) -> Iterator[str]:
    """A bucket of this home's S3 server, with documents."""
    from lakehouse_assets.streaming import s3_client
    from lakehouse_assets.streaming.s3_server import SERVER as S3

    S3.start(spark_home)
    s3_client.create_bucket(spark_home, "killed")
    client = s3_client.client(spark_home)
    for number in range(DOCUMENTS):
        client.put_object(Bucket="killed", Key=f"input/{number}.json", Body=json.dumps({"number": number}).encode())
    yield "s3://killed/input/"
    S3.stop(spark_home)


@pytest.mark.nightly  # resolves the S3 server's jars, which takes minutes
@pytest.mark.timeout(1800)
def test_the_s3_server_killed_in_the_middle_of_a_drain(
    spark_home: Settings, spark: SparkSession, tmp_path: Path, bucket: str
) -> None:
    """Killed at random while documents are listed, read and committed: nothing is lost, and nothing comes twice."""
    from lakehouse_assets.streaming.s3_client import S3Error
    from lakehouse_assets.streaming.s3_server import SERVER as S3

    random, driver, refused = Random(5), LakeDriver.at(spark, tmp_path), 0
    table = driver.catalog.table(TableKey.parse("marketplace/bronze/marketing_place"))
    source = Documents(bucket, batch=90)
    for _ in range(8):
        killer = Timer(random.uniform(0, 1.5), lambda: S3.stop(spark_home, force=True))
        killer.start()
        try:
            drain_available(step(driver), table, source)
        except S3Error:
            refused += 1
        killer.join()
        S3.start(spark_home)
    drain_available(step(driver), table, source)
    numbers = [json.loads(text)["number"] for (text,) in driver.rows(str(table.key), "document")]
    assert sorted(numbers) == list(range(DOCUMENTS))
    assert refused, "the server was killed while it was needed"
