"""Random histories of GMV feeds, and the challenge's own: what is landed, replaced and published, in which order.

A `Schedule` is a list of operations. All histories of a seed follow the same one, each with contents of its own, and
their keys carry the history's number: so hundreds of them live side by side in the same tables, one pass for all.
Rows are texts, as a CSV file holds them. Everything is a function of (seed, index).
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from random import Random

from lakehouse_assets_tests.gmv_model import Events, ExtraInfo, Key, ProductItem, Purchase

Row = dict[str, str]
Part = tuple[str, date]  # table, feed day
COLUMNS = {
    "product_item": (
        "transaction_datetime", "transaction_date", "purchase_id", "product_id", "item_quantity", "purchase_value",
    ),
    "purchase": (
        "transaction_datetime", "transaction_date", "purchase_id", "buyer_id", "prod_item_id", "order_date",
        "release_date", "producer_id",
    ),
    "purchase_extra_info": ("transaction_datetime", "transaction_date", "purchase_id", "subsidiary"),
}  # fmt: skip
TABLES = tuple(COLUMNS)
FIRST_DAY = date(2023, 1, 20)
DAYS = tuple(FIRST_DAY + timedelta(days=n) for n in range(12))


@dataclass(frozen=True)
class Land:
    """Land one file for each of `tables` and each of `days`: beside what is there, or (`replace`) in its place."""

    days: tuple[date, ...]
    tables: tuple[str, ...]
    replace: bool


@dataclass(frozen=True)
class Publish:
    """Materialize gold for `first`..`rolling_window` (one day where they are equal)."""

    first: date
    last: date

    @property
    def days(self) -> tuple[date, ...]:
        return tuple(self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1))


@dataclass(frozen=True)
class Schedule:
    """Operations in order; the last one publishes everything. No day is published that lies after all landed ones."""

    seed: int
    operations: tuple[Land | Publish, ...]


@cache
def schedule(seed: int, operations: int = 14) -> Schedule:
    """A random schedule of about `operations` steps over `DAYS`."""
    rng = Random(f"schedule {seed}")
    steps: list[Land | Publish] = []
    reached = -1 + rng.choice((0, 0, 1, 2))  # index of the newest day landed; days before it may still come, late

    def tables() -> tuple[str, ...]:
        return TABLES if rng.random() < 0.6 else tuple(sorted(rng.sample(TABLES, rng.randint(1, 2))))

    def publish(first: int, last: int) -> None:
        steps.append(Publish(DAYS[first], DAYS[last]))

    while len(steps) < operations - 1:
        kind = rng.random()
        new = min(rng.choice((1, 1, 2, 3)), len(DAYS) - 1 - reached)
        if new and (kind < 0.40 or not steps):
            steps.append(Land(DAYS[reached + 1 : reached + 1 + new], tables(), replace=False))
            first, reached = reached + 1, reached + new
            if rng.random() < 0.8:  # a range, or its last day alone, which carries the others forward
                publish(rng.choice((first, reached)), reached)
        elif kind < 0.75:
            days = sorted(rng.sample(range(reached + 1), min(rng.randint(1, 3), reached + 1)))
            steps.append(Land(tuple(DAYS[d] for d in days), tables(), replace=rng.random() < 0.4))
            if rng.random() < 0.7:  # else it stays unpublished until something else is
                publish(days[0], days[-1] if rng.random() < 0.7 else reached)
        else:
            first = rng.randint(0, reached)
            publish(first, rng.choice((first, rng.randint(first, reached), reached)))
    publish(0, max(reached, 0))
    return Schedule(seed, tuple(steps))


@dataclass(frozen=True)
class History:
    """The contents one history gives to a schedule: for each operation, the rows of each part it lands."""

    index: int
    landings: tuple[Mapping[Part, tuple[Row, ...]], ...]


def history(seed: int, index: int) -> History:
    """History number `index` of the schedule of `seed`: about 20 records of one to four purchases."""
    rng = Random(f"history {seed} {index}")
    maker = _Maker(rng, index, purchases=rng.randint(1, 4))
    held: dict[Part, tuple[Row, ...]] = {}
    landings: list[dict[Part, tuple[Row, ...]]] = []
    for operation in schedule(seed).operations:
        landing: dict[Part, tuple[Row, ...]] = {}
        if isinstance(operation, Land):
            for part in ((table, day) for day in operation.days for table in operation.tables):
                old = held.get(part, ())
                kept = [row for row in old if rng.random() < 0.5] if operation.replace else []
                made = [maker.row(*part) for _ in range(rng.choice((0, 0, 1, 1, 2)))]
                landing[part] = (*kept, *made)
                held[part] = landing[part] if operation.replace else (*old, *made)
        landings.append(landing)
    return History(index, tuple(landings))


@dataclass
class _Maker:
    """Makes the rows of one history: new, late, tied with an earlier row, or sent again."""

    rng: Random
    index: int
    purchases: int
    made: dict[str, list[Row]] = field(default_factory=lambda: {table: [] for table in TABLES})

    def row(self, table: str, feed_day: date) -> Row:
        """A row of `table` whose own time is not after `feed_day`."""
        rng = self.rng
        earlier = [row for row in self.made[table] if row["transaction_date"] <= feed_day.isoformat()]
        if earlier and rng.random() < 0.15:
            return rng.choice(earlier)
        own = datetime.combine(feed_day, rng.choice((time(0), time(9, 30), time(22, 0, 1), time(23, 59, 59))))
        if rng.random() < 0.3:
            own -= timedelta(days=rng.randint(1, 10))
        purchase_id = str(self.index * 1_000_000 + rng.randint(1, self.purchases))
        if earlier and rng.random() < 0.25:
            tied = rng.choice(earlier)
            own, purchase_id = datetime.fromisoformat(tied["transaction_datetime"]), tied["purchase_id"]
        row = {
            "transaction_datetime": f"{own:%Y-%m-%d %H:%M:%S}",
            "transaction_date": f"{own:%Y-%m-%d}",
            "purchase_id": purchase_id,
            **getattr(self, f"_{table}")(),
        }
        self.made[table].append(row)
        return row

    def _product_item(self) -> Row:
        value = self.rng.choice(("50,00", "50.00", "25,00", "75,00", "0,01"))
        product = self.index * 1000 + self.rng.randint(1, 2)
        return {"product_id": str(product), "item_quantity": str(self.rng.randint(1, 3)), "purchase_value": value}

    def _purchase(self) -> Row:
        released = (
            "" if self.rng.random() < 0.25 else (FIRST_DAY + timedelta(days=self.rng.randint(-2, 20))).isoformat()
        )
        return {
            "buyer_id": str(self.rng.randint(1, 9)),
            "prod_item_id": "5",
            "order_date": FIRST_DAY.isoformat(),
            "release_date": released,
            "producer_id": "852852",
        }

    def _purchase_extra_info(self) -> Row:
        return {"subsidiary": f"h{self.index}-{self.rng.choice(('nacional', 'internacional'))}"}


def landed(histories: Iterable[History], step: int) -> dict[Part, list[Row]]:
    """The parts that operation number `step` lands, with the rows of all `histories`; a part may have no rows."""
    parts: dict[Part, list[Row]] = {}
    for one in histories:
        for part, rows in one.landings[step].items():
            parts.setdefault(part, []).extend(rows)
    return parts


def csv_text(table: str, rows: Iterable[Row]) -> str:
    """`rows` as the text of a CSV file with its header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS[table], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_csv(path: Path, table: str, rows: Iterable[Row]) -> Path:
    """Write `rows` as a CSV file; its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(csv_text(table, rows), encoding="utf-8", newline="")
    return path


def row_hash(row: Row) -> str:
    """SHA-256 of the source row as JSON with sorted keys: decides between records of equal time and feed day."""
    return hashlib.sha256(json.dumps(row, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def record(table: str, feed_day: date, row: Row) -> Purchase | ProductItem | ExtraInfo:
    """The model's reading of one well-formed row."""
    purchase_id, own, sha = int(row["purchase_id"]), datetime.fromisoformat(row["transaction_datetime"]), row_hash(row)
    if table == "purchase":
        released = date.fromisoformat(row["release_date"]) if row["release_date"] else None
        return Purchase(
            purchase_id=purchase_id, transaction_datetime=own, feed_day=feed_day, hash=sha, release_date=released
        )
    if table == "product_item":
        return ProductItem(
            purchase_id=purchase_id,
            transaction_datetime=own,
            feed_day=feed_day,
            hash=sha,
            product_id=int(row["product_id"]),
            purchase_value=Decimal(row["purchase_value"].replace(",", ".")),
        )
    return ExtraInfo(
        purchase_id=purchase_id, transaction_datetime=own, feed_day=feed_day, hash=sha, subsidiary=row["subsidiary"]
    )


