"""Kafka as its clients see it: where the brokers are, how to log in, what a topic holds."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.settings import Settings
from lakehouse_assets.streaming.kafka_server import SERVER

SECONDS = 20.0
PAUSE = 0.3


class KafkaError(LakehouseError):
    """Kafka does not answer, refuses, or lacks a topic. It may answer again: worth another try."""


class NoSuchTopic(KafkaError):
    """Nobody has made the topic, or somebody has deleted it."""


@dataclass(frozen=True)
class TopicState:
    """A topic now: its identity (another one after it was deleted and made anew), and per partition first and next
    offset.
    """

    name: str
    identity: str
    bounds: Mapping[int, tuple[int, int]]


def bootstrap(settings: Settings) -> str | None:
    """The brokers of the settings, else of this home's running broker; None: there is no Kafka."""
    if settings.kafka_bootstrap is not None:
        return settings.kafka_bootstrap
    running = SERVER.running(settings)
    return f"127.0.0.1:{running.port}" if running else None


def require_bootstrap(settings: Settings) -> str:
    """As `bootstrap`. Raises KafkaError where there is none."""
    found = bootstrap(settings)
    if found is None:
        raise KafkaError("No Kafka: start this home's own (lakehouse kafka start), or set LAKEHOUSE_KAFKA_BOOTSTRAP.")
    return found


def client_options(settings: Settings) -> dict[str, str | int | float | bool]:
    """Options of confluent-kafka's clients. Holds the password: never log it."""
    options: dict[str, str | int | float | bool] = {
        "bootstrap.servers": require_bootstrap(settings),
        "security.protocol": settings.kafka_security_protocol,
        "socket.timeout.ms": str(int(SECONDS * 1000)),
        "log_level": "3",
    }
    if settings.kafka_sasl_mechanism is not None:
        options["sasl.mechanisms"] = settings.kafka_sasl_mechanism
    if settings.kafka_username is not None and settings.kafka_password is not None:
        options["sasl.username"] = settings.kafka_username
        options["sasl.password"] = settings.kafka_password.get_secret_value()
    if settings.kafka_ca is not None:
        options["ssl.ca.location"] = str(settings.kafka_ca)
    return options


def spark_options(settings: Settings) -> dict[str, str]:
    """The same for Spark's source. Holds the password: never log it."""
    options = {
        "kafka.bootstrap.servers": require_bootstrap(settings),
        "kafka.security.protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_sasl_mechanism is not None:
        options["kafka.sasl.mechanism"] = settings.kafka_sasl_mechanism
    if settings.kafka_username is not None and settings.kafka_password is not None:
        module = (
            "scram.ScramLoginModule" if "SCRAM" in (settings.kafka_sasl_mechanism or "") else "plain.PlainLoginModule"
        )
        user, secret = (_quoted(text) for text in (settings.kafka_username, settings.kafka_password.get_secret_value()))
        options["kafka.sasl.jaas.config"] = (
            f"org.apache.kafka.common.security.{module} required username={user} password={secret};"
        )
    if settings.kafka_ca is not None:
        options |= {"kafka.ssl.truststore.type": "PEM", "kafka.ssl.truststore.location": str(settings.kafka_ca)}
    return options


def topic_state(settings: Settings, topic: str, *, expected: bool = False) -> TopicState:
    """What a topic holds now; a broker that is still finding its feet is asked again for a while. Raises KafkaError.

    `expected`: the topic was there once. A broker that has just come up may not know yet of its topics, so that one is
    believed gone only when that is said all the while.
    """
    from confluent_kafka import KafkaError as Code
    from confluent_kafka import KafkaException

    heard: list[str] = []  # what the broker or the connection said: why a login fails is said here alone
    options: dict[str, Any] = client_options(settings) | {"error_cb": lambda error: heard.append(error.str())}
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            return _topic_state(options, topic)
        except KafkaException as error:
            unknown = error.args[0].code() == Code.UNKNOWN_TOPIC_OR_PART
            if unknown and (not expected or time.monotonic() > deadline):
                raise NoSuchTopic(
                    f"Kafka at {options['bootstrap.servers']} has no topic {topic} (lakehouse produce makes it)."
                ) from error
            if (not unknown and error.args[0].code() not in _finding_its_feet()) or time.monotonic() > deadline:
                raise KafkaError(
                    f"Kafka at {options['bootstrap.servers']}: topic {topic}: "
                    f"{'; '.join([error.args[0].str(), *heard[-1:]])}. "
                    "Does the broker run (lakehouse kafka status), is the topic there (lakehouse produce makes it)?"
                ) from error
            time.sleep(PAUSE)


@cache
def _finding_its_feet() -> frozenset[int]:
    """Codes a broker that has just come up answers with. Not `retriable()`: librdkafka sets that for producers only."""
    from confluent_kafka import KafkaError as Code

    return frozenset(
        (
            Code.NOT_LEADER_FOR_PARTITION,
            Code.LEADER_NOT_AVAILABLE,
            Code.REPLICA_NOT_AVAILABLE,
            Code.BROKER_NOT_AVAILABLE,
            Code.UNKNOWN_LEADER_EPOCH,
            Code.FENCED_LEADER_EPOCH,
            Code.NETWORK_EXCEPTION,
            Code.REQUEST_TIMED_OUT,
            Code._UNKNOWN_PARTITION,
        )
    )


def _topic_state(options: dict[str, Any], topic: str) -> TopicState:
    from confluent_kafka import Consumer, TopicCollection, TopicPartition
    from confluent_kafka.admin import AdminClient

    admin = AdminClient(options)  # kept: a client that is let go of answers nothing
    try:
        described = admin.describe_topics(TopicCollection([topic]), request_timeout=SECONDS)[topic].result()
    finally:
        admin.poll(0)  # so that errors are heard
    consumer = Consumer(options | {"group.id": "lakehouse", "enable.auto.commit": False})
    try:
        bounds = {
            partition.id: consumer.get_watermark_offsets(TopicPartition(topic, partition.id), timeout=SECONDS)
            for partition in described.partitions
        }
    finally:
        consumer.close()
    missing = [partition for partition, found in bounds.items() if found is None]
    if missing:
        raise KafkaError(f"Kafka at {options['bootstrap.servers']} did not answer for {topic}, partitions {missing}.")
    return TopicState(topic, str(described.topic_id), {p: (low, high) for p, (low, high) in bounds.items()})


def ensure_topic(settings: Settings, topic: str, partitions: int) -> None:
    """Make a topic whose records are kept for ever, unless it is there. Raises KafkaError."""
    from confluent_kafka import KafkaError as Code
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    wanted = NewTopic(topic, num_partitions=partitions, config={"retention.ms": "-1", "retention.bytes": "-1"})
    try:
        admin = AdminClient(client_options(settings))
        admin.create_topics([wanted], request_timeout=SECONDS)[topic].result()
    except KafkaException as error:
        if error.args[0].code() != Code.TOPIC_ALREADY_EXISTS:
            raise KafkaError(f"The topic {topic} cannot be made: {error.args[0].str()}") from error


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
