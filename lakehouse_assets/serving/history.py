"""What happened to the keys of a table with history: changes per day, and the versions of one key."""

from typing import Any

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.scd import Scd
from lakehouse_assets.platform.declare.table import Table, TableKey
from lakehouse_assets.platform.storage.delta_table import version_of
from lakehouse_assets.serving.quality import Quality
from lakehouse_assets.serving.query import Result, query
from lakehouse_assets.settings import Settings


class NoHistory(LakehouseError):
    """The table keeps no history of its keys."""


def history_table(catalog: Catalog, name: str) -> tuple[Table, Scd]:
    """A table with history and how it is written. Raises NoHistory."""
    table = catalog.table(TableKey.parse(name))
    if not isinstance(table.write, Scd) or not table.write.history:
        having = [str(t.key) for t in catalog.tables if isinstance(t.write, Scd) and t.write.history]
        raise NoHistory(f"{table.key} keeps no history. These do: {', '.join(having)}")
    return table, table.write


def changes_per_day(settings: Settings, table: Table, spec: Scd) -> Result:
    """Columns: day, inserted, updated, deleted, live (keys that are there at the end of the day)."""
    keys = ", ".join(f'"{key}"' for key in spec.keys)
    return query(
        settings,
        f"""
        WITH versions AS (
            SELECT CAST(effective_from AS DATE) AS day, is_deleted,
                   lag(is_deleted) OVER (PARTITION BY {keys} ORDER BY effective_from) AS was_deleted
            FROM {".".join(table.key.parts)}
        ), counted AS (
            SELECT day,
                   count(*) FILTER (NOT is_deleted AND coalesce(was_deleted, true)) AS inserted,
                   count(*) FILTER (NOT is_deleted AND NOT was_deleted) AS updated,
                   count(*) FILTER (is_deleted AND NOT coalesce(was_deleted, true)) AS deleted
            FROM versions GROUP BY day
        )
        SELECT *, CAST(sum(inserted - deleted) OVER (ORDER BY day) AS BIGINT) AS live FROM counted ORDER BY day
        """,  # noqa: S608  (names come from the declaration)
    )


def changes_between_snapshots(settings: Settings, catalog: Catalog, quality: Quality) -> Result:
    """What differs between each two snapshots that follow one another, of every table that is made of such.

    Columns: table, day, since (the snapshot before), inserted, updated, deleted, live. Days: those of `quality`.
    """
    rows: list[tuple[Any, ...]] = []
    for table in catalog.tables:
        if str(table.key) not in quality.tables or not isinstance(table.write, Scd) or not table.write.snapshots:
            continue
        made = {day for (name, day), verdict in quality.verdicts.items() if name == str(table.key) and verdict.kept}
        if version_of(settings.lake.joinpath(*table.key.parts)) is None:
            continue
        changed = {row[0]: row[1:] for row in changes_per_day(settings, table, table.write).rows}
        since, live = None, 0
        for day in sorted(made | changed.keys()):
            inserted, updated, deleted, live = changed.get(day, (0, 0, 0, live))
            if quality.days.first <= day <= quality.days.last:
                rows.append((str(table.key), day, since, inserted, updated, deleted, live))
            since = day
    return Result(["table", "day", "since", "inserted", "updated", "deleted", "live"], rows)


def versions_of(settings: Settings, table: Table, spec: Scd, key: tuple[Any, ...]) -> Result:
    """The versions of one key, oldest first."""
    if len(key) != len(spec.keys):
        raise LakehouseError(f"The key of {table.key} is {', '.join(spec.keys)}: give --key once for each.")
    same = " AND ".join(f'CAST("{name}" AS VARCHAR) = ?' for name in spec.keys)
    columns = ", ".join(f'"{name}"' for name in table.compiled.spark_schema.names)
    sql = f"SELECT {columns} FROM {'.'.join(table.key.parts)} WHERE {same} ORDER BY effective_from"  # noqa: S608
    return query(settings, sql, list(key))
