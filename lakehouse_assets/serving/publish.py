"""Publish days of a table to the warehouse: COPY into staging, one transaction a day, only what changed.

A day goes in whole or not at all. In its transaction the staged rows are counted and summed up, and compared with
Delta's own; what is there of the day is replaced; and the Delta version that is now there is noted. An older publisher
that comes late finds a newer version noted and leaves it.
"""

import io
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import psycopg2
import pyarrow as pa
import pyarrow.compute as pc
from psycopg2 import sql

from lakehouse_assets.platform.delta import commits, open_table
from lakehouse_assets.platform.table import DAY_COLUMN, Ledger, ReplaceDays, Table
from lakehouse_assets.serving.postgres import WarehouseError, connect
from lakehouse_assets.serving.query import open_tables
from lakehouse_assets.serving.warehouse_schema import fields_of, identifier, place, postgres_type, prepare, withheld
from lakehouse_assets.settings import Settings

if TYPE_CHECKING:
    import duckdb
    import pyspark.sql.types as T
    from _typeshed import WriteableBuffer
    from deltalake import DeltaTable
    from psycopg2.extensions import connection as Connection
    from psycopg2.extensions import cursor as Cursor

PAGE = 20_000  # rows
CHUNK = 1024 * 1024  # bytes
ESCAPED = ("text", "bytea", "jsonb")  # may hold what ends a value; what numbers and times are written with does not
INEXACT = ("double", "float")
"""Types left out of the checksum, as JSON is: two programs write the same value differently."""


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
    done = []
    with connect(settings) as connection:
        try:
            with connection, connection.cursor() as cursor:
                prepare(cursor, table)
            versions = {".".join(table.key.parts): content.version}
            # Two connections, as a cursor of one does not know what another registered: tables in a bucket are.
            with open_tables(settings, versions) as lake, open_tables(settings, versions) as again:
                for day, version in content.changed.items():
                    published = _publish_day(connection, lake, again, table, content.source, day, version, run_id)
                    done.append(published)
                    on_day(published)
        except (psycopg2.DataError, psycopg2.IntegrityError, psycopg2.ProgrammingError) as error:
            raise WarehouseError(
                f"{'.'.join(place(table))}: PostgreSQL refused what Delta holds: {str(error).strip().splitlines()[0]}"
            ) from error
    return done


def by_day(table: Table) -> bool:
    """Whether a commit of a day changes that day's rows only; else the table is one state and is published whole."""
    return isinstance(table.write, ReplaceDays | Ledger) and DAY_COLUMN in table.compiled.spark_schema.names


def source_of(delta: "DeltaTable", table: Table) -> str:
    """What published days are made of: the Delta table, and which of its columns are withheld."""
    hidden = sorted(withheld(table))
    return f"{delta.metadata().id} without {', '.join(hidden)}" if hidden else str(delta.metadata().id)


def noted(settings: Settings, table: Table) -> dict[date | None, tuple[str, int, int, int]]:
    """What the warehouse holds of a table: day -> source, Delta version, rows, checksum."""
    with connect(settings) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('lakehouse.published') IS NOT NULL")
        if cursor.fetchone() != (True,):
            return {}
        cursor.execute(
            "SELECT feed_day, source, delta_version, rows, checksum FROM lakehouse.published WHERE table_name = %s",
            (_name(table),),
        )
        return {row[0]: (row[1], row[2], row[3], int(row[4])) for row in cursor.fetchall()}


def _content(settings: Settings, table: Table, days: Collection[date]) -> _Content | None:
    path = settings.lake.joinpath(*table.key.parts)
    delta = open_table(path)
    if delta is None:
        return None
    version, source = delta.version(), source_of(delta, table)
    if not by_day(table):
        return _Content(source, version, {None: version})
    changed: dict[date | None, int] = {}
    wanted = set(days)
    for commit in commits(path, until=version):
        said = commit.note.days if commit.note else frozenset(wanted)  # a commit that is not ours may hold any day
        changed |= dict.fromkeys(said & (wanted - set(changed)), commit.version)
        if wanted <= set(changed):
            break
    return _Content(source, version, {day: changed[day] for day in sorted(wanted) if day in changed})


def _publish_day(
    connection: "Connection",
    lake: "duckdb.DuckDBPyConnection",
    again: "duckdb.DuckDBPyConnection",
    table: Table,
    source: str,
    day: date | None,
    version: int,
    run_id: str,
) -> Published:
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (_name(table),))
        cursor.execute(
            """SELECT delta_version, rows, checksum FROM lakehouse.published
               WHERE table_name = %s AND feed_day IS NOT DISTINCT FROM %s AND source = %s AND delta_version >= %s""",
            (_name(table), day, source, version),
        )
        there = cursor.fetchone()
        if there:
            return Published(day, there[0], there[1], int(there[2]), changed=False)
        with ThreadPoolExecutor(1) as beside:  # summed up in Delta while it is copied
            summing = beside.submit(lambda: again.execute(_delta_sum(table), {"day": day}).fetchall()[0])
            _stage(cursor, lake, table, day)
            cursor.execute(_staged_sum(table))
            staged = cursor.fetchone() or (0, 0)
            expected = summing.result()
        if tuple(map(int, staged)) != tuple(map(int, expected)):
            raise WarehouseError(
                f"{_name(table)} {day or ''}: Delta has {expected[0]} rows (checksum {expected[1]}), PostgreSQL would "
                f"have {staged[0]} ({staged[1]}). The day was not published."
            )
        _replace(cursor, table, day)
        cursor.execute(
            """INSERT INTO lakehouse.published (table_name, feed_day, source, delta_version, rows, checksum, run_id)
               VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (table_name, feed_day) DO UPDATE
               SET source = excluded.source, delta_version = excluded.delta_version, rows = excluded.rows,
                   checksum = excluded.checksum, run_id = excluded.run_id, published_at = now()""",
            (_name(table), day, source, version, *staged, run_id),
        )
        return Published(day, version, int(staged[0]), int(staged[1]), changed=True)


