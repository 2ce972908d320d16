"""What rows amount to, column by column, asked of DuckDB and of PostgreSQL in the same terms.

Every column gives a sum that does not depend on the order of rows: of its numbers, of days or microseconds since 1970,
of 60 bits of each value's MD5. One that may be NULL also gives how many values it has. So what was lost, doubled or
altered on the way shows, and in which column; not two changes of a column that make up for each other. Floats and JSON,
which two programs write differently, are only counted.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from lakehouse_assets.serving.warehouse_schema import postgres_type
from lakehouse_assets.serving.warehouse_tables import fields_of

if TYPE_CHECKING:
    from lakehouse_assets.platform.declare.table import Table


@dataclass(frozen=True)
class Dialect:
    """How an engine says what two of them say differently, of a column in braces."""

    text: str
    time: str


DUCKDB = Dialect(text="CAST('0x' || left(md5({}), 15) AS BIGINT)", time="epoch_us({})")
POSTGRESQL = Dialect(
    text="('x' || left(md5({}), 15))::bit(60)::bigint", time="(extract(epoch FROM {}) * 1000000)::bigint"
)
WIDE = 28
"""Digits up to which ten thousand million values of a DECIMAL add up to one of 38 digits, which is what DuckDB has."""
_HASHED = ("text", "bytea")
_TIMES = ("timestamp with time zone", "timestamp without time zone")
_COUNTED = ("double precision", "real", "jsonb")


@dataclass(frozen=True)
class Figures:
    """What rows amount to: a value for each name, the number of rows first."""

    names: tuple[str, ...]
    values: tuple[Decimal, ...]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return int(self.values[0])

    @property
    def checksum(self) -> int:
        """60 bits, the same for the same figures."""
        text = repr([*zip(self.names, map(str, self.values), strict=True)])
        return int(hashlib.sha256(text.encode()).hexdigest()[:15], 16)

    def difference(self, other: "Figures") -> list[str]:
        """What differs, with both values: `net: 12.50, 11.50`."""
        found = zip(self.names, self.values, other.values, strict=True)
        return [f"{name}: {mine}, {theirs}" for name, mine, theirs in found if mine != theirs]


def expressions(table: "Table", dialect: Dialect) -> str:
    """The figures of a table's published columns, to be selected; `figures` reads the answer."""
    return ", ".join(expression for _, expression in _asked(table, dialect))


def figures(table: "Table", answer: Sequence[int | Decimal | None]) -> Figures:
    """Figures from the row that answered `expressions`; a sum of nothing is 0."""
    names = tuple(name for name, _ in _asked(table, POSTGRESQL))
    return Figures(names, tuple(Decimal(value or 0) for value in answer))


def _asked(table: "Table", dialect: Dialect) -> Iterator[tuple[str, str]]:
    """Name and expression of each figure."""
    yield "rows", "count(*)"
    for field in fields_of(table):
        column, kind = f'"{field.name}"', postgres_type(field.dataType)
        if field.nullable or kind in _COUNTED:
            yield f"{field.name} (not NULL)", f"count({column})"
        if kind not in _COUNTED:
            yield field.name, _sum(column, kind, dialect)


def _sum(column: str, kind: str, dialect: Dialect) -> str:
    if kind in _HASHED:
        return f"sum({dialect.text.format(column)})"
    if kind.startswith("numeric") and int(kind[8:].split(",")[0]) > WIDE:
        # Of numbers without digits before the point, DuckDB writes .5 and PostgreSQL 0.5.
        text = f"regexp_replace(CAST({column} AS VARCHAR), '^(-?)0?\\.', '\\1.')"
        return f"sum({dialect.text.format(text)})"
    if kind in _TIMES:
        return f"sum({dialect.time.format(column)})"
    if kind == "date":
        return f"sum({column} - DATE '1970-01-01')"
    if kind == "boolean":
        return f"count(*) FILTER (WHERE {column})"
    return f"sum({column})"
