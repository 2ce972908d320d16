"""Orders through a real Kafka broker: each record exactly once, whoever is killed when, and what the file door says."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from lakehouse_assets.defs.orders.event import ONLINE_RETAIL
from lakehouse_assets.platform.common.source_days import SourceDays
from lakehouse_assets.platform.declare.stream_source import Fresh
from lakehouse_assets.platform.declare.table import Table, TableKey
from lakehouse_assets.platform.orchestration.staleness import Staleness
from lakehouse_assets.platform.planning.plan import make_plan
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.storage.commit import ConcurrentCommit
from lakehouse_assets.platform.storage.location import Location
from lakehouse_assets.platform.streams.stream_ingest import commit_batch, drain, drain_available
from lakehouse_assets.samples.orders.producer import Event, events_of, send
from lakehouse_assets.settings import Settings
from lakehouse_assets.streaming import kafka_topic
from lakehouse_assets.streaming.kafka_client import client_options, ensure_topic
from lakehouse_assets.streaming.kafka_topic import GoneRecords, KafkaTopic
from lakehouse_assets.streaming.latency import measure
from lakehouse_assets.streaming.live import keep, touched_minutes
from lakehouse_assets.streaming.live_tables import live_tables
from lakehouse_assets.streaming.run import Stream
from lakehouse_assets.streaming.state import read_state, state_file
from lakehouse_assets_tests.lake_driver import LakeDriver
from lakehouse_assets_tests.test_orders import content, csv_of, everything, line

pytestmark = pytest.mark.slow

BRONZE = "orders/bronze/order_events"
DAY = date(2011, 1, 4)
NOON = datetime(2011, 1, 4, 12)


def topic_of(broker: Settings, name: str, partitions: int = 3, batch: int = 1_000_000) -> KafkaTopic:
    """A topic of the test's own."""
    ensure_topic(broker, name, partitions)
    return KafkaTopic(name, SourceDays(date(2009, 1, 1)), batch)


def bronze(driver: LakeDriver) -> Table:
    return driver.catalog.table(TableKey.parse(BRONZE))


def step(driver: LakeDriver, run_id: str = "stream") -> Step:
    return Step(driver.spark, driver.lake, driver.catalog, run_id)


def stream_of(broker: Settings, driver: LakeDriver, source: KafkaTopic) -> Stream:
    """A stream in this process, with its live table."""
    here, table = broker.model_copy(update={"root": driver.lake.tables.parent}), bronze(driver)
    (live,) = live_tables(driver.catalog, table.key)
    staleness = Staleness(driver.lake, driver.catalog)
    return Stream(
        settings=here, catalog=driver.catalog, table=table, source=source, keep=lambda made: keep(made, staleness, live)
    )


def numbered(count: int, first: int = 0) -> list[Event]:
    """Events that are told apart by their invoice."""
    return [
        Event(str(n), json.dumps(line(invoice_no=str(n))), NOON + timedelta(seconds=n % 3600))
        for n in range(first, first + count)
    ]


def coordinates(driver: LakeDriver) -> list[tuple[Any, ...]]:
    return driver.rows(BRONZE, "partition", "offset", "key")


def test_every_record_comes_once_in_however_many_batches_and_tasks(
    broker: Settings, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_topic, "SMALL_BATCH", 100)
    monkeypatch.setattr(kafka_topic, "TASK_RECORDS", 70)
    driver, source = LakeDriver.at(spark, tmp_path), topic_of(broker, "batches", batch=600)
    send(client_options(broker), numbered(1000), source.topic)
    batches = drain_available(step(driver), bronze(driver), source)
    assert len(batches) > 1
    assert batches[-1].lag == 0
    assert sum(batch.records for batch in batches) == 1000
    rows = coordinates(driver)
    assert len({row[:2] for row in rows}) == len(rows) == 1000
    assert {row[2] for row in rows} == {str(n) for n in range(1000)}
    assert drain_available(step(driver), bronze(driver), source) == []
    stamped = driver.read(BRONZE).where("key = '7'").collect()[0]
    assert stamped.timestamp == NOON + timedelta(seconds=7)
    assert stamped.feed_day == DAY
    assert [header["key"] for header in json.loads(stamped.headers)] == ["sent_at", "schema_version"]


