"""Snapshots that really hold no row: landed so on purpose (`--allow-shrinking`), which is not the same as none
landed."""

from collections.abc import Mapping
from datetime import date

from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.ingest.landing import parts
from lakehouse_assets.platform.planning.plan import Lake, Plan, landed_name
from lakehouse_assets.platform.storage.commit_metadata import DayRows
from lakehouse_assets.platform.storage.delta_table import commits


def declared_empty(lake: Lake, plan: Plan, rows: Mapping[date, DayRows]) -> frozenset[date]:
    """Days without a row whose landed files, as the plan's input was made of them, are there and have none either."""
    silent = {day for day, of_day in rows.items() if not of_day.kept and not of_day.quarantined}
    found: set[date] = set()
    for name, read in plan.table.reads.items():
        found |= _landed_empty(lake, read.table, plan.input_versions[name].version, silent)
    return frozenset(found)


def _landed_empty(lake: Lake, bronze: TableKey, version: int | None, silent: set[date]) -> set[date]:
    """Those of the days that bronze, as of a version, was made of parts without rows of."""
    found: set[date] = set()
    left = set(silent)
    for commit in commits(lake.path(bronze), until=version) if left and version is not None else ():
        days = left & commit.metadata.made if commit.metadata else set()
        for input_version in commit.metadata.inputs.values() if commit.metadata and days else ():
            held = (
                parts(lake.landing, landed_name(bronze), days=days, version=input_version.version)
                if input_version.version is not None
                else []
            )
            found |= {part.feed_day for part in held} - {part.feed_day for part in held if part.rows}
        left -= days
        if not left:
            break
    return found