def _stage(cursor: "Cursor", lake: "duckdb.DuckDBPyConnection", table: Table, day: date | None) -> None:
    columns = [field.name for field in fields_of(table)]
    rows = lake.sql(f"SELECT {copy_line(table)} {_delta_rows(table)}", params={"day": day})
    cursor.execute(
        sql.SQL("CREATE TEMP TABLE staging ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)), identifier(table)
        )
    )
    cursor.copy_expert("COPY staging FROM STDIN", Lines(rows), CHUNK)


def _replace(cursor: "Cursor", table: Table, day: date | None) -> None:
    columns = sql.SQL(", ").join(sql.Identifier(field.name) for field in fields_of(table))
    if day is None:
        cursor.execute(sql.SQL("DELETE FROM {}").format(identifier(table)))
    else:
        cursor.execute(sql.SQL("DELETE FROM {} WHERE feed_day = %s").format(identifier(table)), (day,))
    cursor.execute(sql.SQL("INSERT INTO {} ({}) SELECT {} FROM staging").format(identifier(table), columns, columns))


class Lines(io.RawIOBase):
    """The lines of a query's only column, as a file for COPY that is made while it is read."""

    def __init__(self, rows: "duckdb.DuckDBPyRelation") -> None:
        self._batches = rows.to_arrow_reader(PAGE)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        while not self._rest:
            batch = next(self._batches, None)
            if batch is None:
                return 0
            page = pa.LargeListArray.from_arrays([0, len(batch)], batch.column(0))
            self._rest = memoryview(pc.binary_join(page, "")[0].as_buffer()).cast("B")
        into = memoryview(buffer).cast("B")
        found = self._rest[: len(into)]
        into[: len(found)] = found
        self._rest = self._rest[len(found) :]
        return len(found)


def _name(table: Table) -> str:
    return str(table.key)


def _delta_rows(table: Table) -> str:
    """Rows of a day, or all rows of a table that is one state."""
    place = ".".join(f'"{part}"' for part in table.key.parts)
    return f"FROM {place} WHERE {'feed_day = $day' if by_day(table) else '$day IS NULL'}"


def copy_line(table: Table) -> str:
    """A row as a line for COPY: values between tabs, NULL as \\N, what would end a value escaped."""

    def escaped(field: "T.StructField") -> str:
        text = _text(field)
        if postgres_type(field.dataType) not in ESCAPED:
            return f"coalesce({text}, chr(92) || 'N')"
        for found, instead in ((92, 92), (9, ord("t")), (10, ord("n")), (13, ord("r"))):
            text = f"replace({text}, chr({found}), chr(92) || chr({instead}))"
        return f"coalesce({text}, chr(92) || 'N')"

    return " || chr(9) || ".join(map(escaped, fields_of(table))) + " || chr(10)"


def _text(field: "T.StructField") -> str:
    """A column as the text that PostgreSQL reads and writes, in DuckDB."""
    kind = field.dataType.simpleString()
    if kind == "binary":
        return f"chr(92) || 'x' || lower(hex(\"{field.name}\"))"
    if kind == "timestamp":
        # Spark writes INT96, which DuckDB reads as a TIMESTAMP; others write a TIMESTAMPTZ. Both are UTC.
        return f"CAST(make_timestamp(epoch_us(\"{field.name}\")) AS VARCHAR) || '+00'"
    if postgres_type(field.dataType) == "jsonb":
        return f'CAST(to_json("{field.name}") AS VARCHAR)'
    return f'CAST("{field.name}" AS VARCHAR)'


def _summed(table: Table) -> "list[T.StructField]":
    exact = [field for field in fields_of(table) if field.dataType.simpleString() not in INEXACT]
    return [field for field in exact if postgres_type(field.dataType) != "jsonb"]


def _delta_sum(table: Table) -> str:
    """Count and checksum of a day in DuckDB: the sum of 60 bits of every row's MD5, whatever the order."""
    row = " || chr(31) || ".join(f"coalesce({_text(field)}, chr(30))" for field in _summed(table))
    return f"SELECT count(*), coalesce(sum(CAST('0x' || substr(md5({row}), 1, 15) AS BIGINT)), 0) {_delta_rows(table)}"


def _staged_sum(table: Table) -> sql.Composed:
    """The same in PostgreSQL."""
    texts = [sql.SQL("coalesce({}::text, chr(30))").format(sql.Identifier(field.name)) for field in _summed(table)]
    return sql.SQL(
        "SELECT count(*), coalesce(sum(('x' || substr(md5({}), 1, 15))::bit(60)::bigint), 0) FROM staging"
    ).format(sql.SQL(" || chr(31) || ").join(texts))
