"""The judge: GMV's rules in plain Python, written to be read beside the rules, slow and obvious on purpose.

No Spark and nothing of the platform is imported, so that a mistake there cannot repeat itself here.
Money is Decimal. A figure is (gmv, purchases); a key is (gmv_date, subsidiary, product_id).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Literal, TypeVar

Key = tuple[date, str, int]
Figure = tuple[Decimal, int]
NOTHING: Figure = (Decimal("0.00"), 0)
UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Record:
    """One change event as silver keeps it. `hash`: SHA-256 of the source row, the last word on equal times."""

    purchase_id: int
    transaction_datetime: datetime
    feed_day: date
    hash: str

    def rank(self) -> tuple[datetime, date, str]:
        return self.transaction_datetime, self.feed_day, self.hash


@dataclass(frozen=True, kw_only=True)
class Purchase(Record):
    release_date: date | None


@dataclass(frozen=True, kw_only=True)
class ProductItem(Record):
    product_id: int
    purchase_value: Decimal


@dataclass(frozen=True, kw_only=True)
class ExtraInfo(Record):
    subsidiary: str


@dataclass(frozen=True)
class Events:
    """What the three silver tables hold at one moment, all feed days."""

    purchases: Sequence[Purchase] = ()
    items: Sequence[ProductItem] = ()
    extras: Sequence[ExtraInfo] = ()

    def feed_days(self) -> set[date]:
        return {record.feed_day for table in (self.purchases, self.items, self.extras) for record in table}


R = TypeVar("R", bound=Record)


def active(records: Iterable[R], k: date) -> dict[int, R]:
    """Of each purchase the newest record as known on day `k`: by own time, then feed day, then hash."""
    best: dict[int, R] = {}
    for record in records:
        if record.feed_day <= k:
            known = best.get(record.purchase_id)
            if known is None or record.rank() > known.rank():
                best[record.purchase_id] = record
    return best


def figures(events: Events, k: date) -> dict[Key, Figure]:
    """GMV from scratch as known on day `k`: released purchases whose item is known, by release date."""
    items, extras = active(events.items, k), active(events.extras, k)
    result: dict[Key, Figure] = {}
    for purchase_id, purchase in active(events.purchases, k).items():
        item = items.get(purchase_id)
        if purchase.release_date is None or item is None:
            continue
        extra = extras.get(purchase_id)
        key = (purchase.release_date, UNKNOWN if extra is None else extra.subsidiary, item.product_id)
        gmv, purchases = result.get(key, NOTHING)
        result[key] = (gmv + item.purchase_value, purchases + 1)
    return result


@dataclass(frozen=True)
class LedgerRow:
    """From `effective_date` on, `figure` is the figure of `key`. `version` counts the rows of a key from 1."""

    key: Key
    figure: Figure
    effective_date: date
    version: int
    reason: Literal["new", "restatement"]
    feed_day: date  # the day whose materialization wrote the row; of a day carried forward, that day


@dataclass
class Ledger:
    """The append-only ledger. `newest` is L, the newest published day: open itself, everything before it closed."""

    rows: list[LedgerRow] = field(default_factory=list)
    newest: date | None = None

    def publish(self, events: Events, days: Iterable[date]) -> list[LedgerRow]:
        """Materialize `days` (ascending) one after the other from what silver holds now; the rows appended."""
        before = len(self.rows)
        for day in days:
            self._publish_day(events, day)
        return self.rows[before:]

    def _publish_day(self, events: Events, day: date) -> None:
        if self.newest is not None and day <= self.newest:
            reason: Literal["new", "restatement"] = "restatement" if day < self.newest else "new"
            self._append(figures(events, self.newest), self.newest, reason, day)
            return
        step = self.newest + timedelta(days=1) if self.newest else min([day, *events.feed_days()])
        while step <= day:
            self._append(figures(events, step), step, "new", step)
            step += timedelta(days=1)
        self.newest = day

    def _append(
        self, wanted: dict[Key, Figure], effective: date, reason: Literal["new", "restatement"], feed_day: date
    ) -> None:
        message = self.rows_as_of(None)
        for key in sorted(message.keys() | wanted.keys()):
            last = message.get(key)
            figure = wanted.get(key, NOTHING)  # a key whose figure vanished gets a zero row
            if figure != (last.figure if last else NOTHING):
                version = last.version + 1 if last else 1
                self.rows.append(LedgerRow(key, figure, effective, version, reason, feed_day))

    def rows_as_of(self, k: date | None) -> dict[Key, LedgerRow]:
        """Per key the row with the greatest (effective_date, version) with effective_date <= k; None: of all rows."""
        best: dict[Key, LedgerRow] = {}
        for row in self.rows:
            if k is None or row.effective_date <= k:
                known = best.get(row.key)
                if known is None or (row.effective_date, row.version) > (known.effective_date, known.version):
                    best[row.key] = row
        return best

    def as_of(self, k: date) -> dict[Key, Figure]:
        """The figures as of day `k`, vanished keys left out."""
        return {key: row.figure for key, row in self.rows_as_of(k).items() if row.figure != NOTHING}

    def current(self) -> dict[Key, Figure]:
        """The figures as of now, vanished keys left out."""
        return {key: row.figure for key, row in self.rows_as_of(None).items() if row.figure != NOTHING}
