"""GMV feeds as a marketplace would deliver them: `<out>/<table>/<delivery day>.csv`, good days and bad.

Everything about the purchases of one day, later corrections included, is drawn from (seed, day): a range generated in
pieces with the same `since`, `seed`, `purchases` and `defects` gives the same files as in one call.
Money is whole cents until it becomes text.
"""

import csv
from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lakehouse_assets.platform.common.errors import LakehouseError

Array = npt.NDArray[Any]
Columns = dict[str, Array]

HEADERS = {
    "product_item": (
        "transaction_datetime", "transaction_date", "purchase_id", "product_id", "item_quantity", "purchase_value",
    ),
    "purchase": (
        "transaction_datetime", "transaction_date", "purchase_id", "buyer_id", "prod_item_id", "order_date",
        "release_date", "producer_id",
    ),
    "purchase_extra_info": ("transaction_datetime", "transaction_date", "purchase_id", "subsidiary"),
}  # fmt: skip
# Of a record at most one of these; "missing" is counted where the record is missing.
DEFECTS = {
    "missing": "an item or extra info never delivered",
    "late": "delivered one to five days after its own time",
    "resent_same_day": "delivered twice, exactly, in one file",
    "resent_later": "delivered again one to five days later",
    "null_key": "no purchase_id",
    "null_transaction_date": "no transaction_date",
    "malformed_number": "a number that is none",
    "malformed_date": "a date or time that is none",
    "future": "own time after the delivery day",
    "negative_value": "a value below zero",
    "decimal_dot": "the value as 50.00",
    "thousands": "the value as 1.234,56 or 1,234.56",
}
CODES = {name: code for code, name in enumerate(DEFECTS, start=1)}
APPLIES = {
    "product_item": tuple(DEFECTS),
    "purchase": tuple(d for d in DEFECTS if d not in {"missing", "negative_value", "decimal_dot", "thousands"}),
    "purchase_extra_info": tuple(d for d in DEFECTS if d not in {"negative_value", "decimal_dot", "thousands"}),
}
MALFORMED_DATES = ("20/01/2023", "2023-02-30", "2023-13-01 10:00:00", "ontem", "20230120")
MALFORMED_NUMBERS = ("12x", "R$ 50", "cinquenta", "1.234", "#REF!")  # 1.234: thousands, or thousandths?
PRICES = np.array([1990, 2790, 4700, 6700, 9700, 14700, 19700, 29700, 49700, 99700, 199700], dtype=np.int64)
PRODUCTS = 60
HORIZON = 31  # days after its purchase in which a record can still be delivered
MOST_PURCHASES = 999_999  # a day's numbers of purchases
NOT_RELEASED = np.datetime64("NaT", "D")
DAY = np.timedelta64(1, "D")


class GenerateError(LakehouseError):
    """What was asked of the generator cannot be generated."""


@dataclass(frozen=True)
class TableCounts:
    """What was written of one table; `defects` by name, see `DEFECTS`."""

    files: int
    rows: int
    defects: Counter[str]


@dataclass(frozen=True)
class Generated:
    """What one call wrote, for a demo to print."""

    out: Path
    first: date
    last: date
    tables: dict[str, TableCounts]

    @property
    def rows(self) -> int:
        return sum(counts.rows for counts in self.tables.values())

    @property
    def defects(self) -> Counter[str]:
        return sum((counts.defects for counts in self.tables.values()), Counter())


def generate(
    out: Path, first: date, last: date, purchases: int, seed: int, defects: float, *, since: date | None = None
) -> Generated:
    """Write what is delivered on `first`..`last` by a marketplace with `purchases` a day since `since` (or
    `first`).

    `defects` is the probability of each defect for a record. Days on which a table delivers nothing have no file;
    a day's file that is there is replaced. Raises GenerateError for arguments that make no sense.
    """
    since = since or first
    if last < first or since > first:
        raise GenerateError(f"days {first}..{last} since {since}: give them in the order since <= first <= last")
    if not 0 <= purchases <= MOST_PURCHASES:
        raise GenerateError(f"{purchases} purchases a day: give a number from 0 to {MOST_PURCHASES}")
    if not 0 <= defects <= 1:
        raise GenerateError(f"defects {defects}: give a probability from 0 to 1, for example 0.01")
    start = max(since, first - timedelta(days=HORIZON))
    days = [
        _day_of_purchases(start + timedelta(days=n), purchases, seed, defects) for n in range((last - start).days + 1)
    ]
    tables = {}
    for table in HEADERS:
        columns = {name: np.concatenate([day[table][name] for day in days]) for name in days[0][table]}
        inside = (columns["delivered"] >= np.datetime64(first)) & (columns["delivered"] <= np.datetime64(last))
        tables[table] = _write(out / table, table, {name: column[inside] for name, column in columns.items()})
    return Generated(out, first, last, tables)


# One day's purchases: records as typed columns


