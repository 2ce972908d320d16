"""Records as Kafka's own client reads them: a broker of librdkafka, which lives in this process, in place of Kafka."""

import ctypes
import importlib.util
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from lakehouse_assets.platform.common.source_days import SourceDays
from lakehouse_assets.platform.declare.stream_source import OUTSIDE, UNNAMED
from lakehouse_assets.settings import Settings
from lakehouse_assets.streaming.kafka_records import read_records, rows_of

TOPIC = b"t"
PRODUCER, END, OF_TOPIC, PARTITION, VALUE, COPIED, TIMESTAMP, HEADER = 0, 0, 1, 3, 4, 7, 8, 9  # of rdkafka.h
COPY = 2
AT = int(datetime(2024, 3, 1, 12, tzinfo=UTC).timestamp() * 1000)


class Broker:
    """A broker, and a producer of records whose headers have any bytes as names."""

    def __init__(self) -> None:
        found = importlib.util.find_spec("confluent_kafka")
        assert found is not None
        assert found.origin is not None
        (library,) = (Path(found.origin).parent.parent / "confluent_kafka.libs").glob("librdkafka*")
        self.kafka = ctypes.CDLL(str(library))
        for name in ("conf_new", "new", "handle_mock_cluster"):
            getattr(self.kafka, f"rd_kafka_{name}").restype = ctypes.c_void_p
        self.kafka.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        message = ctypes.create_string_buffer(512)
        configuration = ctypes.c_void_p(self.kafka.rd_kafka_conf_new())
        for name, value in ((b"test.mock.num.brokers", b"1"), (b"log_level", b"0")):
            assert self.kafka.rd_kafka_conf_set(configuration, name, value, message, 512) == 0, message.value
        self.producer = ctypes.c_void_p(self.kafka.rd_kafka_new(PRODUCER, configuration, message, ctypes.c_size_t(512)))
        cluster = ctypes.c_void_p(self.kafka.rd_kafka_handle_mock_cluster(self.producer))
        self.address = self.kafka.rd_kafka_mock_cluster_bootstraps(cluster).decode()

    def produce(self, value: bytes, *headers: tuple[bytes, bytes], at: int = AT) -> None:
        """Into the first partition of the topic."""
        named = [(HEADER, name, message, ctypes.c_ssize_t(len(message))) for name, message in headers]
        error = self.kafka.rd_kafka_producev(
            self.producer, OF_TOPIC, TOPIC, PARTITION, 0, VALUE, value, ctypes.c_size_t(len(value)), COPIED, COPY,
            TIMESTAMP, ctypes.c_int64(at), *[one for header in named for one in header], END,
        )  # fmt: skip
        assert error == 0
        assert self.kafka.rd_kafka_flush(self.producer, 10_000) == 0

    def stop(self) -> None:
        self.kafka.rd_kafka_destroy(self.producer)


@pytest.fixture
def broker() -> Iterator[Broker]:
    found = Broker()
    yield found
    found.stop()


def test_a_record_whose_headers_have_a_name_that_is_no_utf8_is_set_aside_and_the_rest_goes_on(
    broker: Broker, tmp_path: Path
) -> None:
    """Kafka's client fails at its headers, and ends the process where it is asked for them again."""
    broker.produce(b"1", ("é".encode(), b"x"))
    broker.produce(b"2", (b"known", b"x"), (b"half \xc3", b"y"))
    broker.produce(b"3", (b"\xff\xfe", b""), at=AT * 1_000_000)
    broker.produce(b"4")
    here = Settings(home=tmp_path, kafka_bootstrap=broker.address)
    found = read_records(here, TOPIC.decode(), {0: (0, 4)}, 100, 2**20)
    assert (found.whole, found.ends) == (True, {0: 4})
    rows, left = rows_of(found.records, SourceDays(date(2024, 1, 1)), "kafka")
    assert [(row["value"], row["headers"]) for row in rows.to_pylist()] == [
        ("1", '[{"key":"é","value":"x"}]'), ("4", None),
    ]  # fmt: skip
    assert [(one.source_file, one.row_number, one.rule) for one in left] == [("t/0", 1, UNNAMED), ("t/0", 2, OUTSIDE)]
    assert left[0].reason == "the name of one of its headers is no UTF-8"
    assert [json.loads(one.row)["value"] for one in left] == ["2", "3"]
