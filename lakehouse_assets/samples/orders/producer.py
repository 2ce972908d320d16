"""How an application sends order lines to Kafka: the code to copy. `lakehouse produce orders` replays files with it.

Keyed by invoice, so that the lines of one stay in order; idempotent, so that a retry is no second record; the record's
timestamp is the event's own time, the time of sending a header; and a record counts as sent when Kafka says so.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakehouse_assets.defs.orders.event import SCHEMA_VERSION, TOPIC, event_json, event_time
from lakehouse_assets.platform.common.errors import LakehouseError

if TYPE_CHECKING:
    from confluent_kafka import Producer

SECONDS = 60.0


@dataclass(frozen=True)
class Event:
    """An event to send: the text of key and value, and its own time (naive, UTC)."""

    key: str
    value: str
    time: datetime


@dataclass
class Delivered:
    """What Kafka said of the records so far."""

    sent: int = 0
    delivered: int = 0
    failed: int = 0
    reason: str = ""

    def report(self, error: Any, message: Any) -> None:
        """Kafka's answer about one record."""
        if error is None:
            self.delivered += 1
        else:
            self.failed += 1
            self.reason = error.str()


class NotDelivered(LakehouseError):
    """Kafka did not confirm every record: those that are missing must be sent again."""


def order_producer(options: Mapping[str, Any]) -> "Producer":
    """A producer that neither loses nor doubles a record. `options`: brokers and login."""
    from confluent_kafka import Producer

    return Producer(
        dict(options) | {"enable.idempotence": True, "acks": "all", "linger.ms": 20, "compression.type": "lz4"}
    )


def send(
    options: Mapping[str, Any],
    events: Iterable[Event],
    topic: str = TOPIC,
    tick: Callable[[Delivered], None] = lambda _: None,
) -> Delivered:
    """Send the events and wait until Kafka has confirmed them. Raises NotDelivered."""
    producer, so_far = order_producer(options), Delivered()
    for event in events:
        headers: list[tuple[str, str | bytes | None]] = [
            ("sent_at", datetime.now(UTC).isoformat()),
            ("schema_version", SCHEMA_VERSION),
        ]
        stamp = int(event.time.replace(tzinfo=UTC).timestamp() * 1000)
        while True:
            try:
                producer.produce(
                    topic, event.value, event.key, timestamp=stamp, headers=headers, on_delivery=so_far.report
                )
                break
            except BufferError:  # the local queue is full: Kafka is slower than we are, or gone for the moment
                producer.poll(1)
        so_far.sent += 1
        producer.poll(0)
        if so_far.sent % 1000 == 0:
            tick(so_far)
    waiting = producer.flush(SECONDS)
    if so_far.delivered != so_far.sent:
        raise NotDelivered(
            f"{so_far.sent - so_far.delivered} of {so_far.sent} records were not confirmed by Kafka: "
            f"{so_far.reason or f'{waiting} still wait after {SECONDS:.0f} s'}. Send again: what arrives twice is "
            "removed in silver."
        )
    return so_far


def paced(events: Iterable[Event], rate: float | None, speedup: float | None) -> Iterator[Event]:
    """The events at `rate` a second, or as far apart as their own times `speedup` times faster; neither: at once."""
    began = time.monotonic()
    first: datetime | None = None
    for number, event in enumerate(events):
        first = first or event.time
        due = number / rate if rate else (event.time - first).total_seconds() / speedup if speedup else 0.0
        ahead = due - (time.monotonic() - began)
        if ahead > 0:
            time.sleep(ahead)
        yield event


def events_of(file: Path) -> Iterator[Event]:
    """The events of a daily file, in its order. Raises LandingError for a file that could not be landed either."""
    from lakehouse_assets.defs.orders.bronze import order_events
    from lakehouse_assets.platform.ingest.delivery import rows_by_day

    assert order_events.source is not None
    for day, rows in rows_by_day(
        order_events.source, file, today=order_events.source.days.today(datetime.now(UTC))
    ).items():
        for line in rows.to_pylist():
            yield Event(line["invoice_no"] or "", event_json(line), event_time(line, day))
