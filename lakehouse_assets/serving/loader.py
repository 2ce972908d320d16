"""Rows into the warehouse: a session of the loader that takes Arrow and writes it by a binary COPY.

A binary COPY costs the server half of what parsing text does, and converts nothing: each column has to arrive as the
type that the warehouse has it in, which `prepare` has made the contract's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import adbc_driver_postgresql.dbapi as adbc
import duckdb
import pyarrow as pa

from lakehouse_assets.serving.postgres import WarehouseError, dsn, failed, first_line, unreachable
from lakehouse_assets.serving.warehouse_schema import LOADER, postgres_type
from lakehouse_assets.serving.warehouse_tables import fields_of, place
from lakehouse_assets.settings import Settings

if TYPE_CHECKING:
    import pyspark.sql.types as T
    from adbc_driver_manager.dbapi import Connection, Cursor

    from lakehouse_assets.platform.declare.table import Table

PAGE = 20_000  # rows
REFUSED_VALUE = (adbc.DataError, adbc.IntegrityError)


@contextmanager
def loading(settings: Settings) -> "Iterator[Connection]":
    """A session that writes as the loader; a transaction ends by `commit`. Raises WarehouseError."""
    try:
        # Days are looked for by their index, and what costs much only because it has none is not worth compiling.
        connection = adbc.connect(dsn(settings, f"-c role={LOADER} -c enable_seqscan=off -c jit=off"))
    except adbc.OperationalError as error:
        raise unreachable(settings, error) from None  # libpq's text may quote the URL
    try:
        with connection:
            yield connection
    except adbc.Error as error:
        raise failed(settings, error, error.sqlstate, not isinstance(error, adbc.OperationalError)) from error


@contextmanager
def transaction(connection: "Connection") -> "Iterator[Cursor]":
    """One transaction, committed at its end. One that fails ends with its session."""
    with connection.cursor() as cursor:
        yield cursor
    connection.commit()


def quoted(table: "Table") -> str:
    """The table's name in SQL."""
    return ".".join(f'"{part}"' for part in place(table))


def summarize(cursor: "Cursor", table: "Table") -> None:
    """Let the index of days know the rows that came last: a day is then looked for in its own pages only.

    PostgreSQL does so by itself only when it vacuums; until then whatever came since is read each time.
    """
    cursor.execute(
        """SELECT brin_summarize_new_values(indexrelid) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
           JOIN pg_am ON pg_am.oid = relam WHERE indrelid = to_regclass($1) AND amname = 'brin'""",
        (quoted(table),),
    )


def ingest(cursor: "Cursor", table: "Table", rows: "duckdb.DuckDBPyRelation") -> int:
    """Append rows of the columns that `columns` selects; how many. Raises WarehouseError if they cannot be read."""
    schema, name = place(table)
    read, broke = rows.to_arrow_reader(PAGE), list[Exception]()

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from read
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            broke.append(error)  # the driver would say that the connection failed
            raise

    try:
        arrow = pa.RecordBatchReader.from_batches(read.schema, batches())
        return cursor.adbc_ingest(name, arrow, mode="append", db_schema_name=schema)
    except adbc.Error:
        if broke:
            raise unreadable(table, broke[0]) from broke[0]
        raise


def unreadable(table: "Table", error: Exception) -> WarehouseError:
    """The error of rows of the lake that cannot be read."""
    return WarehouseError(f"{table.key} could not be read, and was not published: {first_line(error)}")


def columns(table: "Table") -> str:
    """The published columns, selected in DuckDB as the types that PostgreSQL has them in."""
    return ", ".join(f'{_typed(field)} AS "{field.name}"' for field in fields_of(table))


def _typed(field: "T.StructField") -> str:
    name, kind = f'"{field.name}"', postgres_type(field.dataType)
    if kind == "timestamp with time zone":
        # Spark writes INT96, which DuckDB reads as a TIMESTAMP; others write a TIMESTAMPTZ. Both are UTC.
        return f"make_timestamp(epoch_us({name}))"
    if kind == "jsonb":
        return f"chr(1) || CAST(to_json({name}) AS VARCHAR)"  # in binary it is a version and the text
    return f"CAST({name} AS {kind})"
