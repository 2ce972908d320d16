"""What a topic may hold or lose: nothing of it stops the stream, is counted that does not count, or goes in silence."""

import json
import signal
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from lakehouse_assets.ops.quarantine import counts
from lakehouse_assets.platform.common.fault_injection import VARIABLE, Failpoint
from lakehouse_assets.platform.common.source_days import SourceDays
from lakehouse_assets.platform.results.audit_log import audit_path
from lakehouse_assets.platform.storage.delta_table import query_rows
from lakehouse_assets.platform.streams.set_aside import beside
from lakehouse_assets.platform.streams.stream_ingest import drain, drain_available
from lakehouse_assets.platform.streams.stream_log import log_of
from lakehouse_assets.samples.orders.producer import send
from lakehouse_assets.settings import Settings, settings
from lakehouse_assets.streaming import kafka_topic
from lakehouse_assets.streaming.kafka_client import client_options
from lakehouse_assets.streaming.kafka_topic import GoneRecords, KafkaTopic
from lakehouse_assets_tests.lake_driver import LakeDriver
from lakehouse_assets_tests.stream_process import StreamProcess
from lakehouse_assets_tests.test_kafka import BRONZE, DAY, bronze, coordinates, numbered, step, topic_of

GOOD = 1294142400000
FIRST, NOW = date(2009, 1, 1), datetime(2026, 1, 1, 15, tzinfo=UTC)


@given(st.integers(-(2**63), 2**63 - 1), st.sampled_from(["UTC", "Pacific/Auckland", "America/Sao_Paulo"]))
@example(GOOD * 1_000, "UTC")
@example(GOOD * 1_000_000, "UTC")
@example(-1, "UTC")
def test_a_day_is_of_the_source_if_it_lies_within_its_bounds(milliseconds: int, zone: str) -> None:
    days = SourceDays(FIRST, zone=zone)
    day = days.day_of(milliseconds)
    first = datetime(2008, 12, 30, tzinfo=UTC).timestamp() * 1000
    last = (NOW + timedelta(days=3)).timestamp() * 1000
    if day is None or not first < milliseconds < last:
        assert days.fault_of_record(day, NOW)
    assert (days.fault_of_record(day, NOW) is None) == (day is not None and FIRST <= day <= days.of_records(NOW).last)


def test_a_day_is_one_of_the_sources_zone() -> None:
    assert SourceDays(FIRST, zone="Pacific/Auckland").of_records(NOW).last == date(2026, 1, 3)
    assert SourceDays(FIRST, last=date(2020, 1, 1)).of_records(NOW).last == date(2020, 1, 1)
    assert SourceDays(FIRST, zone="America/Sao_Paulo").day_of(1) == date(1969, 12, 31)


def any_time(broker: Settings, name: str) -> KafkaTopic:
    """A topic that takes any timestamp, as those of older brokers do."""
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    most = str(2**63 - 1)
    config = {
        "message.timestamp.after.max.ms": most,
        "message.timestamp.before.max.ms": most,
        "retention.ms": "-1",
        "max.message.bytes": str(2**23),
    }
    wanted = NewTopic(name, num_partitions=1, config=config)
    admin = AdminClient(client_options(broker))
    admin.create_topics([wanted])[name].result()
    return KafkaTopic(name, SourceDays(FIRST))


def produce(broker: Settings, topic: str, records: Sequence[tuple[int, bytes]]) -> None:
    from confluent_kafka import Producer

    producer = Producer(client_options(broker) | {"message.max.bytes": 2**23})
    for timestamp, value in records:
        producer.produce(topic, value=value, timestamp=timestamp)
    producer.flush()


