"""How long it takes from an event's sending to a live table that holds it, from stored timestamps alone.

The producer writes the time of sending into a header, the bronze commit says which records it brought, and the live
table's commit says of which bronze version it was made, and when.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow.parquet as pq

from lakehouse_assets.platform.delta import Kind
from lakehouse_assets.platform.delta_log import Entry, newest_version, read_entry
from lakehouse_assets.platform.plan import Lake
from lakehouse_assets.platform.store import Location, parquet
from lakehouse_assets.platform.table import Table
from lakehouse_assets.platform.touched import actions_of

SENT_AT = "sent_at"
QUANTILES = (0.5, 0.95, 1.0)


@dataclass(frozen=True)
class Latency:
    """Seconds from sending to bronze and to the live table, at quantiles of the events of the last commits."""

    events: int
    bronze: dict[float, float]
    live: dict[float, float]


def measure(lake: Lake, source: Table, live: Table, commits: int = 100) -> Latency | None:
    """The latency of the events of the newest `commits` commits of the stream; None when there is none to measure."""
    path = lake.path(source.key)
    shown = sorted(_made_of(lake, source, live))
    to_bronze: list[float] = []
    to_live: list[float] = []
    for entry in _newest(path, commits):
        made = next((at for version, at in shown if version >= entry.version), None)
        for sent in _sent(path, entry.version):
            to_bronze.append((entry.at - sent).total_seconds())
            if made is not None:
                to_live.append((made - sent).total_seconds())
    if not to_live:
        return None
    return Latency(len(to_live), _quantiles(to_bronze), _quantiles(to_live))


def _newest(path: Location, commits: int) -> Iterator[Entry]:
    version = newest_version(path, 0)
    found = 0
    while version is not None and version >= 0 and found < commits:
        entry = read_entry(path, version)
        if entry is not None and entry.note is not None and entry.note.kind is Kind.STREAM:
            found += 1
            yield entry
        version -= 1


def _made_of(lake: Lake, source: Table, live: Table) -> Iterator[tuple[int, datetime]]:
    """For each commit of the live table the version of its source, and its time."""
    path = lake.path(live.key)
    name = next(name for name, read in live.reads.items() if read.table == source.key)
    newest = newest_version(path, 0)
    for version in range(0 if newest is None else newest + 1):
        entry = read_entry(path, version)
        pin = entry.note.inputs.get(name) if entry and entry.note else None
        if entry is not None and pin is not None and pin.version is not None:
            yield pin.version, entry.at


def _sent(path: Location, version: int) -> Iterator[datetime]:
    """When the records of a commit were sent."""
    for action in actions_of(path, version):
        if "add" in action:
            file = parquet(path / action["add"]["path"])
            for text in pq.read_table(file, columns=["headers"])["headers"].to_pylist():
                sent = dict(json.loads(text or "[]")).get(SENT_AT)
                if sent:
                    yield datetime.fromisoformat(sent).astimezone(UTC)


def _quantiles(values: list[float]) -> dict[float, float]:
    ordered = sorted(values)
    return {q: round(ordered[min(len(ordered) - 1, int(q * len(ordered)))], 3) for q in QUANTILES}
