"""Publish days of a table to the warehouse: COPY, one transaction a day, only what changed.

A day goes in whole or not at all. In its transaction what is there of the day is replaced by a COPY; what is now there
is counted and summed up, and compared with Delta's own; and the Delta version of it is noted. Until the commit nobody
else sees any of it, so the transaction is the staging: a table for it would cost a second write of every row. An older
publisher that comes late finds a newer version noted and leaves it.
"""

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import duckdb

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.declare.table import Ledger, ReplaceDays, Table
from lakehouse_assets.platform.storage.delta_table import commits, open_table
from lakehouse_assets.platform.storage.location import Location
from lakehouse_assets.serving.figures import DUCKDB, POSTGRESQL, Figures, expressions, figures
from lakehouse_assets.serving.loader import (
    REFUSED_VALUE,
    columns,
    ingest,
    loading,
    quoted,
    summarize,
    transaction,
    unreadable,
)
from lakehouse_assets.serving.postgres import WarehouseError, connect, first_line
from lakehouse_assets.serving.published import Held, held, lock, metadata
from lakehouse_assets.serving.query import open_tables
from lakehouse_assets.serving.warehouse_schema import prepare
from lakehouse_assets.serving.warehouse_tables import place, withheld_columns
from lakehouse_assets.settings import Settings

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection, Cursor
    from deltalake import DeltaTable


@dataclass(frozen=True)
class Published:
    """A day in the warehouse (None: the whole table, which is one state)."""

    day: date | None
    version: int
    rows: int
    checksum: int
    changed: bool


@dataclass(frozen=True)
class _Content:
    """What is to be there: the table's identity and, by day, the version that last changed the day."""

    source: str
    version: int
    changed: dict[date | None, int]


@dataclass(frozen=True)
class _Source:
    """Where rows come from: a Delta table by its id, open twice, as a cursor of a connection knows no tables of it."""

    table: Table
    id: str
    lake: "duckdb.DuckDBPyConnection"
    again: "duckdb.DuckDBPyConnection"


def publish(
    settings: Settings,
    table: Table,
    days: Collection[date],
    run_id: str,
    on_day: Callable[[Published], None] = lambda _: None,
) -> list[Published]:
    """Bring these days of the warehouse to what Delta holds; a table without days is published whole.

    Days that are there already are left. Raises WarehouseError; days committed until then are there.
    """
    content = _content(settings, table, days)
    if content is None:
        return []
    with connect(settings) as connection, connection, connection.cursor() as cursor:
        prepare(cursor, table)
    done = []
    versions = {".".join(table.key.parts): content.version}
    try:
        with (
            open_tables(settings, versions) as lake,
            open_tables(settings, versions) as again,
            loading(settings) as warehouse,
        ):
            from_ = _Source(table, content.source, lake, again)
            for day, version in content.changed.items():
                try:
                    done.append(_publish_day(warehouse, from_, day, version, run_id))
                except REFUSED_VALUE as error:  # whose text quotes the row, which may be personal
                    message = f"PostgreSQL refused what Delta holds of {day or 'it'}: {first_line(error)}"
                    raise WarehouseError(f"{'.'.join(place(table))}: {message}") from None
                on_day(done[-1])
    except duckdb.Error as error:
        raise unreadable(table, error) from error
    return done


def by_day(table: Table) -> bool:
    """Whether a commit of a day changes that day's rows only; else the table is one state and is published whole."""
    return isinstance(table.write, ReplaceDays | Ledger) and DAY_COLUMN in table.compiled.spark_schema.names


def source_of(delta: "DeltaTable", table: Table) -> str:
    """What published days are made of: the Delta table, and which of its columns are withheld."""
    hidden = sorted(withheld_columns(table))
    return f"{delta.metadata().id} without {', '.join(hidden)}" if hidden else str(delta.metadata().id)


def _content(settings: Settings, table: Table, days: Collection[date]) -> _Content | None:
    path = settings.lake.joinpath(*table.key.parts)
    delta = open_table(path)
    if delta is None:
        return None
    version, source = delta.version(), source_of(delta, table)
    if not by_day(table):
        return _Content(source, version, {None: _last_change(path, version)})
    changed: dict[date | None, int] = {}
    wanted = set(days)
    for commit in commits(path, until=version):
        message = (
            commit.metadata.days if commit.metadata else frozenset(wanted)
        )  # a commit that is not ours may hold any day
        changed |= dict.fromkeys(message & (wanted - set(changed)), commit.version)
        if wanted <= set(changed):
            break
    return _Content(source, version, {day: changed[day] for day in sorted(wanted) if day in changed})


def _last_change(path: Location, version: int) -> int:
    """The newest version that may have changed a row: not one that only notes that nothing did."""
    for commit in commits(path, until=version):
        if commit.metadata is None or commit.metadata.days or not commit.metadata.unchanged:
            return commit.version
    return version


def _publish_day(warehouse: "Connection", from_: _Source, day: date | None, version: int, run_id: str) -> Published:
    name = str(from_.table.key)
    with transaction(warehouse) as cursor:
        lock(cursor, name)
        there = held(cursor, name, day)
        if there and there.source == from_.id and there.version >= version:
            return Published(day, there.version, there.rows, there.checksum, changed=False)
        amounts = _replace(cursor, from_, day)
        metadata(cursor, name, day, Held(from_.id, version, amounts.rows, amounts.checksum), run_id)
        return Published(day, version, amounts.rows, amounts.checksum, changed=True)


def _replace(cursor: "Cursor", from_: _Source, day: date | None) -> Figures:
    """Replace what is there of the day; what it amounts to on both sides. Raises WarehouseError where that differs."""
    table, place = from_.table, quoted(from_.table)
    where, of_day = ("", None) if day is None else (" WHERE feed_day = $1", (day,))
    summarize(cursor, table)
    cursor.execute(f"DELETE FROM {place}{where}", of_day)  # noqa: S608  (quoted)
    with ThreadPoolExecutor(1) as beside:  # summed up in Delta while it is copied
        asked = f"SELECT {expressions(table, DUCKDB)} {_rows(table)}"
        summing = beside.submit(lambda: from_.again.execute(asked, {"day": day}).fetchall())
        ingest(cursor, table, from_.lake.sql(f"SELECT {columns(table)} {_rows(table)}", params={"day": day}))
        expected = figures(table, summing.result()[0])
    cursor.execute(f"SELECT {expressions(table, POSTGRESQL)} FROM {place}{where}", of_day)  # noqa: S608  (quoted)
    if different := expected.difference(figures(table, cursor.fetchone() or ())):
        raise WarehouseError(
            f"{table.key} {day or ''}: Delta and what PostgreSQL would have do not amount to the same "
            f"({'; '.join(different)}). The day was not published."
        )
    return expected


def _rows(table: Table) -> str:
    """Rows of a day, or all rows of a table that is one state."""
    place = ".".join(f'"{part}"' for part in table.key.parts)
    return f"FROM {place} WHERE {'feed_day = $day' if by_day(table) else '$day IS NULL'}"
