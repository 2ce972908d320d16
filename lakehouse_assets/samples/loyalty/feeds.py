"""Feeds of the loyalty programme: `<out>/<table>/<day>.<csv|json|parquet>`, as sources really deliver them.

Transactions come as change data: inserted, updated, deleted, inserted again; some delivered late, some delivered twice,
in no order. They are invented, or are real ones given as files. Customers and products come as full snapshots whose
files drift. All that becomes of one transaction is drawn from (seed, its id).
"""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse_assets.platform.common.errors import LakehouseError

TRANSACAO = ("OP", "modified_date", "idTransacao", "idCliente", "dtTransacao", "qtdePontos")
LINHA = ("OP", "modified_date", "idTransacaoProduto", "idTransacao", "descProduto", "qtdeProduto")
PRODUTOS = {
    "ChatMessage": (1, "chat"), "Lista de presença": (50, "present"), "Resgatar Ponei": (100, "ponei"),
    "Presença Streak": (25, "present"), "Troca de Pontos StreamElements": (-100, "streamelements"),
    "Airflow Lover": (-500, "lovers"),
}  # fmt: skip
SHARES = (60, 20, 2, 12, 5, 1)  # of transactions, by product: people chat a lot and seldom spend what they gained
HORIZON = 8  # days after its time in which a change can still be delivered
Record = tuple[str | int, ...]


class GenerateError(LakehouseError):
    """What was asked of the generator cannot be generated."""


@dataclass(frozen=True)
class Transaction:
    """A transaction and its one product."""

    id: str
    cliente: str
    time: datetime
    points: int
    line: str
    product: str
    quantity: int


@dataclass(frozen=True)
class Generated:
    """Files and rows of a table."""

    table: str
    files: int
    rows: int


def real_transactions(transactions: Path, cart: Path) -> list[Transaction]:
    """Transactions (CSV: UUID;IdCustomer;DtTransaction;Points) and their lines (Parquet). Raises GenerateError."""
    try:
        with transactions.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter=";"))
        lines = {line["IdTransaction"]: line for line in pq.ParquetFile(cart).read().to_pylist()}
        return [
            Transaction(
                row["UUID"], row["IdCustomer"], datetime.fromisoformat(row["DtTransaction"]), int(row["Points"]),
                (line := lines[row["UUID"]])["UUID"], line["Product"], line["Quantity"],
            )
            for row in rows
        ]  # fmt: skip
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise GenerateError(f"{transactions}, {cart}: not transactions with their lines: {error!r}") from error


def invented_transactions(first: date, last: date, customers: int, a_day: int, seed: int) -> list[Transaction]:
    """`a_day` transactions on each day, by customers of whom more and more have joined."""
    found = []
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        rng = Random(f"{seed} {day}")
        joined = max(1, int(customers * min(1.0, (number + 10) / 60)))
        for _ in range(a_day):
            ((product, (points, _)),) = rng.choices(list(PRODUTOS.items()), SHARES)
            time = datetime.combine(day, datetime.min.time()) + timedelta(milliseconds=rng.randrange(86_400_000))
            cliente = customer(seed, rng.randrange(joined))
            found.append(Transaction(_uuid(rng), cliente, time, points, _uuid(rng), product, 1))
    return found


def customer(seed: int, number: int) -> str:
    """The id of an invented customer."""
    return _uuid(Random(f"{seed} customer {number}"))


def changes(transaction: Transaction, seed: int, share: float) -> Iterator[tuple[date, str, Record]]:
    """What becomes of a transaction: delivery day, table, record. `share`: how often each mishap befalls it."""
    rng = Random(f"{seed} {transaction.id}")
    t, time = transaction, transaction.time
    story: list[tuple[str, datetime, int]] = [("I", time, t.points)]
    if rng.random() < share:  # corrected later
        story.append(("U", time + timedelta(hours=rng.randint(1, 48)), t.points + rng.choice([-1, 1, 10])))
    if rng.random() < share / 2:  # deleted, and at times inserted again
        story.append(("D", time + timedelta(hours=rng.randint(49, 72)), t.points))
        if rng.random() < 0.3:
            story.append(("I", time + timedelta(hours=rng.randint(73, 90)), t.points))
    for op, at, points in story:
        late = rng.randint(1, 3) if rng.random() < share else 0
        days = [at.date() + timedelta(days=late)]
        if rng.random() < share:  # sent again
            days.append(days[0] + timedelta(days=rng.randint(0, 1)))
        for day in days:
            stamp, when = at.isoformat(" ", "milliseconds"), t.time.isoformat(" ", "milliseconds")
            yield day, "transacao", (op, stamp, t.id, t.cliente, when, points)
            if op != "U":
                yield day, "transacao_produto", (op, stamp, t.line, t.id, t.product, t.quantity)


