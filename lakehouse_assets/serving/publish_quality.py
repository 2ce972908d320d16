"""Publish check results and quarantine counts to the warehouse: what came since, each in one transaction.

The journal of check results is only ever appended to, but not in the order of its times: a run that died is reported
later. So what is newer than an hour before the newest row that is there is replaced, and when the number of rows is
then not Delta's the whole of it is published again.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import Table
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.results.audit_log import check_results_path
from lakehouse_assets.platform.storage.delta_table import open_table
from lakehouse_assets.platform.storage.location import arrow_table
from lakehouse_assets.serving.loader import columns, ingest, loading, transaction
from lakehouse_assets.serving.postgres import WarehouseError, connect
from lakehouse_assets.serving.published import Held, held, held_of, lock, metadata
from lakehouse_assets.serving.quality_tables import CHECK_RESULTS, QUARANTINE
from lakehouse_assets.serving.query import open_tables
from lakehouse_assets.serving.warehouse_schema import prepare
from lakehouse_assets.settings import Settings

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Cursor
    from deltalake import DeltaTable

OVERLAP = timedelta(hours=1)
JOURNAL = "ops.check_results"


@dataclass(frozen=True)
class QualityPublished:
    """What was written: rows of check results, and the tables whose quarantine was counted anew."""

    check_results: int
    quarantines: tuple[str, ...]


def stale_days(settings: Settings) -> str | None:
    """The level of the journal that the warehouse has not; None when it has it. Raises WarehouseError."""
    journal = open_table(check_results_path(settings.lake))
    if journal is None:
        return None
    level, there = _staleness_of(journal), held_of(settings, [JOURNAL])[JOURNAL].get(None)
    return None if there and (there.source, there.version) == level else "/".join(map(str, level))


def publish_quality(settings: Settings, catalog: Catalog, run_id: str) -> QualityPublished:
    """Bring both tables to what the lake holds. Raises WarehouseError; what was committed until then is there."""
    with connect(settings) as connection:
        for table in (CHECK_RESULTS, QUARANTINE):
            with connection, connection.cursor() as cursor:
                cursor.execute("RESET ROLE")
                prepare(cursor, table)
                cursor.execute("CREATE INDEX IF NOT EXISTS check_results_evaluated ON ops.check_results (evaluated_at)")
    counted = []
    with loading(settings) as warehouse:
        for table in catalog.tables:
            with transaction(warehouse) as cursor:
                if _publish_quarantine(settings, cursor, table, run_id):
                    counted.append(str(table.key))
        # Last: while its level is not noted, whatever was not published is behind.
        with transaction(warehouse) as cursor:
            results = _publish_results(settings, cursor, run_id)
    return QualityPublished(results, tuple(counted))


def _publish_results(settings: Settings, cursor: "Cursor", run_id: str) -> int:
    lock(cursor, JOURNAL)  # before looking: who looked earlier must not write later
    journal = open_table(check_results_path(settings.lake))
    if journal is None:
        return 0
    (source, version), rows = _staleness_of(journal), _rows_of(journal)
    there = held(cursor, JOURNAL, None)
    if there and (there.source, there.version) == (source, version):
        return 0
    copied = _replace_since(settings, cursor, version, _newest(cursor) if there and there.source == source else None)
    if _count(cursor) != rows:
        copied = _replace_since(settings, cursor, version, None)
    if _count(cursor) != rows:
        raise WarehouseError(
            f"{JOURNAL}: Delta has {rows} rows, PostgreSQL would have {_count(cursor)}. Not published."
        )
    metadata(cursor, JOURNAL, None, Held(source, version, rows, 0), run_id)
    return copied


def _replace_since(settings: Settings, cursor: "Cursor", version: int, newest: datetime | None) -> int:
    """Replace the rows from an hour before `newest` on, or all of them; how many are there now."""
    since = newest - OVERLAP if newest else None
    cursor.execute("DELETE FROM ops.check_results WHERE coalesce(evaluated_at >= $1, true)", (since,))
    with open_tables(settings, {JOURNAL: version}) as lake:
        rows = f"FROM {JOURNAL} WHERE coalesce(evaluated_at >= $since, true)"
        return ingest(
            cursor, CHECK_RESULTS, lake.sql(f"SELECT {columns(CHECK_RESULTS)} {rows}", params={"since": since})
        )


def _publish_quarantine(settings: Settings, cursor: "Cursor", table: Table, run_id: str) -> bool:
    """Count a table's quarantine anew if it changed; whether it had."""
    name, of_table = f"{table.key}__quarantine", (str(table.key),)
    lock(cursor, name)
    delta = open_table(Lake(settings.lake, settings.landing).quarantine(table.key))
    if delta is None:
        cursor.execute('DELETE FROM ops.quarantine WHERE "table" = $1 RETURNING 1', of_table)
        return bool(cursor.fetchall())
    source, version = _staleness_of(delta)
    there = held(cursor, name, None)
    if there and (there.source, there.version) == (source, version) and not _is_counted_by_rule(cursor, of_table):
        return False
    cursor.execute('DELETE FROM ops.quarantine WHERE "table" = $1', of_table)
    place = ".".join(table.key.parts) + "__quarantine"
    with open_tables(settings, {place: version}) as lake:
        found = lake.sql(
            f"""SELECT $table AS "table", feed_day, array_to_string(list_sort(rules), ', ') AS rules, count(*) AS rows
                FROM {place} GROUP BY ALL ORDER BY ALL""",  # noqa: S608
            params={"table": str(table.key)},
        )
        rows = ingest(cursor, QUARANTINE, found)
    metadata(cursor, name, None, Held(source, version, rows, 0), run_id)
    return True


def _is_counted_by_rule(cursor: "Cursor", of_table: tuple[str]) -> bool:
    """Whether the counts are those of a version before, in which a row counted for each rule that it broke."""
    cursor.execute('SELECT 1 FROM ops.quarantine WHERE "table" = $1 AND rules IS NULL LIMIT 1', of_table)
    return cursor.fetchone() is not None


def _staleness_of(delta: "DeltaTable") -> tuple[str, int]:
    return str(delta.metadata().id), int(delta.version())


def _rows_of(delta: "DeltaTable") -> int:
    """Rows of a version, by the statistics of its files."""
    return sum(arrow_table(delta.get_add_actions(flatten=True)).column("num_records").to_pylist())


def _newest(cursor: "Cursor") -> datetime | None:
    cursor.execute("SELECT max(evaluated_at) FROM ops.check_results")
    found = cursor.fetchone()
    return found[0] if found else None


def _count(cursor: "Cursor") -> int:
    cursor.execute("SELECT count(*) FROM ops.check_results")
    return int((cursor.fetchone() or (0,))[0])
