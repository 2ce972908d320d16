"""The store's daily drop as the shop would deliver it: `<out>/<day>/{users,products,orders,payments}.csv`.

Everything of a day's users, prices and orders is drawn from (seed, day), their payments included: a range generated in
pieces with the same `since`, `orders` and `seed` gives the same files as in one call. Money is whole cents until text.
"""

import csv
from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lakehouse_assets.platform.common.errors import LakehouseError

Array = npt.NDArray[Any]
Texts = dict[str, list[str]]

HEADERS = {
    "users": ("user_id", "name", "email", "signup_date", "city", "state"),
    "products": ("product_id", "name", "category", "price", "stock"),
    "orders": ("order_id", "user_id", "product_id", "quantity", "total_price", "order_date", "status"),
    "payments": ("payment_id", "order_id", "payment_method", "amount", "paid_at"),
}
# Of a record at most one of these.
DEFECTS = {
    "users": ("duplicate", "null_id", "null_email"),
    "products": ("duplicate", "null_price", "negative_price"),
    "orders": ("duplicate", "quantity_0", "null_quantity", "year_2099", "orphan_user"),
    "payments": ("duplicate", "amount_-1", "null_paid_at", "orphan_order"),
}
PRODUCTS = 500
MOST_ORDERS = 999_999
RETURN_DAYS = 30  # users who registered in these days order again
PAY_DAYS = 3  # days after its order in which a payment may come
CATALOGUE = {
    "eletrônicos": ("Smartphone", "Notebook", "Fone Bluetooth", "Smart TV", "Caixa de Som"),
    "moda": ("Camiseta", "Calça Jeans", "Tênis", "Jaqueta", "Boné"),
    "livros": ("Romance", "Livro Técnico", "Infantil", "Autoajuda", "História"),
    "casa": ("Panela", "Cadeira", "Lâmpada", "Sofá", "Liquidificador"),
    "esportes": ("Bola", "Bicicleta", "Tênis de Corrida", "Mochila", "Skate"),
}
PRICES = {"eletrônicos": 150_000, "moda": 15_000, "livros": 6_000, "casa": 30_000, "esportes": 40_000}  # typical, cents
CITIES = (
    ("São Paulo", "SP"), ("Campinas", "SP"), ("Rio de Janeiro", "RJ"), ("Niterói", "RJ"), ("Belo Horizonte", "MG"),
    ("Uberlândia", "MG"), ("Salvador", "BA"), ("Recife", "PE"), ("Fortaleza", "CE"), ("Curitiba", "PR"),
    ("Porto Alegre", "RS"), ("Florianópolis", "SC"), ("Goiânia", "GO"), ("Brasília", "DF"), ("Manaus", "AM"),
    ("Belém", "PA"), ("Vitória", "ES"), ("Natal", "RN"), ("Maceió", "AL"), ("Cuiabá", "MT"),
)  # fmt: skip
FIRST_NAMES = ("Ana", "João", "Maria", "Pedro", "Beatriz", "Lucas", "Júlia", "Rafael", "Letícia", "Gustavo", "Íris")
LAST_NAMES = ("Silva", "Souza", "Oliveira", "Araújo", "Conceição", "Lima", "Gonçalves", "Ribeiro", "Antunes", "Moraes")
METHODS = ("pix", "boleto", "cartao_credito", "cartao_debito")
STATUSES = ("aprovado", "pendente", "cancelado")


class GenerateError(LakehouseError):
    """What was asked of the generator cannot be generated."""


@dataclass(frozen=True)
class TableCounts:
    """What was written of one table over all days; `defects` by name, see `DEFECTS`."""

    rows: int
    defects: Counter[str]