def _day_of_purchases(day: date, n: int, seed: int, defects: float) -> dict[str, Columns]:
    """All records that the purchases of `day` will ever cause, by table, defects marked."""
    rng = np.random.default_rng([abs(seed), int(seed < 0), day.toordinal()])
    base: Columns = {"purchase_id": day.toordinal() * 1_000_000 + np.arange(1, n + 1, dtype=np.int64)}
    # Orders begin at 00:10, so that an item two minutes earlier is still of this day.
    ordered = np.datetime64(day) + rng.integers(600, 86_400, n).astype("timedelta64[s]")
    product = (rng.random(n) ** 2 * PRODUCTS).astype(np.int64)  # few products sell most
    item = _items(rng, base, ordered, product)
    tables = {
        "product_item": item,
        "purchase": _purchases(rng, base, ordered, product),
        "purchase_extra_info": _extras(rng, base, ordered),
    }
    return {table: _spoil(rng, columns, table, defects) for table, columns in tables.items()}


def _correct(rng: np.random.Generator, columns: Columns, share: float, days: int, changes: Columns) -> Columns:
    """`columns` and, for a `share` of the records, a later record with `changes`, one to `days` days after."""
    again = {name: column.copy() for name, column in columns.items()} | changes
    after = rng.integers(1, days + 1, len(columns["own"])) * DAY
    again["own"] = columns["own"] + after
    again["delivered"] = again["own"].astype("datetime64[D]")
    chosen = rng.random(len(after)) < share
    return {name: np.concatenate([column, again[name][chosen]]) for name, column in columns.items()}


