"""What the warehouse says that it holds, in `lakehouse.published`: of each table and day, which version of Delta."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from lakehouse_assets.serving.postgres import connect
from lakehouse_assets.settings import Settings

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Cursor

TABLE = """CREATE TABLE IF NOT EXISTS lakehouse.published (
  table_name text NOT NULL, feed_day date, source text NOT NULL, delta_version bigint NOT NULL,
  rows bigint NOT NULL, checksum numeric NOT NULL, run_id text NOT NULL,
  published_at timestamp with time zone NOT NULL DEFAULT now(),
  UNIQUE NULLS NOT DISTINCT (table_name, feed_day))"""


@dataclass(frozen=True)
class Held:
    """What is there: rows of a version of a source (the id of a Delta table, and what was left out of it)."""

    source: str
    version: int
    rows: int
    checksum: int


def held_of(settings: Settings, names: Collection[str]) -> dict[str, dict[date | None, Held]]:
    """What is held of each day of these tables, by one connection; of one without days, under None.

    Raises WarehouseError.
    """
    found: dict[str, dict[date | None, Held]] = {name: {} for name in names}
    with connect(settings) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('lakehouse.published') IS NOT NULL")
        if cursor.fetchone() != (True,):
            return found
        cursor.execute(
            """SELECT table_name, feed_day, source, delta_version, rows, checksum FROM lakehouse.published
               WHERE table_name = ANY(%s)""",
            (list(names),),
        )
        for name, day, source, version, rows, checksum in cursor.fetchall():
            found[name][day] = Held(source, version, rows, int(checksum))
    return found


def lock(cursor: "Cursor", name: str) -> None:
    """Wait until nobody else publishes the table; until the end of the transaction."""
    cursor.execute("SELECT pg_advisory_xact_lock(hashtext($1))", (name,))


def held(cursor: "Cursor", name: str, day: date | None) -> Held | None:
    """What is held of a day."""
    cursor.execute(
        """SELECT source, delta_version, rows, checksum FROM lakehouse.published
           WHERE table_name = $1 AND feed_day IS NOT DISTINCT FROM $2""",
        (name, day),
    )
    row = cursor.fetchone()
    return Held(row[0], row[1], row[2], int(row[3])) if row else None


def metadata(cursor: "Cursor", name: str, day: date | None, what: Held, run_id: str) -> None:
    """Say what is now held of a day."""
    cursor.execute(
        """INSERT INTO lakehouse.published (table_name, feed_day, source, delta_version, rows, checksum, run_id)
           VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (table_name, feed_day) DO UPDATE
           SET source = excluded.source, delta_version = excluded.delta_version, rows = excluded.rows,
               checksum = excluded.checksum, run_id = excluded.run_id, published_at = clock_timestamp()""",
        (name, day, what.source, what.version, what.rows, what.checksum, run_id),
    )
