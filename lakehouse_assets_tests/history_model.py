"""What tables with a state must hold, by sorting and folding in plain Python: the judge of `scd_table.py`."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property

Row = Mapping[str, str]  # as a file holds it; "" is NULL
Key = tuple[int, str]
Values = tuple[Decimal | None, str | None]
CHANGE = ("op", "modified_date", "shop", "item", "price", "color")
ITEM = ("shop", "item", "price", "color")


def values(row: Row) -> Values:
    return (Decimal(row["price"]).quantize(Decimal("0.01")) if row["price"] else None, row["color"] or None)


def key(row: Row) -> Key:
    return int(row["shop"]), row["item"]


def is_bad(row: Row) -> bool:
    """Whether the row leaves for quarantine: its price is no number."""
    return row["price"] == "much"


@dataclass(frozen=True)
class Change:
    """One change as delivered."""

    row: Row
    feed_day: date

    @cached_property
    def time(self) -> datetime:
        return datetime.fromisoformat(self.row["modified_date"])

    @property
    def is_deleted(self) -> bool:
        return self.row["op"] == "D"

    @cached_property
    def hash(self) -> str:
        return hashlib.sha256(json.dumps(dict(self.row), sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    @property
    def order(self) -> tuple[object, ...]:
        return self.time, self.is_deleted, self.hash, -self.feed_day.toordinal()


def _by_key(changes: Iterable[Change]) -> dict[Key, list[Change]]:
    found: dict[Key, list[Change]] = defaultdict(list)
    for change in changes:
        if not is_bad(change.row):
            found[key(change.row)].append(change)
    return {of: sorted(them, key=lambda change: change.order) for of, them in found.items()}  # type: ignore[arg-type]


def ties(changes: Iterable[Change]) -> dict[date, int]:
    """Changes of each day that others of the day have the key and the time of."""
    found: dict[date, int] = defaultdict(int)
    different = {(c.feed_day, c.hash): c for c in changes if not is_bad(c.row)}.values()
    for (day, _, _), number in Counter((c.feed_day, key(c.row), c.time) for c in different).items():
        found[day] += number - 1
    return dict(found)


def current(changes: Iterable[Change]) -> list[tuple[object, ...]]:
    """shop, item, price, color, is_deleted, feed_day, record_hash."""
    last = {of: them[-1] for of, them in _by_key(changes).items()}
    return sorted((*of, *values(c.row), c.is_deleted, c.feed_day, c.hash) for of, c in last.items())


def versions(changes: Iterable[Change], tracked: Sequence[int]) -> list[tuple[object, ...]]:
    """shop, item, price, color, is_deleted, feed_day, record_hash, effective_from, effective_to, is_current."""
    found: list[tuple[object, ...]] = []
    for of, them in _by_key(changes).items():
        lasting = [c for n, c in enumerate(them) if n + 1 == len(them) or them[n + 1].time > c.time]
        runs: list[list[Change]] = []
        for c in lasting:
            if runs and _told(runs[-1][-1], tracked) == _told(c, tracked):
                runs[-1].append(c)
            else:
                runs.append([c])
        for n, run in enumerate(runs):
            c, until = run[-1], runs[n + 1][0].time if n + 1 < len(runs) else None
            message = (*of, *values(c.row), c.is_deleted, c.feed_day, c.hash)
            found.append((*message, run[0].time, until, until is None))
    return sorted(found, key=repr)


def _told(change: Change, tracked: Sequence[int]) -> tuple[object, ...]:
    message = values(change.row)
    return (True,) if change.is_deleted else (False, *[message[place] for place in tracked])


def of_snapshots(days: Mapping[date, Sequence[Row]]) -> list[tuple[object, ...]]:
    """shop, item, price, color, is_deleted, effective_from, effective_to, is_current. No rows: no snapshot."""
    runs: dict[Key, list[tuple[date, Values, bool]]] = defaultdict(list)
    for day in sorted(day for day, rows in days.items() if rows):
        there: dict[Key, Values | None] = {}
        for row in days[day]:
            if is_bad(row):
                there.setdefault(key(row), None)
            elif there.get(key(row)) is None:
                there[key(row)] = values(row)
        for of, message in there.items():
            if message is not None and (not runs[of] or runs[of][-1][1:] != (message, False)):
                runs[of].append((day, message, False))
        for of, known in runs.items():
            if known and of not in there and not known[-1][2]:
                known.append((day, known[-1][1], True))
    found = []
    for of, known in runs.items():
        for n, (since, message, deleted) in enumerate(known):
            until = known[n + 1][0] if n + 1 < len(known) else None
            found.append((*of, *message, deleted, since, until, until is None))
    return sorted(found, key=repr)