def _items(rng: np.random.Generator, base: Columns, ordered: Array, product: Array) -> Columns:
    n = len(ordered)
    quantity = 1 + (rng.random(n) < 0.15) * rng.integers(1, 10, n)
    own = ordered - rng.integers(0, 120, n).astype("timedelta64[s]")
    item = base | {
        "own": own,
        "delivered": own.astype("datetime64[D]"),
        "product_id": 600_000 + product * 37,
        "item_quantity": quantity,
        "purchase_value": quantity * PRICES[product % len(PRICES)],  # cents, the transaction's total
    }
    return _correct(rng, item, 0.02, 20, {"purchase_value": item["purchase_value"] * 9 // 10})


def _purchases(rng: np.random.Generator, base: Columns, ordered: Array, product: Array) -> Columns:
    """Paid at once (often), later, or never; some paid ones are cancelled or get another release date."""
    n = len(ordered)
    order_date = ordered.astype("datetime64[D]")
    kind = rng.random(n)
    now, later = kind < 0.65, (kind >= 0.70) & (kind < 0.93)
    released = np.where(now, order_date, NOT_RELEASED)
    future = (kind >= 0.65) & (kind < 0.70)  # paid, released some days from now
    released = np.where(future, order_date + rng.integers(1, 6, n) * DAY, released)
    own = ordered + np.where(rng.random(n) < 0.05, rng.integers(0, 86_400, n), 0).astype("timedelta64[s]")
    purchase = base | {
        "own": own,
        "delivered": own.astype("datetime64[D]"),
        "buyer_id": rng.integers(10_000, 400_000, n),
        "prod_item_id": 1 + product,
        "order_date": order_date,
        "release_date": released,
        "producer_id": 850_000 + product % 23,
    }
    paid_on = order_date + rng.integers(2, 5, n) * DAY  # after `own`, which may be the next day
    paid = {name: column[later] for name, column in purchase.items()}
    paid |= {"own": paid_on[later] + rng.integers(0, 86_400, later.sum()).astype("timedelta64[s]")}
    paid |= {"delivered": paid_on[later], "release_date": paid_on[later]}
    every = {name: np.concatenate([column, paid[name]]) for name, column in purchase.items()}
    known = ~np.isnat(every["release_date"])
    changed = every["release_date"] + rng.integers(1, 30, len(known)) * DAY  # a date that is not set stays not set
    nothing = np.full(len(known), NOT_RELEASED)
    cancelled = rng.random(len(known)) < 0.6
    return _correct(rng, every, 0.05, 20, {"release_date": np.where(cancelled, nothing, changed)})


def _extras(rng: np.random.Generator, base: Columns, ordered: Array) -> Columns:
    n = len(ordered)
    own = ordered + rng.choice(4, n, p=(0.7, 0.15, 0.1, 0.05)) * DAY  # up to three days after the purchase
    abroad = rng.random(n) < 0.2
    extra = base | {
        "own": own,
        "delivered": own.astype("datetime64[D]"),
        "subsidiary": np.where(abroad, "internacional", "nacional"),
    }
    return _correct(rng, extra, 0.01, 15, {"subsidiary": np.where(abroad, "nacional", "internacional")})


def _spoil(rng: np.random.Generator, columns: Columns, table: str, rate: float) -> Columns:
    """Mark at most one defect a record and apply those of time; those of text are applied when it is written."""
    n = len(columns["own"])
    defect = np.zeros(n, dtype=np.int8)
    for name in APPLIES[table]:
        hit = (rng.random(n) < rate) & (defect == 0)
        if name == "thousands":
            hit &= columns["purchase_value"] >= 100_000
        defect[hit] = CODES[name]
    shift = rng.integers(1, 6, n) * DAY
    late, future = defect == CODES["late"], defect == CODES["future"]
    again = np.isin(defect, (CODES["resent_same_day"], CODES["resent_later"]))
    columns = columns | {
        "defect": np.where(again, 0, defect),  # the copy is the defect, not the original
        "noise": rng.integers(0, 1 << 30, n),
        "own": columns["own"] + np.where(future, shift, 0 * DAY),
        "delivered": columns["delivered"] + np.where(late, shift, 0 * DAY),
    }
    copies = {name: column[again] for name, column in columns.items()} | {"defect": defect[again]}
    copies["delivered"] = copies["delivered"] + np.where(defect[again] == CODES["resent_later"], shift[again], 0 * DAY)
    return {name: np.concatenate([column, copies[name]]) for name, column in columns.items()}


# Text


def _write(folder: Path, table: str, columns: Columns) -> TableCounts:
    """Write one table's records as a file per delivery day, ordered by their own time; what was written."""
    gone = columns["defect"] == CODES["missing"]
    order = np.lexsort((columns["own"], columns["delivered"]))
    order = order[~gone[order]]
    columns = {name: column[order] for name, column in columns.items()}
    delivered = columns["delivered"]
    starts = np.unique(delivered, return_index=True)[1]  # where each file begins
    # A file is split by transaction_date: its first record keeps it, so that the others have a day to travel with.
    defect = columns["defect"]
    defect[starts[defect[starts] == CODES["null_transaction_date"]]] = 0
    texts = _texts(table, columns)
    ends = [*starts[1:], len(delivered)] if len(starts) else []
    folder.mkdir(parents=True, exist_ok=True)
    for start, end in zip(starts, ends, strict=True):
        with (folder / f"{delivered[start]}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(HEADERS[table])
            writer.writerows(zip(*(texts[name][start:end] for name in HEADERS[table]), strict=True))
    defects = Counter(
        {name: int((defect == code).sum()) for name, code in CODES.items()} | {"missing": int(gone.sum())}
    )
    return TableCounts(files=len(starts), rows=len(delivered), defects=+defects)


def _texts(table: str, columns: Columns) -> dict[str, list[str]]:
    """The columns of `table` as the text of a CSV file, defects of text applied."""
    own = [text.replace("T", " ") for text in np.datetime_as_string(columns["own"], unit="s").tolist()]
    texts = {"transaction_datetime": own, "transaction_date": _plain(columns["delivered"])}
    for name in HEADERS[table][2:]:
        texts[name] = _money(columns[name]) if name == "purchase_value" else _plain(columns[name])
    numbers = [name for name in HEADERS[table] if name.endswith(("_id", "_quantity", "_value"))]
    dates = [name for name in HEADERS[table] if name in {"transaction_datetime", "order_date", "release_date"}]
    names = {code: name for name, code in CODES.items()}
    for i in np.flatnonzero(columns["defect"]).tolist():
        kind, noise = names[int(columns["defect"][i])], int(columns["noise"][i])
        if kind == "null_key":
            texts["purchase_id"][i] = ""
        elif kind == "null_transaction_date":
            texts["transaction_date"][i] = ""
        elif kind == "malformed_number":
            texts[numbers[noise % len(numbers)]][i] = MALFORMED_NUMBERS[noise // 7 % len(MALFORMED_NUMBERS)]
        elif kind == "malformed_date":
            texts[dates[noise % len(dates)]][i] = MALFORMED_DATES[noise // 7 % len(MALFORMED_DATES)]
        elif kind == "negative_value":
            texts["purchase_value"][i] = "-" + texts["purchase_value"][i]
        elif kind in {"decimal_dot", "thousands"}:
            cents = int(columns["purchase_value"][i])
            english = f"{cents // 100:,}.{cents % 100:02d}"
            brazilian = english.translate(str.maketrans(",.", ".,"))
            thousands = brazilian if noise % 2 else english
            texts["purchase_value"][i] = thousands if kind == "thousands" else english.replace(",", "")
    return texts


def _plain(column: Array) -> list[str]:
    """Numbers, names and ISO days as they are written; a day that is not set is empty."""
    if column.dtype.kind == "M":
        return ["" if text == "NaT" else text for text in np.datetime_as_string(column, unit="D").tolist()]
    return [str(value) for value in column.tolist()]


def _money(cents: Array) -> list[str]:
    """Whole cents with a decimal comma: 5000 is "50,00"."""
    return [f"{value // 100},{value % 100:02d}" for value in cents.tolist()]