ODD = [GOOD * 1_000, GOOD * 1_000_000, GOOD // 1_000, 32503680000000]


@pytest.mark.slow
def test_a_record_of_a_day_that_the_source_cannot_have_is_set_aside_and_the_rest_goes_on(
    broker: Settings, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """Microseconds (year 42979), nanoseconds (beyond Spark), seconds (1970), the year 3000; where Spark reads."""
    monkeypatch.setattr(kafka_topic, "SMALL_BATCH", 3)
    driver, source = LakeDriver.at(spark, tmp_path), any_time(broker, "odd-times")
    path = driver.lake.path(bronze(driver).key)
    produce(broker, source.topic, [(GOOD, b"1"), *[(at, b"odd") for at in ODD], (GOOD, b"2"), (GOOD, b"3")])
    batches = drain_available(step(driver), bronze(driver), source)
    produce(broker, source.topic, [(GOOD, b"4")])
    batches += drain_available(step(driver), bronze(driver), source)
    assert (sum(batch.records for batch in batches), batches[-1].lag) == (4, 0)
    assert driver.rows(BRONZE, "value", "feed_day") == [(str(n), DAY) for n in range(1, 5)]
    aside = query_rows(beside(path), "SELECT * FROM t ORDER BY row_number")
    assert [json.loads(row["row"])["timestamp"] for row in aside] == ODD
    assert [json.loads(row["row"])["value"] for row in aside] == ["odd"] * 4
    assert ["no calendar" in row["reason"] for row in aside] == [True, True, False, False]
    assert "4 records were set aside" in caplog.text
    here = broker.model_copy(update={"root": tmp_path})
    listed = counts(here, "orders/bronze/order_events", None).rows
    assert [row[2:] for row in listed] == [("day_is_of_the_source", 4)], "lakehouse quarantine list"
    again = replace(source)
    spark.sql(f"RESTORE TABLE delta.`{path}` TO VERSION AS OF 0").collect()
    drain_available(step(driver), bronze(driver), again)
    assert len(query_rows(beside(path), "SELECT * FROM t")) == 4, "read again, a record is not set aside again"


@pytest.mark.slow
def test_records_of_transactions_count_when_they_are_committed(
    broker: Settings, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Aborted, committed, still open; a marker alone; read by the client and by Spark. Markers are no lag."""
    from confluent_kafka import Producer

    monkeypatch.setattr(kafka_topic, "SMALL_BATCH", 2)
    topic = "transactions"
    driver, source = LakeDriver.at(spark, tmp_path), topic_of(broker, topic, partitions=1)
    path = driver.lake.path(bronze(driver).key)
    producer = Producer(client_options(broker) | {"transactional.id": topic})
    producer.init_transactions()

    def transaction(*values: bytes) -> None:
        producer.begin_transaction()
        for value in values:
            producer.produce(topic, value=value, timestamp=GOOD)
        producer.flush()

    transaction(b"a", b"b", b"c")
    producer.abort_transaction()
    transaction(b"1", b"2", b"3")
    producer.commit_transaction()
    transaction(b"4", b"5", b"6")
    drain_available(step(driver), bronze(driver), source)
    assert [value for (value,) in driver.rows(BRONZE, "value")] == ["1", "2", "3"]
    assert source.lag(path) == 0, "neither markers nor what may yet be aborted"
    producer.commit_transaction()
    drain_available(step(driver), bronze(driver), source)
    transaction(b"x")
    producer.abort_transaction()
    drain_available(step(driver), bronze(driver), source)
    assert [value for (value,) in driver.rows(BRONZE, "value")] == [str(n) for n in range(1, 7)]
    assert source.lag(path) == 0
    version = driver.lake.version(bronze(driver).key)
    assert drain(step(driver), bronze(driver), source) is None
    assert driver.lake.version(bronze(driver).key) == version


@pytest.mark.slow
def test_records_that_expired_are_given_up_when_that_is_asked_for_and_the_audit_says_which(
    broker: Settings, spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where nothing is left to read."""
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import AdminClient

    driver, source = LakeDriver.at(spark, tmp_path), topic_of(broker, "expired", partitions=1)
    admin, giving_up = AdminClient(client_options(broker)), replace(source, accept_loss=True)

    def expire(before: int) -> None:
        for deleted in admin.delete_records([TopicPartition(source.topic, 0, before)]).values():
            deleted.result()

    send(client_options(broker), numbered(10), source.topic)
    drain_available(step(driver), bronze(driver), source)
    send(client_options(broker), numbered(10, first=10), source.topic)
    expire(15)
    with pytest.raises(GoneRecords, match="lakehouse stream orders --accept-loss"):
        drain_available(step(driver), bronze(driver), source)
    assert [batch.records for batch in drain_available(step(driver), bronze(driver), giving_up)] == [5]
    assert "partition 0, offsets 10 to 14" in caplog.text
    assert drain_available(step(driver), bronze(driver), source) == [], "from then on as ever"
    send(client_options(broker), numbered(3, first=20), source.topic)
    expire(23)
    assert [batch.records for batch in drain_available(step(driver), bronze(driver), giving_up)] == [0]
    assert drain_available(step(driver), bronze(driver), source) == []
    assert {offset for _, offset, _ in coordinates(driver)} == {*range(10), *range(15, 20)}
    message = query_rows(audit_path(driver.lake.tables, "orders"), "SELECT * FROM t WHERE status = 'loss_accepted'")
    lost = [(row["rows_in"], json.loads(row["input_versions"])) for row in message]
    assert sorted(lost, key=str) == [
        (3, {"topic": "expired", "lost": {"0": [20, 23]}}),
        (5, {"topic": "expired", "lost": {"0": [10, 15]}}),
    ]


@pytest.mark.slow
def test_a_batch_is_bounded_by_bytes(
    broker: Settings, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a few large records, of many (which Spark reads), and one that is larger than a batch."""
    monkeypatch.setenv("LAKEHOUSE_STREAM_BATCH_BYTES", "100000")
    settings.cache_clear()
    driver, source = LakeDriver.at(spark, tmp_path), any_time(broker, "bytes")

    def records(*sizes: int) -> list[int]:
        produce(broker, source.topic, [(GOOD, b"x" * size) for size in sizes])
        return [batch.records for batch in drain_available(step(driver), bronze(driver), source)]

    try:
        assert records(*[40_000] * 5, 300_000, 1) == [2, 2, 1, 1, 1]
        monkeypatch.setattr(kafka_topic, "SMALL_BATCH", 10)
        assert records(*[1_000] * 4_000) == [1600, 1600, 800]
    finally:
        monkeypatch.undo()
        settings.cache_clear()


@pytest.mark.slow
def test_what_a_stream_asks_of_its_log_costs_what_came_since(
    broker: Settings, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lakehouse_assets.platform.storage import commit_actions, commit_log, delta_table
    from lakehouse_assets.platform.streams import stream_log

    driver, source = LakeDriver.at(spark, tmp_path), topic_of(broker, "costs", partitions=1)
    for number in range(6):
        send(client_options(broker), numbered(1, first=number), source.topic)
        drain_available(step(driver), bronze(driver), source)
    read: list[int] = []
    for module in (commit_actions, delta_table, commit_log, stream_log):
        for name in ("info_of", "actions_of"):
            if hasattr(module, name):
                original = getattr(module, name)

                def counted(path: Any, version: int, original: Any = original) -> Any:
                    read.append(version)
                    return original(path, version)

                monkeypatch.setattr(module, name, counted)
    assert drain(step(driver), bronze(driver), source) is None
    assert read == [], "idle"
    send(client_options(broker), numbered(1, first=6), source.topic)
    drain(step(driver), bronze(driver), source)
    assert set(read) <= {5, 6}, "the version before, and its own"


@pytest.mark.slow
def test_a_stream_killed_between_its_commit_and_its_audit_leaves_the_row_to_the_next(
    broker: Settings, spark: SparkSession, tmp_path: Path
) -> None:
    driver, source = LakeDriver.at(spark, tmp_path), topic_of(broker, "unaudited", partitions=1)
    send(client_options(broker), numbered(7), source.topic)
    killed = StreamProcess.start(tmp_path, source.topic, **{VARIABLE: f"{Failpoint.AFTER_SWAP.value}:{BRONZE}"})
    assert killed.end() == -signal.SIGKILL

    def audited() -> list[tuple[int, int, date]]:
        rows = query_rows(audit_path(driver.lake.tables, "orders"), "SELECT * FROM t ORDER BY output_version")
        return [(row["output_version"], row["kept"], row["feed_day"]) for row in rows]

    assert (len(coordinates(driver)), audited()) == (7, [])
    assert drain(step(driver), bronze(driver), source) is None
    assert audited() == [(0, 7, DAY)]
    send(client_options(broker), numbered(2, first=7), source.topic)
    drain(step(driver), bronze(driver), source)
    log_of.cache_clear()  # as another process
    drain(step(driver), bronze(driver), source)
    assert audited() == [(0, 7, DAY), (1, 2, DAY)], "a row is written once"
