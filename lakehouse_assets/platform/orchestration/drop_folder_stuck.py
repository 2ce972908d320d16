"""Dropped files that run after run could not land: what nobody sees who does not look at runs.

Nothing remembers it: the runs say how often a file was tried in vain, the manifest that it still is not landed.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path

import dagster as dg

from lakehouse_assets.platform.common.days import parse_day
from lakehouse_assets.platform.declare.table import LANDING_LAYER, TableKey
from lakehouse_assets.platform.ingest.landing_status import SeenFiles
from lakehouse_assets.platform.orchestration.drop_folder import FILES_TAG, Dropped, Sources, files_in, job_name
from lakehouse_assets.platform.orchestration.run_records import TRIES
from lakehouse_assets.platform.planning.plan import landed_name
from lakehouse_assets.platform.storage.location import Location

COUNTED = 100  # runs of a domain's drop: one that keeps failing is among the newest


def stuck_files(
    domain: str,
    sources: Sources,
    instance: dg.DagsterInstance,
    places: tuple[Path, Location],
    seen: SeenFiles,
    now: datetime,
) -> dict[tuple[TableKey, date], str]:
    """The files of a domain that three runs or more could not land, and what is to be said of each.

    `places`: the folder of the drop, and that of what is landed.
    """
    folder, landing = places
    tried = {file: times for file, times in _tried(instance, domain).items() if times >= TRIES}
    found = {}
    for file in files_in(folder, sources, now) if tried else ():
        if not isinstance(file, Dropped) or not (times := tried.get((file.table, file.day))):
            continue
        key = TableKey(domain, LANDING_LAYER, file.table)
        if not _is_landed(seen, landing, file, key):
            found[key, file.day] = (
                f"{times} runs could not land {file.path}. What only passes is tried again after growing pauses, a "
                "quarter of an hour at most: then nothing needs to be done. What the runs say: Dagster's UI, Runs."
            )
    return found


def _tried(instance: dg.DagsterInstance, domain: str) -> Mapping[tuple[str, date], int]:
    """How many of the newest runs of each file failed, one after the other; by table and day."""
    failed: Counter[tuple[str, date]] = Counter()
    landed = set()
    for run in instance.get_runs(dg.RunsFilter(job_name=job_name(domain)), limit=COUNTED):
        day, tables = run.tags.get("dagster/partition"), run.tags.get(FILES_TAG)
        for table in tables.split(",") if day and tables else ():
            file = table, parse_day(day or "")
            if run.status is dg.DagsterRunStatus.SUCCESS:
                landed.add(file)
            elif run.status is dg.DagsterRunStatus.FAILURE and file not in landed:
                failed[file] += 1
    return failed


def _is_landed(seen: SeenFiles, landing: Location, file: Dropped, key: TableKey) -> bool:
    try:
        sha256 = seen.sha256(file.path, file.state)
    except OSError:
        return False
    return seen.landed(landing, landed_name(key)).holds(file.name, sha256, file.day)