def write_changes(
    out: Path, transactions: Iterable[Transaction], first: date, last: date, seed: int, share: float
) -> list[Generated]:
    """The changes delivered on these days, a file a day and table; Parquet and JSON lines in turn."""
    files: dict[tuple[str, date], list[Record]] = {}
    for transaction in transactions:
        for day, table, record in changes(transaction, seed, share):
            if first <= day <= last:
                files.setdefault((table, day), []).append(record)
    for (table, day), records in sorted(files.items()):
        Random(f"{seed} {table} {day}").shuffle(records)
        columns = TRANSACAO if table == "transacao" else LINHA
        (out / table).mkdir(parents=True, exist_ok=True)
        if day.toordinal() % 2:
            pq.write_table(
                pa.table({c: [r[n] for r in records] for n, c in enumerate(columns)}), out / table / f"{day}.parquet"
            )
        else:
            lines = [json.dumps(dict(zip(columns, record, strict=True)), ensure_ascii=False) for record in records]
            (out / table / f"{day}.json").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [
        Generated(
            table, sum(of == table for of, _ in files), sum(len(r) for (of, _), r in files.items() if of == table)
        )
        for table in ("transacao", "transacao_produto")
    ]


def write_snapshots(
    out: Path, transactions: Iterable[Transaction], first: date, last: date, seed: int
) -> list[Generated]:
    """Snapshots of these days: customers two days after their first transaction, some gone again; products."""
    balance: dict[str, int] = {}
    since: dict[str, date] = {}
    of_day: dict[date, list[Transaction]] = {}
    for transaction in transactions:
        of_day.setdefault(transaction.time.date(), []).append(transaction)
        since[transaction.cliente] = min(since.get(transaction.cliente, date.max), transaction.time.date())
    rows = files = 0
    for day in sorted(set(of_day) | {first + timedelta(days=n) for n in range((last - first).days + 1)}):
        for transaction in of_day.get(day, []):
            balance[transaction.cliente] = balance.get(transaction.cliente, 0) + transaction.points
        if not first <= day <= last:
            continue
        there = [
            c for c in sorted(balance) if since[c] + timedelta(days=2) <= day and not _gone(seed, c, since[c], day)
        ]
        if there:
            files, rows = files + 1, rows + len(there)
            _write_customers(out / "clientes", day, [(c, since[c], balance[c]) for c in there])
        _write_products(out / "produtos", day)
    days = (last - first).days + 1
    return [Generated("clientes", files, rows), Generated("produtos", days, days * len(PRODUTOS))]


def _gone(seed: int, cliente: str, since: date, day: date) -> bool:
    rng = Random(f"{seed} leaves {cliente}")
    return rng.random() < 0.05 and day >= since + timedelta(days=rng.randint(5, 60))


def _write_customers(folder: Path, day: date, customers: list[tuple[str, date, int]]) -> None:
    """The delimiter, the case of the names and the form of times change over the months, as in the real files."""
    late = day.month % 2 == 0
    names = ("idCliente", "nome", "email", "flEmail", "flTwitch", "qtdePontos", "dtCriacao", "dtAtualizacao")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{day}.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(
            stream, delimiter=";" if late else ",", quoting=csv.QUOTE_MINIMAL if late else csv.QUOTE_ALL,
            lineterminator="\n",
        )  # fmt: skip
        writer.writerow([name[0].upper() + name[1:] if late else name for name in names])
        for cliente, since, points in customers:
            created = f"{since} 00:00:00 +0000 UTC" if late else f"{since} 00:00:00.000"
            short = cliente[:8]
            writer.writerow([cliente, f"Pessoa {short}", f"{short}@example.com", 1, 1, points, created, created])


def _write_products(folder: Path, day: date) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    late = day.month % 2 == 0
    with (folder / f"{day}.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=";" if late else ",", lineterminator="\n")
        writer.writerow(("IdProduto", "DescProduto", "DescCateogriaProduto")[: 3 if late else 2])
        for number, (product, (_, category)) in enumerate(PRODUTOS.items(), start=1):
            writer.writerow((number, product, category)[: 3 if late else 2])


def _uuid(rng: Random) -> str:
    return str(UUID(int=rng.getrandbits(128), version=4))
