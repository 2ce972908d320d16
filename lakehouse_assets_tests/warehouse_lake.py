"""A lake of a few days beside a real embedded PostgreSQL: what tests of the warehouse share."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, write_deltalake

from lakehouse_assets import defs as domains
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.declare.table import Publish, Table, TableKey
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, InputVersion
from lakehouse_assets.serving import postgres
from lakehouse_assets.serving.postgres import connect
from lakehouse_assets.serving.publish import Published
from lakehouse_assets.settings import Settings

CATALOG = discover(domains)
SALES = CATALOG.table(TableKey("store", "gold", "daily_sales"))
CURRENT = CATALOG.table(TableKey("gmv", "gold", "gmv_current"))
LEDGER = CATALOG.table(TableKey("gmv", "gold", "gmv"))
USERS = replace(CATALOG.table(TableKey("store", "silver", "users")), publish=Publish(("name",)))
DAYS = [date(2025, 1, 1) + timedelta(days=n) for n in range(4)]
ARROW = {
    "string": pa.string(),
    "bigint": pa.int64(),
    "int": pa.int32(),
    "smallint": pa.int16(),
    "tinyint": pa.int8(),
    "double": pa.float64(),
    "float": pa.float32(),
    "date": pa.date32(),
    "boolean": pa.bool_(),
    "binary": pa.binary(),
    "timestamp": pa.timestamp("us", "UTC"),
    "timestamp_ntz": pa.timestamp("us"),
    "array<string>": pa.list_(pa.string()),
}
Row = dict[str, Any]


def arrow(table: Table, rows: Sequence[Row]) -> pa.Table:
    fields = []
    for field in table.compiled.spark_schema:
        kind = field.dataType.simpleString()
        if kind.startswith("decimal"):
            fields.append((field.name, pa.decimal128(*map(int, kind[8:-1].split(",")))))
        else:
            fields.append((field.name, ARROW[kind]))
    return pa.Table.from_pylist(list(rows), schema=pa.schema(fields))


def commit(settings: Settings, table: Table, rows: Sequence[Row], days: Sequence[date] = ()) -> None:
    """Replace these days of a table of the lake (or the whole of it) by one commit with the platform's note."""
    metadata = CommitMetadata(str(table.key), "run", "a", frozenset(days), "code", {"x": InputVersion(0, "")})
    path = settings.lake.joinpath(*table.key.parts)
    there = (path / "_delta_log").exists()
    bounds = f"feed_day >= '{min(days)}' AND feed_day <= '{max(days)}'" if days and there else None
    write_deltalake(
        str(path),
        arrow(table, rows),
        mode="overwrite" if there else "append",
        predicate=bounds,
        commit_properties=CommitProperties(custom_metadata={"userMetadata": metadata.dump()}),
    )


def sale(day: date, net: str = "10.50", category: str = "casa", **other: Any) -> Row:
    row = {"feed_day": day, "day": day, "category": category, "state": "SP", "orders": 2, "units": 3}
    return row | {"gross": Decimal(net) + 1, "cancelled": Decimal("1.00"), "net": Decimal(net)} | other


@contextmanager
def embedded(home: Path) -> Iterator[Settings]:
    """A home with an embedded PostgreSQL."""
    here = Settings(home=home, warehouse_url=None)
    yield here
    postgres.stop(here)


@contextmanager
def lake_beside(server: Settings, root: Path) -> Iterator[Settings]:
    """A lake of the test's own, published to the embedded PostgreSQL, which is emptied behind it."""
    yield Settings(home=server.home, root=root, warehouse_url=None)
    with connect(server) as connection, connection, connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
        for schema in ("store", "gmv", "store_silver", "lakehouse"):
            cursor.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


def rows_of(settings: Settings, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connect(settings) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()


def published(days: list[Published]) -> list[tuple[date | None, int, bool]]:
    return [(day.day, day.rows, day.changed) for day in days]
