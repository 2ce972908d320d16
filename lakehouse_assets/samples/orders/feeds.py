"""Daily files of an online shop as it would deliver them: `<out>/<day>.csv`, sales, cancellations, and every defect.

Everything of a day is drawn from (seed, day), so a range generated in pieces gives the same files as in one call.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from random import Random

from lakehouse_assets.defs.orders.event import FIELDS, ONLINE_RETAIL, SALES_TRANSACTION
from lakehouse_assets.platform.common.errors import LakehouseError

NAMES: Mapping[str, Mapping[str, str]] = {"online-retail": ONLINE_RETAIL, "sales-transaction": SALES_TRANSACTION}
COUNTRIES = ("United Kingdom", "France", "Germany", "Portugal", "Brazil")
WORDS = ("WHITE HANGING HEART", "RED RETROSPOT BAG", "JUMBO PINK BOX", "SET OF 6 SPICE TINS", "METAL LANTERN")
PRODUCTS, CUSTOMERS = 400, 900
Line = dict[str, str]


@dataclass
class Generated:
    """What was written."""

    folder: Path
    files: int = 0
    rows: int = 0
    defects: Counter[str] = field(default_factory=Counter)


def generate(
    out: Path, first: date, last: date, lines: int = 500, seed: int = 1, defects: float = 0.01,
    names: str = "online-retail",
) -> Generated:  # fmt: skip
    """Write the files of these days with about `lines` lines each. Raises LakehouseError for a range that is none."""
    if last < first or lines < 1 or not 0 <= defects <= 1:
        raise LakehouseError("At least one day and one line a day; --defects is a probability from 0 to 1.")
    out.mkdir(parents=True, exist_ok=True)
    made = Generated(out)
    for day in (first + timedelta(days=n) for n in range((last - first).days + 1)):
        rows = list(_day(day, lines, seed, defects, made.defects))
        with (out / f"{day}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(NAMES[names])
            for row in rows:
                if names == "sales-transaction":  # these files have days, without a time
                    row["invoice_date"] = f"{day.month}/{day.day}/{day.year}"
                writer.writerow([row[name] for name in FIELDS])
        made.files, made.rows = made.files + 1, made.rows + len(rows)
    return made


def _day(day: date, lines: int, seed: int, defects: float, counted: Counter[str]) -> Iterator[Line]:
    random = Random(f"{seed}:{day}")
    sold: list[Line] = []
    number, moment = day.toordinal() * 10_000, datetime.combine(day, time(7))
    while len(sold) < lines:
        number += 1
        moment += timedelta(seconds=random.randint(1, max(1, 50_000 // max(1, lines // 5))))
        moment = min(moment, datetime.combine(day, time(23, 59, 59)))
        customer = f"{12_000 + random.randrange(CUSTOMERS)}.0" if random.random() < 0.75 else ""
        for _ in range(random.randint(1, 9)):
            line = _line(random, str(number), moment, customer)
            sold.append(line)
            yield from _spoilt(random, line, defects, counted)
    for line in random.sample(sold, max(1, len(sold) // 50)):
        number += 1
        quantity = random.choice((int(line["quantity"]), 1))
        yield line | {
            "invoice_no": f"C{number}", "quantity": f"-{quantity}",
            "invoice_date": str(datetime.combine(day, time(23, 59, 59))),
        }  # fmt: skip


def _line(random: Random, invoice: str, moment: datetime, customer: str) -> Line:
    product = int(random.random() ** 2 * PRODUCTS)
    return {
        "invoice_no": invoice,
        "stock_code": f"{20_000 + product}{random.choice(('', '', 'A'))}",
        "description": WORDS[product % len(WORDS)],
        "quantity": str(random.choice((1, 1, 2, 6, 12, 24))),
        "invoice_date": str(moment),
        "unit_price": f"{(product % 40 + 1) * 35 / 100:.2f}",
        "customer_id": customer,
        "country": random.choices(COUNTRIES, (85, 5, 5, 3, 2))[0],
    }


def _spoilt(random: Random, line: Line, defects: float, counted: Counter[str]) -> Iterator[Line]:
    """The line, perhaps with a defect; a duplicate comes beside it."""
    changes: dict[str, Line] = {
        "duplicate": {},
        "lower_case_code": {"stock_code": line["stock_code"].lower()},
        "zero_price": {"unit_price": "0.0"},
        "negative_price": {"unit_price": "-11062.06"},
        "adjustment": {"quantity": "-24", "unit_price": "0.0", "customer_id": "", "description": "damaged"},
        "malformed_number": {"quantity": "many"},
        "malformed_date": {"invoice_date": "yesterday"},
        "missing_invoice": {"invoice_no": ""},
    }
    defect = next((name for name in changes if random.random() < defects), None)
    if defect is None:
        yield line
        return
    counted[defect] += 1
    if defect == "duplicate":
        yield line
    yield line | changes[defect]