@dataclass
class Feeds:
    """What is landed at one moment, as the model reads it."""

    parts: dict[Part, list[Purchase | ProductItem | ExtraInfo]] = field(default_factory=dict)

    def land(self, parts: Mapping[Part, Sequence[Row]], *, replace: bool) -> None:
        for (table, day), rows in parts.items():
            records = [record(table, day, row) for row in rows]
            self.parts[table, day] = records if replace else self.parts.get((table, day), []) + records

    def events(self) -> Events:
        every = [one for records in self.parts.values() for one in records]
        return Events(
            [one for one in every if isinstance(one, Purchase)],
            [one for one in every if isinstance(one, ProductItem)],
            [one for one in every if isinstance(one, ExtraInfo)],
        )


# The challenge's own events, whose feed day is their transaction_date, and the answers worked out by hand.
CHALLENGE = {
    "product_item": """2023-01-20 22:02:00,2023-01-20,55,696969,10,"50,00"
2023-01-25 23:59:59,2023-01-25,56,808080,120,"2400,00"
2023-02-26 03:00:00,2023-02-26,69,373737,2,"2000,00"
2023-07-12 09:00:00,2023-07-12,55,696969,10,"55,00"
""",
    "purchase": """2023-01-20 22:00:00,2023-01-20,55,15947,5,2023-01-20,2023-01-20,852852
2023-01-26 00:01:00,2023-01-26,56,369798,746520,2023-01-25,,963963
2023-02-05 10:00:00,2023-02-05,55,160001,5,2023-01-20,2023-01-20,852852
2023-02-26 03:00:00,2023-02-26,69,160001,18,2023-02-26,2023-02-28,96967
2023-07-15 09:00:00,2023-07-15,55,160001,5,2023-01-20,2023-03-01,852852
""",
    "purchase_extra_info": """2023-01-23 00:05:00,2023-01-23,55,nacional
2023-01-25 23:59:59,2023-01-25,56,internacional
2023-02-28 01:10:00,2023-02-28,69,nacional
2023-03-12 07:00:00,2023-03-12,69,internacional
""",
}


