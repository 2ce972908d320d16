"""SQL over the lake without Spark: DuckDB reads the files that a Delta version names.

Tables are called by their three words (`gmv.silver.purchase`); also `gmv.audit`, `ops.check_results`,
`gmv.silver.purchase__quarantine` and, for what was landed, `gmv.landing.purchase`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from deltalake import DeltaTable, QueryBuilder

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.contracts.check_sql import DUCKDB_PRELUDE
from lakehouse_assets.platform.ingest.landing import manifest_path
from lakehouse_assets.platform.storage.delta_table import last_metadata, open_table
from lakehouse_assets.platform.storage.location import Location, answering, arrow_table, files_of, scan, tables_below
from lakehouse_assets.platform.storage.s3 import S3Path
from lakehouse_assets.platform.storage.table_features import Reader, reader_of
from lakehouse_assets.serving.as_of import AsOf, outside
from lakehouse_assets.settings import Settings

DUCKDB_TYPES = {
    "string": "VARCHAR",
    "long": "BIGINT",
    "integer": "INTEGER",
    "short": "SMALLINT",
    "byte": "TINYINT",
    "double": "DOUBLE",
    "float": "REAL",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMPTZ",
    "timestamp_ntz": "TIMESTAMP",
    "binary": "BLOB",
}


class QueryError(LakehouseError):
    """A query that names no table, names an unknown one, or is no SQL."""


@dataclass(frozen=True)
class Result:
    """Columns and rows, as plain Python values; what is to be said beside them."""

    columns: list[str]
    rows: list[tuple[Any, ...]]
    remarks: tuple[str, ...] = ()


def query(
    settings: Settings,
    sql: str,
    parameters: Sequence[Any] = (),
    *,
    versions: Mapping[str, int] | None = None,
    as_of: AsOf | None = None,
) -> Result:
    """Run one SELECT. `versions` reads a table (by its SQL name) as of a Delta version, `as_of` those with history as
    they were known at the end of a day. Raises QueryError.
    """
    asked = {name.replace("/", "."): version for name, version in (versions or {}).items()}
    with duckdb.connect(":memory:") as parser:
        names = sorted(set(_tables(_syntax_tree(parser, sql))))
    unused = sorted(set(asked) - set(names))
    if unused:
        raise QueryError(f"--version names {unused[0]}, which the query does not read.")
    with open_tables(settings, {name: asked.get(name) for name in names}, as_of) as connection:
        try:
            cursor = connection.execute(sql, list(parameters))
            columns, rows = [column[0] for column in cursor.description or []], cursor.fetchall()
            remarks = [remark_as_of(settings, name, as_of) for name in names] if as_of else []
            return Result(columns, rows, tuple(filter(None, remarks)))
        except duckdb.Error as error:
            raise QueryError(str(error)) from error


@contextmanager
def open_tables(
    settings: Settings, versions: Mapping[str, int | None], as_of: AsOf | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that has these tables, each as of a version (None: the newest), and reads nothing but the lake.

    `as_of`: those with history as they were known at the end of a day. Raises QueryError where none has.
    """
    with duckdb.connect(
        ":memory:", config={"autoinstall_known_extensions": "false", "parquet_metadata_cache": "true"}
    ) as connection:
        known = [_open(connection, settings, name, version, as_of) for name, version in versions.items()]
        if as_of and not any(known):
            raise QueryError(f"None of {', '.join(versions) or 'no table'} has a history to be read as of {as_of.day}.")
        connection.execute(DUCKDB_PRELUDE)
        _lock(connection, settings)
        yield connection


def remark_as_of(settings: Settings, name: str, as_of: AsOf) -> str:
    """What is to be said of a table as of a day: that the day lies before or after all that it knows; or nothing."""
    path = table_path(settings, name)
    table = open_table(path)
    moment = as_of.moment(name, [field.name for field in table.schema().fields]) if table else None
    if moment is None:
        return ""
    # Of the newest version, also where another one was asked for: what is known is known.
    sql = f"SELECT min({moment})::DATE, max({moment})::DATE FROM {name}"  # noqa: S608  (names of the table's own)
    ((first, last),) = query(settings, sql).rows
    metadata = last_metadata(path)
    published = metadata.published if metadata else None
    return outside(name, as_of.day, first, max(filter(None, (last, published)), default=None))


