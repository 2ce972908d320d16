"""Deadlines: by when after a day's end its data must be there. Late is said of data, not of runs.

    @table(contracts.DailySales, sla=timedelta(hours=9), orders=day(silver.orders))

A day is late when its deadline has passed and a source that it is made of has nothing of the day, or the table has not
committed it, or an input changed it longer ago than the table is given, or its newest record is older than declared.
A run that makes an empty day changes nothing: nothing was delivered. Read from the Delta logs alone, without Spark.

Watched are the last days of a feed that is alive: from its first delivered day on, until it has been silent for as
many days. By then each of these was told, and data of long ago may be looked at in peace.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta

from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import LANDING_LAYER, Table, TableKey
from lakehouse_assets.platform.orchestration.staleness import Change, Staleness
from lakehouse_assets.platform.results.check_results import freshness

WATCHED_DAYS = 7


def deadline(table: Table, day: date) -> datetime:
    """By when the day's data must be there. Raises ValueError for a table without `sla`."""
    if table.sla is None:
        raise ValueError(f"{table.key} declares no sla")
    return datetime.combine(day + timedelta(days=1), time.min, UTC) + table.sla


def late_days(
    staleness: Staleness, catalog: Catalog, table: Table, now: datetime, also: Collection[date] = ()
) -> dict[date, str]:
    """The watched days of a table, and of `also`, whose data are late, and why. A table without `sla` has none."""
    if table.sla is None:
        return {}
    delivered = {source.key: _delivered(staleness, source) for source in sources(table, catalog)}
    watched = set(also) | set(_watched(set().union(*delivered.values()), now.date()))
    due = sorted(day for day in watched if deadline(table, day) <= now)
    stale = staleness.stale(table) if due else {}
    return {day: why for day in due if (why := _why_late(staleness, table, day, now, delivered, stale.get(day, {})))}


def sources(table: Table, catalog: Catalog) -> list[Table]:
    """The tables filled from outside that a table is made of, itself included."""
    found = made_of(table, catalog)
    return [found[key] for key in sorted(found) if found[key].source is not None or found[key].stream is not None]


def made_of(table: Table, catalog: Catalog) -> dict[TableKey, Table]:
    """The tables that a table is made of, itself included."""
    found, left = {table.key: table}, [table]
    while left:
        for read in left.pop().reads.values():
            if read.table.layer != LANDING_LAYER and read.table not in found:
                found[read.table] = catalog.table(read.table)
                left.append(found[read.table])
    return found


def _delivered(staleness: Staleness, source: Table) -> set[date]:
    """Days of which files were landed, a stream brought records, or somebody else wrote rows that were adopted."""
    own = staleness.of(source.key)
    landed = set(staleness.of(source.landing).changed) if source.landing else set()
    return landed | set(own.streamed) | (own.changed.keys() - own.built.keys())


def _watched(delivered: Collection[date], today: date) -> Iterator[date]:
    """Days that have ended, of a feed that is alive."""
    first = today - timedelta(days=WATCHED_DAYS)
    if not delivered or max(delivered) < first:
        return
    start = max(first, min(delivered))
    yield from (start + timedelta(days=n) for n in range((today - start).days))


def _why_late(
    staleness: Staleness,
    table: Table,
    day: date,
    now: datetime,
    delivered: dict[TableKey, set[date]],
    stale: Mapping[str, Change],
) -> str | None:
    own = staleness.of(table.key)
    missing = [str(key) for key, days in delivered.items() if day not in days]
    if missing:
        return f"Nothing of {day} was delivered to {', '.join(missing)}."
    if day in staleness.failures(table.key):
        return "A blocking check failed: nothing of the day was committed."
    if not own.made(table, day):
        return "Its inputs are there, and it was not made: a run failed, is waiting, or an input's check blocks it."
    stale_days = sorted(name for name, change in stale.items() if change.at + (table.sla or timedelta()) <= now)
    if stale_days:
        return f"It was made before {', '.join(stale_days)} changed, and was not made again."
    built = own.built.get(day)
    rows = built.metadata.rows.get(day) if built else None
    fresh = freshness(table.compiled, day, rows.newest) if rows else None
    return fresh.description if fresh and not fresh.passed else None
