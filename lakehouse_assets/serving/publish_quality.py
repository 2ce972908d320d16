"""Publish check results and quarantine counts to the warehouse: what came since, each in one transaction.

The journal of check results is only ever appended to, but not in the order of its times: a run that died is reported
later. So what is newer than an hour before the newest row that is there is replaced, and when the number of rows is
then not Delta's the whole of it is published again.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
from psycopg2.extras import execute_values

from lakehouse_assets.platform.catalog import Catalog
from lakehouse_assets.platform.delta import open_table
from lakehouse_assets.platform.journal import check_results_path
from lakehouse_assets.platform.plan import Lake
from lakehouse_assets.platform.table import Table
from lakehouse_assets.serving.postgres import WarehouseError, connect
from lakehouse_assets.serving.publish import Lines, copy_line
from lakehouse_assets.serving.quality_tables import CHECK_RESULTS, QUARANTINE
from lakehouse_assets.serving.query import open_tables, query
from lakehouse_assets.serving.warehouse_schema import prepare
from lakehouse_assets.settings import Settings

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from psycopg2.extensions import cursor as Cursor

OVERLAP = timedelta(hours=1)
JOURNAL = "ops.check_results"


@dataclass(frozen=True)
class QualityPublished:
    """What was written: rows of check results, and the tables whose quarantine was counted anew."""

    check_results: int
    quarantines: tuple[str, ...]


def behind(settings: Settings) -> str | None:
    """The level of the journal that the warehouse has not; None when it has it. Raises WarehouseError."""
    journal = open_table(check_results_path(settings.lake))
    if journal is None:
        return None
    level = _level(journal)
    with connect(settings) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('lakehouse.published') IS NOT NULL")
        return None if cursor.fetchone() == (True,) and _noted(cursor, JOURNAL) == level else "/".join(map(str, level))


def publish_quality(settings: Settings, catalog: Catalog, run_id: str) -> QualityPublished:
    """Bring both tables to what the lake holds. Raises WarehouseError; what was committed until then is there."""
    with connect(settings) as connection:
        for table in (CHECK_RESULTS, QUARANTINE):
            with connection, connection.cursor() as cursor:
                cursor.execute("RESET ROLE")
                prepare(cursor, table)
                cursor.execute("CREATE INDEX IF NOT EXISTS check_results_evaluated ON ops.check_results (evaluated_at)")
        counted = []
        for table in catalog.tables:
            with connection, connection.cursor() as cursor:
                if _publish_quarantine(settings, cursor, table, run_id):
                    counted.append(str(table.key))
        # Last: while its level is not noted, whatever was not published is behind.
        with connection, connection.cursor() as cursor:
            results = _publish_results(settings, cursor, run_id)
    return QualityPublished(results, tuple(counted))


def _publish_results(settings: Settings, cursor: "Cursor", run_id: str) -> int:
    _lock(cursor, JOURNAL)  # before looking: who looked earlier must not write later
    journal = open_table(check_results_path(settings.lake))
    if journal is None:
        return 0
    level, rows = _level(journal), _rows_of(journal)
    there = _noted(cursor, JOURNAL)
    if there == level:
        return 0
    copied = _replace_since(settings, cursor, level[1], _newest(cursor) if there and there[0] == level[0] else None)
    if _count(cursor) != rows:
        copied = _replace_since(settings, cursor, level[1], None)
    if _count(cursor) != rows:
        raise WarehouseError(
            f"{JOURNAL}: Delta has {rows} rows, PostgreSQL would have {_count(cursor)}. Not published."
        )
    _note(cursor, JOURNAL, level, rows, run_id)
    return copied


def _replace_since(settings: Settings, cursor: "Cursor", version: int, newest: datetime | None) -> int:
    """Replace the rows from an hour before `newest` on, or all of them; how many are there now."""
    since = newest - OVERLAP if newest else None
    cursor.execute("DELETE FROM ops.check_results WHERE coalesce(evaluated_at >= %s, true)", (since,))
    with open_tables(settings, {JOURNAL: version}) as lake:
        rows = lake.sql(
            f"SELECT {copy_line(CHECK_RESULTS)} FROM {JOURNAL} WHERE coalesce(evaluated_at >= $since, true)",  # noqa: S608
            params={"since": since},
        )
        columns = ", ".join(f'"{name}"' for name in CHECK_RESULTS.compiled.spark_schema.names)
        cursor.copy_expert(f"COPY ops.check_results ({columns}) FROM STDIN", Lines(rows))
    return int(cursor.rowcount)


def _publish_quarantine(settings: Settings, cursor: "Cursor", table: Table, run_id: str) -> bool:
    """Count a table's quarantine anew if it changed; whether it had."""
    name = f"{table.key}__quarantine"
    _lock(cursor, name)
    delta = open_table(Lake(settings.lake, settings.landing).quarantine(table.key))
    if delta is None:
        cursor.execute('DELETE FROM ops.quarantine WHERE "table" = %s', (str(table.key),))
        return cursor.rowcount > 0
    level = _level(delta)
    if _noted(cursor, name) == level:
        return False
    place = ".".join(table.key.parts) + "__quarantine"
    found = query(
        settings,
        f"""SELECT feed_day, rule, count(*) FROM (SELECT feed_day, unnest(rules) AS rule FROM {place})
            GROUP BY ALL ORDER BY ALL""",  # noqa: S608  (the name comes from the declaration)
        versions={place: level[1]},
    ).rows
    cursor.execute('DELETE FROM ops.quarantine WHERE "table" = %s', (str(table.key),))
    rows = [(str(table.key), *row) for row in found]
    execute_values(cursor, 'INSERT INTO ops.quarantine ("table", feed_day, rule, rows) VALUES %s', rows)
    _note(cursor, name, level, len(rows), run_id)
    return True


def _level(delta: "DeltaTable") -> tuple[str, int]:
    return str(delta.metadata().id), int(delta.version())


def _rows_of(delta: "DeltaTable") -> int:
    """Rows of a version, by the statistics of its files."""
    return sum(pa.table(delta.get_add_actions(flatten=True)).column("num_records").to_pylist())


def _lock(cursor: "Cursor", name: str) -> None:
    cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (name,))


def _noted(cursor: "Cursor", name: str) -> tuple[str, int] | None:
    cursor.execute(
        "SELECT source, delta_version FROM lakehouse.published WHERE table_name = %s AND feed_day IS NULL", (name,)
    )
    found = cursor.fetchone()
    return (found[0], found[1]) if found else None


def _note(cursor: "Cursor", name: str, level: tuple[str, int], rows: int, run_id: str) -> None:
    cursor.execute(
        """INSERT INTO lakehouse.published (table_name, feed_day, source, delta_version, rows, checksum, run_id)
           VALUES (%s, NULL, %s, %s, %s, 0, %s) ON CONFLICT (table_name, feed_day) DO UPDATE
           SET source = excluded.source, delta_version = excluded.delta_version, rows = excluded.rows,
               run_id = excluded.run_id, published_at = now()""",
        (name, *level, rows, run_id),
    )


def _newest(cursor: "Cursor") -> datetime | None:
    cursor.execute("SELECT max(evaluated_at) FROM ops.check_results")
    found = cursor.fetchone()
    return found[0] if found else None


def _count(cursor: "Cursor") -> int:
    cursor.execute("SELECT count(*) FROM ops.check_results")
    return int((cursor.fetchone() or (0,))[0])