def challenge() -> dict[Part, list[Row]]:
    """The challenge's events by table and feed day."""
    parts: dict[Part, list[Row]] = {}
    for table, text in CHALLENGE.items():
        for row in csv.DictReader(io.StringIO(text), fieldnames=COLUMNS[table]):
            parts.setdefault((table, date.fromisoformat(row["transaction_date"])), []).append(row)
    return parts


def _answer(gmv_date: str, subsidiary: str, product_id: int, gmv: str) -> dict[Key, tuple[Decimal, int]]:
    return {(date.fromisoformat(gmv_date), subsidiary, product_id): (Decimal(gmv), 1)}


_NACIONAL = _answer("2023-01-20", "nacional", 696969, "50.00")
_ABROAD = _answer("2023-02-28", "internacional", 373737, "2000.00")
# Purchase 56 never counts: its payment was not made.
CHALLENGE_AS_OF: dict[date, dict[Key, tuple[Decimal, int]]] = {
    date(2023, 1, 19): {},
    date(2023, 1, 20): _answer("2023-01-20", "unknown", 696969, "50.00"),  # paid; its extra info has not come
    date(2023, 1, 23): _NACIONAL,  # it came
    date(2023, 2, 25): _NACIONAL,  # another buyer changed no figure
    date(2023, 2, 26): _NACIONAL | _answer("2023-02-28", "unknown", 373737, "2000.00"),  # known before its own date
    date(2023, 2, 28): _NACIONAL | _answer("2023-02-28", "nacional", 373737, "2000.00"),
    date(2023, 3, 31): _NACIONAL | _ABROAD,  # the subsidiary was corrected on 12/03
    date(2023, 7, 12): _answer("2023-01-20", "nacional", 696969, "55.00") | _ABROAD,  # the value was corrected
    date(2023, 7, 15): _answer("2023-03-01", "nacional", 696969, "55.00") | _ABROAD,  # the release date was
}
