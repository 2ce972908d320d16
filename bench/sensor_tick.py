"""A tick of the level sensor over 10,000 days that were each landed and made by a run of their own.

Cold: the first tick of a daemon, which reads every log from its beginning. Warm: each tick after it.
"""

import argparse
import json
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from statistics import median

from deltalake import DeltaTable

from lakehouse_assets import defs as domains
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.declare.table import Table
from lakehouse_assets.platform.ingest.landing import manifest_path
from lakehouse_assets.platform.orchestration.staleness import Staleness
from lakehouse_assets.platform.orchestration.staleness_sensor import requests
from lakehouse_assets.platform.planning.plan import Lake, landed_name
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, DayRows, InputVersion

FIRST = date(1999, 1, 1)
PROTOCOL = {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}
SCHEMA = {"type": "struct", "fields": [{"name": "feed_day", "type": "date", "nullable": True, "metadata": {}}]}


def log(path: Path, days: int, metadata: CommitMetadata | None) -> None:
    """A Delta log with a commit per day, as a step (or, without a note, a landing) writes it."""
    folder = path / "_delta_log"
    folder.mkdir(parents=True)
    metadata = {"id": "t", "format": {"provider": "parquet", "options": {}}, "schemaString": json.dumps(SCHEMA)}
    head = [PROTOCOL, {"metaData": metadata | {"partitionColumns": [], "configuration": {}, "createdTime": 0}}]
    for version in range(days):
        day = FIRST + timedelta(days=version)
        info: dict[str, object] = {"timestamp": version, "operation": "WRITE"}
        if metadata:
            input_versions = {name: InputVersion(version, str(day)) for name in metadata.inputs}
            rows = {day: DayRows(500, 499, 1, 0, "0" * 16)}
            info["userMetadata"] = CommitMetadata(
                "t", "r", f"r/{version}", frozenset({day}), "c", input_versions, rows
            ).dump()
        stats = {"numRecords": 1, "minValues": {"feed_day": str(day)}, "maxValues": {"feed_day": str(day)}}
        add = {"path": f"{version}.parquet", "partitionValues": {}, "size": 1, "modificationTime": 0}
        added = {"add": add | {"dataChange": True, "stats": json.dumps(stats)}}
        actions = [{"commitInfo": info}, *(head if version == 0 else []), added]
        (folder / f"{version:020d}.json").write_text("\n".join(json.dumps(action) for action in actions))
    DeltaTable(str(path)).create_checkpoint()


def build(lake: Lake, catalog: Catalog, days: int) -> None:
    """Every log of the lake."""
    for table in catalog.tables:
        metadata = CommitMetadata("t", "r", "r", frozenset(), "c", {name: InputVersion(0, "") for name in table.reads})
        log(lake.path(table.key), days, metadata)
        if table.landing:
            log(manifest_path(lake.landing, landed_name(table.landing)), days, None)


def tick(staleness: Staleness, tables: list[Table]) -> float:
    """Seconds of reading on and deciding."""
    start = time.perf_counter()
    staleness.refresh()
    stale_days = {table.key: frozenset(staleness.stale_days(table)) for table in tables}
    list(requests(tables, stale_days))
    return time.perf_counter() - start


def main() -> None:
    """Print the seconds of a cold and of a warm tick."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=10_000)
    days = parser.parse_args().days
    catalog = discover(domains)
    tables = [table for table in catalog.tables if table.key.domain == "gmv" and table.key.name != "gmv_current"]
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder, "lake"), Path(folder, "landing"))
        build(lake, Catalog(tuple(tables)), days)
        staleness = Staleness(lake, Catalog(tuple(tables)))
        cold = tick(staleness, tables)
        warm = median(tick(staleness, tables) for _ in range(5))
    print(json.dumps({"days": days, "tables": len(tables), "cold_seconds": cold, "warm_seconds": warm}))


if __name__ == "__main__":
    main()