@dataclass(frozen=True)
class Overtaken(KafkaTopic):
    """Between its readings and its commits, others commit."""

    others: list[Callable[[], object]] = field(default_factory=list)

    def next(
        self, spark: SparkSession, path: Location, version: int | None, upto: object | None = None
    ) -> Fresh | None:
        fresh = super().next(spark, path, version, upto)
        if self.others:
            self.others.pop()()
        return fresh


def test_who_is_overtaken_reads_on_from_where_the_other_ended(
    broker: Settings, spark: SparkSession, tmp_path: Path
) -> None:
    driver, source = LakeDriver.at(spark, tmp_path), topic_of(broker, "overtaken", partitions=1, batch=10)
    send(client_options(broker), numbered(50), source.topic)
    twice = [lambda: drain(step(driver, "other"), bronze(driver), source)] * 2
    slow = Overtaken(source.topic, source.days, others=list(twice))
    batch = drain(step(driver, "slow"), bronze(driver), slow)
    assert batch is not None
    assert (batch.records, batch.version, batch.lag) == (30, 2, 0)
    assert [row[1] for row in coordinates(driver)] == list(range(50))


def test_of_two_readers_at_one_position_the_second_is_refused(
    broker: Settings, spark: SparkSession, tmp_path: Path
) -> None:
    """A zombie: it read its position, then another one committed. Also where the file door committed in between."""
    driver, source = LakeDriver.at(spark, tmp_path), topic_of(broker, "two")
    send(client_options(broker), numbered(30), source.topic)
    now = source.end(driver.lake.path(bronze(driver).key))
    assert now is not None
    zombie = source._read(driver.spark, source._ranges(None, now, {}), 100)
    driver.land("orders/order_events", csv_of(tmp_path / "day.csv", dict(ONLINE_RETAIL), [line()]))
    driver.make(BRONZE, [DAY])
    base = driver.lake.version(bronze(driver).key)
    drain_available(step(driver), bronze(driver), source)
    for stale in (None, base):
        with pytest.raises(ConcurrentCommit):
            commit_batch(step(driver, "zombie"), bronze(driver), zombie, stale, {"offsets": {}}, source.channel)
    assert len(driver.rows(BRONZE, "offset")) == 31
    driver.land("orders/order_events", csv_of(tmp_path / "day.csv", dict(ONLINE_RETAIL), [line(), line()]))
    driver.make(BRONZE, [DAY])
    channels = [channel for (channel,) in driver.rows(BRONZE, "door")]
    assert (channels.count("file"), channels.count("kafka")) == (2, 30), (
        "a day made again keeps what the stream brought"
    )


def test_records_that_are_gone_are_an_error_and_not_an_empty_day(
    broker: Settings, spark: SparkSession, tmp_path: Path
) -> None:
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import AdminClient

    driver, source = LakeDriver.at(spark, tmp_path), topic_of(broker, "gone", partitions=1)
    send(client_options(broker), numbered(10), source.topic)
    drain_available(step(driver), bronze(driver), source)
    send(client_options(broker), numbered(10, first=10), source.topic)
    admin = AdminClient(client_options(broker))
    for deleted in admin.delete_records([TopicPartition(source.topic, 0, 15)]).values():
        deleted.result()
    with pytest.raises(GoneRecords, match="read up to offset 10, but it now holds 15 to 20"):
        drain_available(step(driver), bronze(driver), source)
    admin.delete_topics([source.topic])[source.topic].result()
    ensure_topic(broker, source.topic, 1)
    with pytest.raises(GoneRecords, match="deleted and made anew"):
        drain_available(step(driver), bronze(driver), source)
    assert len(coordinates(driver)) == 10