def _syntax_tree(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    """The parsed query. Raises QueryError for what is no SELECT."""
    (text,) = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()[0]
    tree = json.loads(text)
    if tree.get("error"):
        raise QueryError(f"That is no query: {tree['error_message']}")
    return tree


def _tables(node: Any) -> Iterator[str]:
    """SQL names of the tables of a syntax tree; a name of one word is a common table expression."""
    if isinstance(node, dict):
        if node.get("type") == "BASE_TABLE" and (node["catalog_name"] or node["schema_name"]):
            yield ".".join(part for part in (node["catalog_name"], node["schema_name"], node["table_name"]) if part)
        for child in node.values():
            yield from _tables(child)
    elif isinstance(node, list):
        for child in node:
            yield from _tables(child)


def _lock(connection: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """From here on the query may read the lake and nothing else."""
    # What lies in a bucket is read by pyarrow: DuckDB itself gets nothing of the network.
    roots = ", ".join(_quoted(str(root)) for root in (settings.lake, settings.landing) if isinstance(root, Path))
    connection.execute(f"SET allowed_directories = [{roots}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def table_path(settings: Settings, name: str) -> Location:
    """Folder of a table by its SQL name. Raises QueryError."""
    parts = name.split(".")
    if len(parts) not in (2, 3) or not all(part.isidentifier() for part in parts):
        raise QueryError(f"{name} is no table: write domain.layer.table, as in gmv.silver.purchase")
    if len(parts) == 3 and parts[1] == "landing":
        return manifest_path(settings.landing, f"{parts[0]}/{parts[2]}")
    return settings.lake.joinpath(*parts)


def known_tables(settings: Settings) -> list[str]:
    """SQL names of the tables that exist in the lake."""
    return [".".join(parts) for parts in tables_below(settings.lake)]


def _open(
    connection: duckdb.DuckDBPyConnection, settings: Settings, name: str, version: int | None, as_of: AsOf | None
) -> bool:
    """Make the table known by its name; whether it is read as of a day."""
    path = table_path(settings, name)
    table = open_table(path, version)
    if table is None:
        known = ", ".join(known_tables(settings)) or "none yet: `make demo` makes some"
        raise QueryError(f"There is no table {name} in {settings.lake}. There are: {known}")
    *schemas, view = name.split(".")
    database = schemas[0]
    attached = {row[0] for row in connection.execute("SELECT database_name FROM duckdb_databases()").fetchall()}
    if database not in attached:
        connection.execute(f"ATTACH ':memory:' AS \"{database}\"")
    target = ".".join(f'"{part}"' for part in (*schemas, view))
    if len(schemas) == 2:
        connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{database}"."{schemas[1]}"')
    else:
        target = f'"{database}"."main"."{view}"'
    clause = as_of.clause(name, [field.name for field in table.schema().fields]) if as_of else ""
    connection.execute(f"CREATE VIEW {target} AS {_select(connection, path, table, name)}{clause}")
    return bool(clause)


def _select(connection: duckdb.DuckDBPyConnection, path: Location, table: DeltaTable, name: str) -> str:
    """A SELECT of the rows of a version, its columns in the table's order. Raises UnknownFeature."""
    fields = table.schema().fields
    columns = ", ".join(_quoted_name(field.name) for field in fields)
    files = files_of(path, table)
    if not files:
        nothing = ", ".join(f"NULL::{_type(field.type)} AS {_quoted_name(field.name)}" for field in fields)
        return f"SELECT * FROM (SELECT {nothing} WHERE false)"  # noqa: S608  (names of the table's own columns)
    if reader_of(table, path, name) is Reader.DELTA_RS:
        # It applies deletion vectors and the names that columns have in files; the rows are held in memory.
        with answering(path):
            rows = QueryBuilder().register("t", table).execute("SELECT * FROM t").read_all()
        connection.register(f"{name} by delta-rs", arrow_table(rows))
        return f"SELECT {columns} FROM temp.main.{_quoted_name(f'{name} by delta-rs')}"  # noqa: S608
    if isinstance(path, S3Path):
        with answering(path):
            connection.register(f"{name} in S3", scan(path, table))
        return f"SELECT {columns} FROM temp.main.{_quoted_name(f'{name} in S3')}"  # noqa: S608
    return _select_files(connection, [str(file) for file in files], table)


def _select_files(connection: duckdb.DuckDBPyConnection, files: list[str], table: DeltaTable) -> str:
    """A SELECT of Parquet files: values of partitions by their folders, NULL for a column that no file has yet."""
    partitions = table.metadata().partition_columns
    rows = (
        f"read_parquet([{', '.join(map(_quoted, files))}], union_by_name = true, "
        f"hive_partitioning = {'true' if partitions else 'false'}, hive_types_autocast = false)"
    )
    found = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {rows}").fetchall()}  # noqa: S608
    columns = []
    for field in table.schema().fields:
        column = _quoted_name(field.name)
        if field.name in partitions:
            columns.append(f"CAST({column} AS {_type(field.type)}) AS {column}")
        else:
            columns.append(column if field.name in found else f"NULL::{_type(field.type)} AS {column}")
    return f"SELECT {', '.join(columns)} FROM {rows}"  # noqa: S608  (names of the table's own columns)


def _type(delta_type: Any) -> str:
    name = str(getattr(delta_type, "type", ""))
    if name == "array":
        return f"{_type(delta_type.element_type)}[]"
    if name.startswith("decimal"):
        return name.upper()
    return DUCKDB_TYPES.get(name, "VARCHAR")


def _quoted_name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
