"""What is in quarantine, and another try for it."""

from collections.abc import Collection
from datetime import date

from lakehouse_assets.cli.output import Rows
from lakehouse_assets.platform.common.days import ranges, write_days
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.streams import set_aside
from lakehouse_assets.serving.query import known_tables, query
from lakehouse_assets.settings import Settings

SUFFIX = "__quarantine"
OF_STREAM = set_aside.SUFFIX
"""What the table's stream could not commit. Its records come again from the source alone: no retry makes them."""


def _tables(settings: Settings, table: str | None) -> list[str]:
    """SQL names of the quarantines that exist, or of the one asked for (if it exists)."""
    found = [name for name in known_tables(settings) if name.endswith(SUFFIX)]
    if table is None:
        return found
    wanted = ".".join(TableKey.parse(table).parts)
    return [name for name in found if name in (wanted + SUFFIX, wanted + OF_STREAM)]


def counts(settings: Settings, table: str | None, day: date | None) -> Rows:
    """Quarantined rows by table, feed day and the rules that they broke. Each row counts once."""
    result: list[tuple[object, ...]] = []
    for name in _tables(settings, table):
        statement = f"""
            SELECT feed_day, array_to_string(list_sort(rules), ', ') AS rules, count(*) AS rows FROM {name}
            WHERE coalesce(feed_day = ?, true) GROUP BY ALL ORDER BY ALL
        """  # noqa: S608  (the name is one of the lake's folders)
        result += [(name.removesuffix(SUFFIX), *row) for row in query(settings, statement, [day]).rows]
    return Rows(("table", "feed_day", "rules", "rows"), result)


def rows(settings: Settings, table: str | None, day: date | None) -> Rows:
    """The quarantined rows, whole, with their rules, file, row number and feed day."""
    result: list[tuple[object, ...]] = []
    for name in _tables(settings, table):
        statement = f"""
            SELECT feed_day, array_to_string(rules, ', '), source_file, row_number, row FROM {name}
            WHERE coalesce(feed_day = ?, true) ORDER BY feed_day, source_file, row_number
        """  # noqa: S608
        result += [(name.removesuffix(SUFFIX), *row) for row in query(settings, statement, [day]).rows]
    return Rows(("table", "feed_day", "rules", "source_file", "row_number", "row"), result)


def retry(settings: Settings, table: str, day: date | None) -> Rows:
    """Run the quarantined days of a table again, as Dagster runs; rows before and after, per range of days.

    Days that the same code made of the inputs as they are now are not run: the same rows would break the same rules.
    """
    key = TableKey.parse(table)
    before = {row[1]: row[3] for row in _per_day(settings, key, day)}
    if not before:
        raise LakehouseError(f"{key} has nothing in quarantine{f' on {day}' if day else ''}.")
    from lakehouse_assets.ops.runs import materialize_range

    result: list[tuple[object, ...]] = []
    same = _same_again(settings, key, before)
    for part in ranges(same):
        rows_there = sum(before[day] for day in part)
        result.append((str(key), write_days(list(part)), rows_there, rows_there, 0, ""))
    for part in ranges(before.keys() - same):
        run_id = materialize_range(key, part)
        after = {row[1]: row[3] for row in _per_day(settings, key, day)}
        was, still = (sum(found.get(d, 0) for d in part) for found in (before, after))
        result.append((str(key), write_days(list(part)), was, still, was - still, run_id))
    return Rows(("table", "feed_days", "rows_before", "rows_still", "rows_moved", "run"), result)


def _same_again(settings: Settings, key: TableKey, days: Collection[date]) -> set[date]:
    """Those of the days that no input and no code has changed since they were made."""
    from lakehouse_assets.definitions import catalog
    from lakehouse_assets.platform.declare.catalog import Catalog
    from lakehouse_assets.platform.fingerprint.code_version import code_version
    from lakehouse_assets.platform.orchestration.staleness import Staleness
    from lakehouse_assets.platform.planning.plan import Lake

    table = catalog.table(key)
    staleness = Staleness(Lake(settings.lake, settings.landing), Catalog((table,)))
    staleness.refresh()
    built, stale = staleness.of(key).built, staleness.stale(table)
    made = {day: built[day].metadata.code_version for day in days if day in built and day not in stale}
    return {day for day, code in made.items() if code == code_version(table)}


def _per_day(settings: Settings, key: TableKey, day: date | None) -> list[tuple[str, date, str, int]]:
    found: dict[date, int] = {}
    for name in _tables(settings, str(key)):
        if name.endswith(OF_STREAM):
            continue
        statement = f"SELECT feed_day, count(*) FROM {name} WHERE coalesce(feed_day = ?, true) GROUP BY 1"  # noqa: S608
        found |= dict(query(settings, statement, [day]).rows)
    return [(str(key), feed_day, "", rows) for feed_day, rows in sorted(found.items())]
