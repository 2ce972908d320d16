"""How long it takes from an event's sending to a live table that holds it, from stored timestamps alone.

The producer writes the time of sending into a header, the bronze commit says which records it brought, and the live
table's commit says of which bronze version it was made, and when.
"""

import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow.parquet as pq

from lakehouse_assets.platform.declare.table import Table
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.storage.commit_actions import actions_of
from lakehouse_assets.platform.storage.commit_log import Entry, newest_version, read_entry
from lakehouse_assets.platform.storage.commit_metadata import Kind
from lakehouse_assets.platform.storage.location import Location, parquet

SENT_AT = "sent_at"
QUANTILES = (0.5, 0.95, 1.0)
Quantiles = dict[float, float]


@dataclass(frozen=True)
class Moment:
    """The latency of the events that were sent within some seconds from `at` (UTC) on."""

    at: datetime
    events: int
    bronze: Quantiles
    live: Quantiles


@dataclass(frozen=True)
class Latency:
    """Seconds from sending to bronze and to the live table, at quantiles of the events of the last commits.

    `rate`: events sent a second, from the first to the last. `course`: the same by `seconds` of sending.
    """

    source: str
    table: str
    events: int
    rate: float
    bronze: Quantiles
    live: Quantiles
    seconds: int
    course: tuple[Moment, ...]


@dataclass(frozen=True)
class _Event:
    """When an event was sent, and the seconds until bronze and the live table had it."""

    sent: datetime
    bronze: float
    live: float


def measure(lake: Lake, source: Table, live: Table, commits: int = 100) -> Latency | None:
    """The latency of the events of the newest `commits` commits of the stream; None when there is none to measure."""
    events = sorted(_events(lake, source, live, commits), key=lambda event: event.sent)
    if not events:
        return None
    lasted = (events[-1].sent - events[0].sent).total_seconds()
    seconds = next((n for n in (1, 5, 10, 30, 60, 300, 900) if lasted / n <= 60), 3600)
    parts: dict[int, list[_Event]] = {}
    for event in events:
        parts.setdefault(int(event.sent.timestamp()) // seconds, []).append(event)
    course = tuple(
        Moment(datetime.fromtimestamp(number * seconds, UTC), len(part), *_both(part)) for number, part in parts.items()
    )
    rate = len(events) / lasted if lasted else float(len(events))
    return Latency(
        str(source.key), str(live.key), len(events), round(rate, 1), *_both(events), seconds, course
    )  # fmt: skip


def _events(lake: Lake, source: Table, live: Table, commits: int) -> Iterator[_Event]:
    """Events that both tables have."""
    path = lake.path(source.key)
    brought = list(_newest(path, commits))
    if not brought:
        return
    shown = sorted(_made_of(lake, source, live, brought[-1].version))
    versions = [version for version, _ in shown]
    for entry in brought:
        place = bisect_left(versions, entry.version)
        if place < len(shown):
            at = shown[place][1]
            for sent in _sent(path, entry.version):
                yield _Event(sent, (entry.at - sent).total_seconds(), (at - sent).total_seconds())


def _newest(path: Location, commits: int) -> Iterator[Entry]:
    version = newest_version(path, 0)
    found = 0
    while version is not None and version >= 0 and found < commits:
        entry = read_entry(path, version)
        if entry is not None and entry.metadata is not None and entry.metadata.kind is Kind.STREAM:
            found += 1
            yield entry
        version -= 1


def _made_of(lake: Lake, source: Table, live: Table, since: int) -> Iterator[tuple[int, datetime]]:
    """For the commits of the live table, from the newest back to that of source version `since`: that, and when."""
    path = lake.path(live.key)
    name = next(name for name, read in live.reads.items() if read.table == source.key)
    for version in range(newest_version(path, 0) or 0, -1, -1):
        entry = read_entry(path, version)
        input_version = entry.metadata.inputs.get(name) if entry and entry.metadata else None
        if entry is None or input_version is None or input_version.version is None:
            continue
        if input_version.version < since:
            return
        yield input_version.version, entry.at


def _sent(path: Location, version: int) -> Iterator[datetime]:
    """When the records of a commit were sent."""
    for action in actions_of(path, version):
        if "add" in action:
            file = parquet(path / action["add"]["path"])
            for text in pq.read_table(file, columns=["headers"])["headers"].to_pylist():
                sent = {header["key"]: header["value"] for header in json.loads(text or "[]")}.get(SENT_AT)
                if sent:
                    yield datetime.fromisoformat(sent).astimezone(UTC)


def _both(events: Sequence[_Event]) -> tuple[Quantiles, Quantiles]:
    return _quantiles([event.bronze for event in events]), _quantiles([event.live for event in events])


def _quantiles(values: list[float]) -> Quantiles:
    ordered = sorted(values)
    return {q: round(ordered[min(len(ordered) - 1, int(q * len(ordered)))], 3) for q in QUANTILES}