def test_a_topic_made_anew_while_another_one_was_read_is_told_from_the_first(
    broker: Settings, spark: SparkSession, tmp_path: Path
) -> None:
    """Its records stand at offsets that were read already: read on from there, they would be lost in silence."""
    from confluent_kafka.admin import AdminClient

    driver, first, other = LakeDriver.at(spark, tmp_path), topic_of(broker, "a", 1), topic_of(broker, "b", 1)
    for source, count in ((first, 5), (other, 3), (first, 2)):
        send(client_options(broker), numbered(count), source.topic)
        drain_available(step(driver), bronze(driver), source)
    assert len(coordinates(driver)) == 10
    send(client_options(broker), numbered(1), other.topic)
    drain_available(step(driver), bronze(driver), other)
    admin = AdminClient(client_options(broker))
    admin.delete_topics([first.topic])[first.topic].result()
    topic_of(broker, "a", 1)
    send(client_options(broker), numbered(20), first.topic)
    with pytest.raises(GoneRecords, match="deleted and made anew"):
        drain_available(step(driver), bronze(driver), first)
    assert len(coordinates(driver)) == 11


def test_what_is_no_text_is_kept(broker: Settings, spark: SparkSession, tmp_path: Path) -> None:
    from confluent_kafka import Producer

    driver, source = LakeDriver.at(spark, tmp_path), topic_of(broker, "odd", partitions=1)
    producer = Producer(client_options(broker))
    producer.produce(source.topic, value=b"\xff\xfe", key=None)
    producer.produce(source.topic, value=None, key=b"k", headers=[("h", b"\xff"), ("h", None)])
    producer.produce(source.topic, value=b"{}", headers=[("halves", b"\xc3"), ("of", b"\xa9"), ("one", "é".encode())])
    producer.produce(source.topic, value=b"{}", headers=[("text", "é".encode()), ("none", None), ("empty", b"")])
    producer.flush()
    drain_available(step(driver), bronze(driver), source)
    now = source.end(driver.lake.path(bronze(driver).key))
    assert now is not None
    rows = driver.read(BRONZE).orderBy("offset").collect()
    by_spark = source._read(driver.spark, source._ranges(None, now, {}), 100).orderBy("offset").collect()
    assert rows == by_spark, "read one by one and at once they are the same"
    assert [row.value for row in rows] == ["base64://4=", None, "{}", "{}"]
    headers = [[(header["key"], header["value"]) for header in json.loads(row.headers)] for row in rows[1:]]
    assert rows[0].headers is None
    assert headers[0] == [("h", "base64:/w=="), ("h", None)]
    assert headers[1] == [("halves", "base64:ww=="), ("of", "base64:qQ=="), ("one", "é")]
    assert headers[2] == [("text", "é"), ("none", None), ("empty", "")]


def test_a_stream_keeps_its_live_table_as_a_computation_from_scratch_would(
    broker: Settings, spark: SparkSession, tmp_path: Path
) -> None:
    """Also told: what the stream says of itself, what it has not read yet, and how long events took."""
    driver, source = LakeDriver.at(spark, tmp_path), topic_of(broker, "live")
    stream, table = stream_of(broker, driver, source), bronze(driver)
    (live,) = live_tables(driver.catalog, table.key)
    sent = 0
    for count in (50, 30):
        send(client_options(broker), numbered(count, first=sent), source.topic)
        sent += count
        assert source.lag(driver.lake.path(table.key)) == count
        state = stream.run_available()
        assert (state.records, state.last_version, state.error) == (count, driver.lake.version(table.key), None)
        assert source.lag(driver.lake.path(table.key)) == 0
        assert sum(lines for (lines,) in driver.rows(str(live.key), "lines")) == sent
    kept = driver.rows(str(live.key), *driver.read(str(live.key)).columns)
    driver.make(str(live.key), [DAY])
    assert driver.rows(str(live.key), *driver.read(str(live.key)).columns) == kept
    took = measure(driver.lake, table, live)
    assert took is not None
    assert took.events == sent
    assert 0 < took.bronze[0.5] <= took.live[0.5] <= took.live[1.0]
    assert read_state(broker, "orders") == state
    state_file(broker, "orders").unlink()
    assert stream.run_available().records == 0, "what it says of itself is nothing that it needs"


