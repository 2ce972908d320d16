"""Records of a topic read one by one by Kafka's own client: a small batch, or one that Spark cannot read at once.

Each record is seen here before it is committed, so that a batch ends where it is large enough, and a record whose day
the source cannot have, or whose headers have names that are no UTF-8, is set aside. Records of transactions that were
aborted, or are still open, are not read.
"""

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, cast

import pyarrow as pa

from lakehouse_assets.platform.common.source_days import SourceDays
from lakehouse_assets.platform.declare.stream_source import OUTSIDE, UNNAMED, SetAside
from lakehouse_assets.settings import Settings
from lakehouse_assets.streaming.kafka_client import SECONDS, KafkaError, client_options

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message

Ranges = Mapping[int, tuple[int, int]]
READ_COMMITTED = "read_committed"
AT_ONCE, WAIT = 500, 0.05
EPOCH = datetime(1970, 1, 1)
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("value", pa.string()),
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("timestamp", pa.timestamp("us")),
        ("headers", pa.string()),
        ("door", pa.string()),
        ("feed_day", pa.date32()),
    ]
)


@dataclass(frozen=True)
class Record:
    """A record, and its headers; None: a name of one is no UTF-8, and Kafka's client tells of none.

    The client is asked once: where it failed, it ends the process at the second time.
    """

    message: "Message"
    headers: list[tuple[str, bytes | None]] | None

    @classmethod
    def of(cls, message: "Message") -> Self:
        """What the client has read."""
        try:
            return cls(message, cast("list[tuple[str, bytes | None]]", message.headers() or []))
        except SystemError:
            return cls(message, None)

    @property
    def size(self) -> int:
        """Its bytes."""
        headers = sum(len(name) + len(value or b"") for name, value in self.headers or ())
        return len(self.message.key() or b"") + len(self.message.value() or b"") + headers


@dataclass
class Records:
    """What was read: the records, their bytes, and per partition the offset behind the last one that was looked at.

    `whole`: all that was asked for. `full`: a further record would have been too many bytes.
    """

    records: list[Record] = field(default_factory=list)
    size: int = 0
    ends: dict[int, int] = field(default_factory=dict)
    whole: bool = False
    full: bool = False


def read_records(settings: Settings, topic: str, ranges: Ranges, most_records: int, most_bytes: int) -> Records:
    """The records of these offsets, until there are enough of them or of their bytes. Raises KafkaError."""
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    options = client_options(settings) | {
        "group.id": "lakehouse",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        "isolation.level": READ_COMMITTED,
        "queued.max.messages.kbytes": max(1024, most_bytes // 1024),
    }
    consumer = Consumer(options)
    try:
        consumer.assign([TopicPartition(topic, partition, first) for partition, (first, _) in ranges.items()])
        return _read(consumer, topic, ranges, most_records, most_bytes)
    except KafkaException as error:
        raise KafkaError(f"Topic {topic} could not be read: {error.args[0].str()}") from error
    finally:
        consumer.close()


def _read(consumer: "Consumer", topic: str, ranges: Ranges, most_records: int, most_bytes: int) -> Records:
    from confluent_kafka import KafkaError as Code
    from confluent_kafka import KafkaException

    found = Records(ends={partition: first for partition, (first, _) in ranges.items()})
    left, deadline = set(ranges), time.monotonic() + SECONDS
    while left:
        came = consumer.consume(AT_ONCE, timeout=WAIT)
        if came:
            deadline = time.monotonic() + SECONDS
        elif time.monotonic() > deadline:
            raise KafkaError(f"Kafka is silent: topic {topic}, partitions {sorted(left)}. Does the broker run?")
        for message in came:
            partition, offset, error = message.partition(), message.offset(), message.error()
            if error is not None and error.code() != Code._PARTITION_EOF:
                raise KafkaException(error)
            if partition not in left or partition is None or offset is None:
                continue
            end = ranges[partition][1]
            if error is not None or offset >= end:  # what is before the end and was not read is no record
                found.ends[partition] = end
                left.discard(partition)
                continue
            record = Record.of(message)
            found.full = bool(found.records) and found.size + record.size > most_bytes
            if found.full or len(found.records) >= most_records:
                return found
            found.records.append(record)
            found.size += record.size
            found.ends[partition] = offset + 1
            if offset + 1 == end:
                left.discard(partition)
    found.whole = True
    return found


def rows_of(records: list[Record], days: SourceDays, channel: str) -> tuple[pa.Table, list[SetAside]]:
    """Rows of bronze, and the records that no commit may hold."""
    rows: list[dict[str, Any]] = []
    left: list[SetAside] = []
    bounds = days.of_records()
    for record in records:
        message = record.message
        kind, at = message.timestamp()
        day = days.day_of(at) if kind else None
        row = {
            "key": _text(message.key()),
            "value": _text(message.value()),
            "topic": message.topic(),
            "partition": message.partition(),
            "offset": message.offset(),
            "headers": _headers(record.headers or []),
        }
        outside, unnamed = day is None or day not in bounds, record.headers is None
        if outside or unnamed:
            why = days.fault_of_record(day) or "" if kind else "it has no timestamp, so no day"
            why = f"{why} (timestamp {at})" if outside else "the name of one of its headers is no UTF-8"
            where, number = f"{message.topic()}/{message.partition()}", message.offset() or 0
            whole = json.dumps(row | {"timestamp": at}, ensure_ascii=False)
            left.append(SetAside(where, number, "", OUTSIDE if outside else UNNAMED, why, whole))
            continue
        rows.append(row | {"timestamp": EPOCH + timedelta(milliseconds=at), "door": channel, "feed_day": day})
    return pa.Table.from_pylist(rows, schema=SCHEMA), left


def _headers(headers: list[tuple[str, bytes | None]]) -> str | None:
    """The headers as JSON, as Spark writes them."""
    listed = [{"key": name, "value": _text(value)} for name, value in headers]
    if not listed:
        return None
    return json.dumps(listed, ensure_ascii=False, separators=(",", ":"))


def _text(data: bytes | str | None) -> str | None:
    """Bytes as text; those that are no UTF-8 as base64, so that nothing is lost."""
    if data is None or isinstance(data, str):
        return data
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(data).decode()
