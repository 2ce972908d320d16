"""Alerts: a table's day that is late, failed or stuck, told once. The journal `ops/alerts` remembers who was told.

Every event of an alert is a row: raised; sent to a hook, or refused by it; resolved. An alert is open from `raised` to
`resolved`; a day that comes into the state again is a new alert. Rows are appended by the domain's sensor alone.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import Enum

import pyarrow as pa

from lakehouse_assets.platform.results.audit_log import ALERTS, alerts_path, append
from lakehouse_assets.platform.storage.delta_table import query_rows
from lakehouse_assets.platform.storage.location import Location

FIRST_PAUSE, LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=1)
DOUBLINGS = 6  # of the first pause: by then it is the longest


class Trouble(Enum):
    """What may be wrong with a table's day."""

    LATE = "late"
    FAILED = "failed"
    STUCK = "stuck"


class Event(Enum):
    """What happens to an alert, in this order."""

    RAISED = "raised"
    REFUSED = "refused"
    SENT = "sent"
    RESOLVED = "resolved"


@dataclass(frozen=True)
class Subject:
    """What an alert is about."""

    table: str
    day: date
    trouble: Trouble

    def __str__(self) -> str:
        return f"{self.table} {self.day} is {self.trouble.value}"


@dataclass
class Alert:
    """An alert and what became of it: the hooks it was sent to, and when each refused it."""

    subject: Subject
    message: str
    raised: datetime
    sent: set[str] = field(default_factory=set)
    refused: dict[str, list[datetime]] = field(default_factory=dict)
    resolved: datetime | None = None

    @property
    def id(self) -> str:
        """The same for every attempt to deliver this alert: a receiver that saw it may leave a second one."""
        text = f"{self.subject} {self.raised.isoformat()}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def due(self, hook: str, now: datetime) -> bool:
        """Whether to deliver it now: it is open and not yet sent, and the pause, which doubles, is over."""
        refusals = self.refused.get(hook, [])
        if self.resolved or hook in self.sent:
            return False
        pause = min(FIRST_PAUSE * 2 ** min(len(refusals) - 1, DOUBLINGS), LONGEST_PAUSE) if refusals else timedelta()
        return not refusals or refusals[-1] + pause <= now


@dataclass(frozen=True)
class Row:
    """One event of an alert, as the journal has it."""

    subject: Subject
    event: Event
    at: datetime
    hook: str = ""
    message: str = ""


def read_alerts(lake: Location, domain: str | None = None) -> list[Alert]:
    """All alerts, of a domain or of all, oldest first."""
    found = query_rows(alerts_path(lake), 'SELECT "table", feed_day, state, event, hook, said, at FROM t ORDER BY at')
    order = list(Event)
    rows = [
        Row(
            Subject(row["table"], row["feed_day"], Trouble(row["state"])),
            Event(row["event"]),
            row["at"],
            row["hook"],
            row["said"],
        )
        for row in found
        if domain is None or row["table"].split("/")[0] == domain
    ]
    return list(_alerts(sorted(rows, key=lambda row: (row.at, order.index(row.event)))))


def record(lake: Location, rows: Iterable[Row]) -> None:
    """Append events, in one commit; none: nothing."""
    content = [
        {
            "table": row.subject.table,
            "feed_day": row.subject.day,
            "state": row.subject.trouble.value,
            "event": row.event.value,
            "hook": row.hook,
            "said": row.message,
            "at": row.at,
        }
        for row in rows
    ]
    if content:
        append(alerts_path(lake), pa.Table.from_pylist(content, schema=ALERTS))


def _alerts(rows: Iterable[Row]) -> Iterator[Alert]:
    """Events folded to alerts."""
    current: dict[Subject, Alert] = {}
    for row in rows:
        known = current.get(row.subject)
        if row.event is Event.RAISED:
            if known is None or known.resolved:
                current[row.subject] = Alert(row.subject, row.message, row.at)
                yield current[row.subject]
        elif known is not None:
            _happened(known, row)


def _happened(alert: Alert, row: Row) -> None:
    match row.event:
        case Event.SENT:
            alert.sent.add(row.hook)
        case Event.REFUSED:
            alert.refused.setdefault(row.hook, []).append(row.at)
        case Event.RESOLVED:
            alert.resolved = row.at
        case Event.RAISED:
            pass
