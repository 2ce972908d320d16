"""A stream's state for Prometheus: `lakehouse stream NAME --metrics-port PORT`, on the loopback alone.

A scrape reads what the stream last said and asks nobody: neither Kafka nor a bucket is in its way.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.streaming.state import ENDED, State

HOST = "127.0.0.1"
LABELS = ("stream", "table")


class PortTaken(LakehouseError):
    """Somebody else listens on the port."""


class StreamCollector(Collector):
    """The metrics of streams: `states` gives what they say now."""

    def __init__(self, states: Callable[[], list[State]]) -> None:
        self._states = states

    def collect(self) -> Iterator[Metric]:
        """One family a fact, one sample a stream; what a stream does not know yet is left out."""
        now, states = datetime.now(UTC), self._states()
        table_metadata: tuple[
            tuple[type[CounterMetricFamily | GaugeMetricFamily], str, str, Callable[[State], float | None]], ...
        ]
        table_metadata = (
            (GaugeMetricFamily, "running", "1: the stream runs", lambda s: float(s.mode != ENDED)),
            (GaugeMetricFamily, "lag_records", "records not read yet, as last seen", lambda s: s.lag),
            (GaugeMetricFamily, "rate_records_per_second", "records a second of the last commit", lambda s: s.rate),
            (GaugeMetricFamily, "position_age_seconds", "since the last commit", lambda s: s.position_age(now)),
            (GaugeMetricFamily, "last_commit_timestamp_seconds", "its last commit", lambda s: _at(s.last_commit)),
            (GaugeMetricFamily, "last_look_timestamp_seconds", "when it last looked", lambda s: _at(s.last_looked)),
            (GaugeMetricFamily, "last_version", "Delta version of the last commit", lambda s: s.last_version),
            (GaugeMetricFamily, "failing", "1: its last try failed", lambda s: float(s.error is not None)),
            (CounterMetricFamily, "records", "records committed since it started", lambda s: s.records),
            (CounterMetricFamily, "commits", "commits since it started", lambda s: s.batches),
            (CounterMetricFamily, "restarts", "times it started again after an error", lambda s: s.restarts),
        )  # fmt: skip
        for family, name, says, fact in table_metadata:
            metric = family(f"lakehouse_stream_{name}", says, labels=LABELS)
            for state in states:
                value = fact(state)
                if value is not None:
                    metric.add_metric((state.name, state.table), value)
            yield metric


def serve(port: int, states: Callable[[], list[State]]) -> int:
    """Answer Prometheus on the loopback from now on, in a thread; 0: any free port. Returns it. Raises PortTaken."""
    registry = CollectorRegistry()
    registry.register(StreamCollector(states))
    try:
        server, _ = start_http_server(port, HOST, registry)
    except OSError as error:
        raise PortTaken(f"{HOST}:{port}: {error.strerror}. Choose another: --metrics-port, 0 for any.") from error
    return int(server.server_port)


def _at(text: str | None) -> float | None:
    return datetime.fromisoformat(text).timestamp() if text else None