def generate(
    out: Path, first: date, last: date, orders: int, seed: int, defects: float = 0.01, since: date | None = None
) -> dict[str, TableCounts]:
    """Write the drop of every day. `since`: the shop's first day, default `first`. Raises GenerateError."""
    if last < first:
        raise GenerateError(f"{first}..{last}: the range ends before it begins")
    if not 0 <= orders <= MOST_ORDERS:
        raise GenerateError(f"{orders} orders a day: give a number from 0 to {MOST_ORDERS}")
    if not 0 <= defects <= 1:
        raise GenerateError(f"defects {defects}: give a probability from 0 to 1, for example 0.01")
    shop = _Shop(since or first, orders, seed)
    if first < shop.since:
        raise GenerateError(f"{first} lies before {shop.since}, the shop's first day")
    rows, found = Counter[str](), {table: Counter[str]() for table in HEADERS}
    for day in (first + timedelta(days=n) for n in range((last - first).days + 1)):
        folder = out / day.isoformat()
        folder.mkdir(parents=True, exist_ok=True)
        tables = {
            "users": shop.users(day),
            "products": shop.products(day),
            "orders": shop.orders_text(day),
            "payments": shop.payments(day),
        }
        for number, (table, texts) in enumerate(tables.items()):
            rng = np.random.default_rng([abs(seed), int(seed < 0), day.toordinal(), 100 + number])
            spoiled, counted = _spoil(rng, table, texts, defects)
            rows[table] += len(spoiled)
            found[table] += counted
            with (folder / f"{table}.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(HEADERS[table])
                writer.writerows(spoiled)
    return {table: TableCounts(rows[table], +found[table]) for table in HEADERS}


@dataclass(frozen=True)
class _Orders:
    """A day's orders as arrays; `paid_after`: days until the payment, -1 for never."""

    ids: list[str]
    payment_ids: list[str]
    user: Array
    product: Array
    quantity: Array
    total: Array
    second: Array
    status: Array
    method: Array
    paid_after: Array
    paid_second: Array


class _Shop:
    """A shop by its seed: any day of it can be asked for."""

    def __init__(self, since: date, orders: int, seed: int) -> None:
        self.since, self._count, self._seed = since, orders, seed
        self._new_users = max(1, orders // 5)
        self._orders = lru_cache(maxsize=PAY_DAYS + 1)(self._draw_orders)
        rng = self._rng(0, 1)
        self._product_ids = _ids(rng, PRODUCTS)
        self._category = rng.integers(0, len(CATALOGUE), PRODUCTS)
        self._kind = rng.integers(0, 5, PRODUCTS)
        typical = np.array([PRICES[name] for name in CATALOGUE])[self._category]
        self._base = (typical * rng.uniform(0.4, 2.0, PRODUCTS)).astype(np.int64)

    def _rng(self, day: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng([abs(self._seed), int(self._seed < 0), day, purpose])

    def users(self, day: date) -> Texts:
        """Those who registered on the day, and some of the weeks before who moved."""
        fresh = self._registered(day)
        moved = [self._registered(other) for other in self._days_before(day, RETURN_DAYS)]
        rng = self._rng(day.toordinal(), 3)
        texts = {name: list(column) for name, column in fresh.items()}
        for column in moved:
            for place in np.flatnonzero(rng.random(len(column["user_id"])) < 0.002).tolist():
                city, state = CITIES[int(rng.integers(len(CITIES)))]
                changed = {name: values[place] for name, values in column.items()} | {"city": city, "state": state}
                for name, value in changed.items():
                    texts[name].append(value)
        known = dict(zip(texts["user_id"], range(len(texts["user_id"])), strict=True))  # one row a user and day
        return {name: [values[place] for place in known.values()] for name, values in texts.items()}

    def _registered(self, day: date) -> Texts:
        rng, n = self._rng(day.toordinal(), 2), self._new_users
        first, last, place = (rng.integers(0, len(of), n).tolist() for of in (FIRST_NAMES, LAST_NAMES, CITIES))
        ids = self._user_ids(day)
        return {
            "user_id": ids,
            "name": [f"{FIRST_NAMES[a]} {LAST_NAMES[b]}" for a, b in zip(first, last, strict=True)],
            "email": [f"cliente.{user[:8]}@example.com" for user in ids],
            "signup_date": [day.isoformat()] * n,
            "city": [CITIES[c][0] for c in place],
            "state": [CITIES[c][1] for c in place],
        }

    def _user_ids(self, day: date) -> list[str]:
        return _ids(self._rng(day.toordinal(), 4), self._new_users)

    def products(self, day: date) -> Texts:
        """The whole catalogue at the day's prices."""
        stock = self._rng(day.toordinal(), 5).integers(0, 151, PRODUCTS).tolist()
        categories = list(CATALOGUE)
        named = list(zip(self._category.tolist(), self._kind.tolist(), range(PRODUCTS), strict=True))
        return {
            "product_id": self._product_ids,
            "name": [f"{CATALOGUE[categories[c]][k]} {100 + n}" for c, k, n in named],
            "category": [categories[c] for c in self._category.tolist()],
            "price": _money(self._prices(day)),
            "stock": [str(pieces) for pieces in stock],
        }

    def _prices(self, day: date) -> Array:
        """Every product's price in cents; it changes from week to week."""
        change = self._rng(day.toordinal() // 7, 6).uniform(0.9, 1.1, PRODUCTS)
        return (self._base * change).astype(np.int64)

    def orders_text(self, day: date) -> Texts:
        """The day's orders."""
        drawn, users = self._orders(day), self._known_users(day)
        return {
            "order_id": drawn.ids,
            "user_id": [users[n] for n in drawn.user.tolist()],
            "product_id": [self._product_ids[n] for n in drawn.product.tolist()],
            "quantity": [str(n) for n in drawn.quantity.tolist()],
            "total_price": _money(drawn.total),
            "order_date": _times(day, drawn.second),
            "status": [STATUSES[n] for n in drawn.status.tolist()],
        }

    def payments(self, day: date) -> Texts:
        """What is paid on the day, of the orders of the day and of the days before."""
        texts: Texts = {name: [] for name in HEADERS["payments"]}
        for before in [day, *self._days_before(day, PAY_DAYS)]:
            drawn = self._orders(before)
            places = np.flatnonzero(drawn.paid_after == (day - before).days)
            at = places.tolist()
            second = drawn.paid_second[places]
            if before == day:
                second = drawn.second[places] + (86_399 - drawn.second[places]) * second // 86_400  # after the order
            texts["payment_id"] += [drawn.payment_ids[n] for n in at]
            texts["order_id"] += [drawn.ids[n] for n in at]
            texts["payment_method"] += [METHODS[n] for n in drawn.method[places].tolist()]
            texts["amount"] += _money(drawn.total[places])
            texts["paid_at"] += _times(day, second)
        return texts

    def _known_users(self, day: date) -> list[str]:
        return [user for known in [day, *self._days_before(day, RETURN_DAYS)] for user in self._user_ids(known)]

    def _days_before(self, day: date, most: int) -> list[date]:
        return [day - timedelta(days=n) for n in range(1, most + 1) if day - timedelta(days=n) >= self.since]

    def _draw_orders(self, day: date) -> _Orders:
        rng, n = self._rng(day.toordinal(), 7), self._count
        users = self._new_users * (1 + len(self._days_before(day, RETURN_DAYS)))
        product = (rng.random(n) ** 2 * PRODUCTS).astype(np.int64)  # few products sell most
        quantity = rng.integers(1, 6, n)
        status = rng.choice(3, n, p=(0.85, 0.08, 0.07))
        after = rng.choice(PAY_DAYS + 1, n, p=(0.7, 0.2, 0.06, 0.04))
        return _Orders(
            ids=_ids(rng, n),
            payment_ids=_ids(rng, n),
            user=(rng.random(n) ** 2 * users).astype(np.int64),  # the new ones order most
            product=product,
            quantity=quantity,
            total=self._prices(day)[product] * quantity,
            second=rng.integers(0, 86_400, n),
            status=status,
            method=rng.integers(0, len(METHODS), n),
            paid_after=np.where(status == 0, after, -1),
            paid_second=rng.integers(0, 86_400, n),
        )


def _spoil(rng: np.random.Generator, table: str, texts: Texts, rate: float) -> tuple[list[list[str]], Counter[str]]:
    """The rows of a file, some with a defect, and how many of each."""
    rows = [list(row) for row in zip(*(texts[name] for name in HEADERS[table]), strict=True)]
    kinds, place = DEFECTS[table], {name: n for n, name in enumerate(HEADERS[table])}
    drawn = rng.random(len(rows))
    counted: Counter[str] = Counter()
    again: list[list[str]] = []
    for at in np.flatnonzero(drawn < min(1.0, rate * len(kinds))).tolist():
        kind = kinds[min(int(drawn[at] / rate), len(kinds) - 1)]
        row = rows[at]
        counted[kind] += 1
        match kind:
            case "duplicate":
                again.append(list(row))
            case "null_id":
                row[place["user_id"]] = ""
            case "null_email":
                row[place["email"]] = ""
            case "null_price":
                row[place["price"]] = ""
            case "negative_price":
                row[place["price"]] = "-" + row[place["price"]]
            case "quantity_0":
                row[place["quantity"]] = "0"
            case "null_quantity":
                row[place["quantity"]] = ""
            case "year_2099":
                row[place["order_date"]] = "2099-01-01T00:00:00"
            case "orphan_user":
                row[place["user_id"]] = str(1000 + at % 9000)
            case "amount_-1":
                row[place["amount"]] = "-1"
            case "null_paid_at":
                row[place["paid_at"]] = ""
            case "orphan_order":
                row[place["order_id"]] = str(1000 + at % 9000)
    return rows + again, counted


def _ids(rng: np.random.Generator, count: int) -> list[str]:
    """Random identifiers in the form of a UUID."""
    text = rng.bytes(16 * count).hex()
    parts = (text[at : at + 32] for at in range(0, 32 * count, 32))
    return [f"{one[:8]}-{one[8:12]}-{one[12:16]}-{one[16:20]}-{one[20:]}" for one in parts]


def _money(cents: Array) -> list[str]:
    return [f"{value // 100}.{value % 100:02d}" for value in cents.tolist()]


def _times(day: date, seconds: Array) -> list[str]:
    times = np.datetime64(day.isoformat(), "s") + seconds.astype("timedelta64[s]")
    return [str(text) for text in np.datetime_as_string(times, unit="s").tolist()]