def test_a_live_table_is_renewed_by_the_minutes_that_came(
    broker: Settings, spark: SparkSession, tmp_path: Path
) -> None:
    """Duplicates of earlier commits, scattered and late events, another day, a landed file: each time what a
    computation from scratch makes; and from scratch only where the stream alone does not explain the day.
    """
    driver, source = LakeDriver.at(spark, tmp_path), topic_of(broker, "minutes")
    (live,) = live_tables(driver.catalog, bronze(driver).key)
    staleness, columns = (
        Staleness(driver.lake, driver.catalog),
        ("feed_day", "minute", "lines", "sales", "newest_event"),
    )
    scattered = [
        Event(f"s{n}", json.dumps(line(invoice_no=f"s{n}")), datetime(2011, 1, 4 + n % 2, 1) + timedelta(minutes=2 * n))
        for n in range(120)
    ]

    def kept() -> set[datetime] | None:
        staleness.refresh()
        plan = make_plan(driver.lake, live, sorted(staleness.stale_days(live)))
        minutes = touched_minutes(step(driver), staleness, plan)
        keep(step(driver), staleness, live)
        rows = driver.rows(str(live.key), *columns)
        driver.make(str(live.key), [DAY, DAY + timedelta(days=1)])
        assert driver.rows(str(live.key), *columns) == rows
        staleness.refresh()
        return minutes

    for events, minutes in (
        (numbered(40), None),
        ([*numbered(20, first=30), *scattered], {event.time for event in scattered} | {NOON}),
        (numbered(5, first=3599), {NOON, NOON + timedelta(minutes=59)}),
    ):
        send(client_options(broker), events, source.topic)
        drain_available(step(driver), bronze(driver), source)
        assert kept() == minutes
    driver.land("orders/order_events", csv_of(tmp_path / "day.csv", dict(ONLINE_RETAIL), [line()]))
    driver.make(BRONZE, [DAY])
    assert kept() is None
    assert sum(lines for (lines,) in driver.rows(str(live.key), "lines")) == 50 + len(scattered) + 5 + 1


def test_files_through_kafka_and_through_the_file_door_give_the_same_tables(
    broker: Settings, spark: SparkSession, tmp_path: Path
) -> None:
    """A day of the shop where it is beside this checkout, and always a day with every defect."""
    files = [csv_of(tmp_path / "defects.csv", dict(ONLINE_RETAIL), [
        line(), line(), line(stock_code="85123a"), line(invoice_no="C1", quantity="-6"), line(quantity="many"),
        line(invoice_date="yesterday", description="com acento: ção"), line(customer_id=""), line(unit_price="-1"),
    ])]  # fmt: skip
    real = Path(__file__).parents[2] / "shared" / "data" / "orders" / "by-day" / "2010-12-22.csv"
    files += [real] if real.exists() else []
    days = [DAY, date(2010, 12, 22)]
    source = topic_of(broker, "same")
    by_file, by_kafka = LakeDriver.at(spark, tmp_path / "file"), LakeDriver.at(spark, tmp_path / "kafka")
    for file in files:
        by_file.land("orders/order_events", file)
        sent = send(client_options(broker), events_of(file), source.topic)
        assert sent.delivered == sent.sent > 0
    by_file.make(BRONZE, days)
    drain_available(step(by_kafka), bronze(by_kafka), source)
    values = [sorted(driver.rows(BRONZE, "feed_day", "key", "value")) for driver in (by_file, by_kafka)]
    assert values[0] == values[1], "the text of every event is the same"
    for driver in (by_file, by_kafka):
        everything(driver, days)
    assert content(by_file) == content(by_kafka)
    assert datetime.now(UTC).date() not in {day for (day,) in by_kafka.rows(BRONZE, "feed_day")}
