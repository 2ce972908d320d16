"""Documents of a marketplace as they would arrive: `<out>/<day>/<order>-<nn>.json`, one for each change of an order.

An order lives for some days and leaves a document at every step. What it does is drawn from (seed, its first day, its
number) alone, so a range generated in pieces gives the same files as in one call, and days continue each other.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from random import Random
from typing import Any

from lakehouse_assets.defs.marketplace.domain import MARKETPLACE
from lakehouse_assets.platform.common.errors import LakehouseError

FIRST_DAY = MARKETPLACE.first_day
LIFE_DAYS = 6
SELLERS = ("Casa Aurora", "Loja do João", "Mercado Ipê", "TecnoSul", "Ateliê Bahia", "Papelaria Três Irmãos")
GOODS = ("Cafeteira", "Mochila", "Luminária", "Caderno", "Fone de ouvido", "Tapete", "Jogo de panelas", "Cadeira")
STEPS = ("PRE-ORDER", "IN-PROCESSING", "PAID", "BILLED", "SENT", "DELIVERED")
ENDS = ("RETURNED", "REFUNDED")
Document = dict[str, Any]


@dataclass(frozen=True)
class Arrival:
    """A document and when it arrives."""

    at: datetime
    order: str
    number: int
    document: Document


@dataclass
class Generated:
    """What was written."""

    folder: Path
    files: int = 0
    orders: int = 0
    defects: Counter[str] = field(default_factory=Counter)


def generate(out: Path, first: date, last: date, orders: int = 50, seed: int = 1, defects: float = 0.01) -> Generated:
    """Write the documents of these days, `orders` new orders a day. Raises LakehouseError for a range that is none."""
    if last < first or first < FIRST_DAY or orders < 1 or not 0 <= defects <= 1:
        raise LakehouseError(
            f"At least one day from {FIRST_DAY} on and one order a day; --defects is a probability from 0 to 1."
        )
    made = Generated(out)
    for day in (first + timedelta(days=n) for n in range((last - first).days + 1)):
        folder = out / str(day)
        folder.mkdir(parents=True, exist_ok=True)
        for arrival in _arrivals(day, orders, seed):
            random = Random(f"{seed}:{arrival.order}:{arrival.number}:{day}")
            for name, text in _files(random, arrival, defects, made.defects):
                (folder / f"{name}.json").write_text(text, encoding="utf-8")
                made.files += 1
        made.orders += orders
    return made


def _arrivals(day: date, orders: int, seed: int) -> Iterator[Arrival]:
    """The changes that happen on a day, to orders of that day and of those before it."""
    for age in range(LIFE_DAYS, -1, -1):
        born = day - timedelta(days=age)
        if born < FIRST_DAY:
            continue
        for number in range(orders):
            yield from (change for change in _life(born, number, seed) if change.at.date() == day)


def _life(born: date, number: int, seed: int) -> Iterator[Arrival]:
    """Every document of an order, in the order of its changes."""
    random = Random(f"{seed}:{born}:{number}")
    order = f"{born:%Y%m%d}-{number:05}"
    items = [_item(random) for _ in range(random.choice((1, 1, 1, 2, 2, 3)))]
    customer = f"cliente-{random.randrange(5_000):05}"
    created = datetime.combine(born, time(6)) + timedelta(seconds=random.randrange(17 * 3600))
    at, until = created, datetime.combine(born + timedelta(days=LIFE_DAYS), time(23, 59, 59))
    steps = [*STEPS, random.choice(ENDS)] if random.random() < 0.06 else list(STEPS)
    if random.random() < 0.08:
        steps = [*STEPS[: random.randint(1, 2)], random.choice(("CANCELED", "EXPIRED"))]
    for place, status in enumerate(steps):
        yield Arrival(at, order, place, _document(order, customer, items, created, at, status))
        at += timedelta(
            seconds=random.randrange(60, 30 * 3600 if place > 1 else 3600), milliseconds=random.randrange(999)
        )
        if at > until:
            return


def _item(random: Random) -> Document:
    goods, seller = random.randrange(len(GOODS)), random.randrange(len(SELLERS))
    price = random.randrange(990, 60_000) / 100
    discount = random.choice((0.0, 0.0, round(price / 10, 2)))
    return {
        "nom_item": GOODS[goods],
        "cod_ofrt_ineo_requ": f"oferta-{goods}-{seller}",
        "vlr_oril": price,
        "vlr_prod": round(price - discount, 2),
        "vlr_prod_ofrt_desc": discount,
        "qtd_item_pedi": random.choice((1, 1, 1, 2, 4)),
        "idt_venr": f"vendedor-{seller}",
        "nom_venr": SELLERS[seller],
        "idt_vrne_venr": f"V{seller}{goods:03}",
        "cod_vrne_prod": f"MKU-{goods:04}",
    }


def _document(
    order: str, customer: str, items: list[Document], created: datetime, changed: datetime, status: str
) -> Document:
    known = STEPS.index(status) if status in STEPS else len(STEPS)
    sent = known >= STEPS.index("SENT") and status not in ("CANCELED", "EXPIRED")
    paid = "PAID" if known >= STEPS.index("PAID") else status
    return {
        "txt_detl_idt_pedi_pgto": order,
        "cod_idef_clie": customer,
        "dat_hor_tran": _zulu(created),
        "dat_atui": _zulu(changed),
        "stat_pedi": status,
        "stat_pgto": status if status in ("CANCELED", "EXPIRED") else paid,
        "list_item_pedi": items,
        "list_envo": [_shipment(order, item, status) for item in items] if sent else [],
    }


def _shipment(order: str, item: Document, status: str) -> Document:
    shipped = {
        "qtd_prod": item["qtd_item_pedi"],
        "cod_prod_venr": item["idt_vrne_venr"],
        "cod_prod": item["cod_vrne_prod"],
        "stat_entg": status,
    }
    return {
        "cod_tipo_entg": f"envio-{order}-{item['cod_vrne_prod']}",
        "list_item_envo": [shipped],
        "cod_venr": item["idt_venr"],
        "nom_stat_entg": status,
    }


def _zulu(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds") + "Z"


def _files(random: Random, arrival: Arrival, defects: float, counted: Counter[str]) -> Iterator[tuple[str, str]]:
    """The document's file, perhaps with a defect; a duplicate comes beside it."""
    one, name = arrival.document, f"{arrival.order}-{arrival.number:02}"
    changes: dict[str, Document] = {
        "duplicate": {},
        "missing_order": {"txt_detl_idt_pedi_pgto": None},
        "unknown_status": {"stat_pedi": "LOST-AT-SEA"},
        "no_items": {"list_item_pedi": []},
        "from_the_future": {"dat_atui": "2099-01-01T00:00:00.000Z"},
        "changed_before_created": {"dat_hor_tran": _zulu(arrival.at + timedelta(days=1))},
        "unknown_field": {"dat_agendada": "amanhã"},
        "negative_price": {"list_item_pedi": [item | {"vlr_prod": -1.0} for item in one["list_item_pedi"]]},
        "half_written": {},
    }
    defect = next((which for which in changes if random.random() < defects), None)
    text = _text(one | changes[defect] if defect else one)
    if defect:
        counted[defect] += 1
    yield name, text[: len(text) // 2] if defect == "half_written" else text
    if defect == "duplicate":
        yield f"{name}-again", text


def _text(document: Document) -> str:
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
