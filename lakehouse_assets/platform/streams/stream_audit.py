"""The audit of a stream's commits: a row per commit and feed day, and one for records that were given up.

The commit comes first, its rows in the audit after it. What a stream that was killed in between left out, the next one
writes from the log, before it reads on.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.results.audit_log import AUDIT, COMMITTED, append_audit, audit_path
from lakehouse_assets.platform.runtime.session_records import recorded
from lakehouse_assets.platform.storage.commit_actions import rows_per_day
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata
from lakehouse_assets.platform.storage.delta_table import commit_at, open_table, query_rows
from lakehouse_assets.platform.streams.stream_log import log_of
from lakehouse_assets.settings import settings

LOSS_ACCEPTED = "loss_accepted"
"""Status of the row that says which records of the source were gone and are not waited for any more."""
LOST = "lost"
"""Name in a commit's position: per partition the first offset that is gone, and the one from which it was read on."""


def write_audit(
    lake: Lake, key: TableKey, metadata: CommitMetadata, version: int, started: datetime, finished: datetime
) -> dict[date, int]:
    """Write what the audit says of a commit. Returns its rows per day; of a day whose file is gone: none."""
    rows = rows_per_day(lake.path(key), version)
    lines = list(_lines(metadata, version, rows, started, finished))
    if lines:
        append_audit(lake.tables, key.domain, pa.Table.from_pylist(lines, schema=AUDIT))
    log = log_of(lake.path(key))
    if log.audited == version - 1:  # else one below it may not be audited: of another stream, or of one that was killed
        log.audited = version
    return {day: count or 0 for day, count in rows.items()}


def complete_audit(lake: Lake, key: TableKey, run_id: str) -> None:
    """Write what any stream left out that was killed after its commit. One that is still at it writes for itself.

    Looks at the commits since the last look, at first at all, that the audit does not have.
    """
    log = log_of(lake.path(key))
    newest = log.version()
    if newest is None or newest == log.audited:
        return
    alive = {record.run_id for record in recorded(settings().spark_dir) if not record.process.dead} - {run_id}
    known = _audited(lake, key, log.audited)
    table = open_table(lake.path(key))
    made = datetime.fromtimestamp((table.metadata().created_time if table else 0) / 1000, UTC)
    of_this_table = {version for (version, _), at in known.items() if at >= made}  # these need not be read
    missing: list[tuple[CommitMetadata, int]] = []
    audited = newest
    for entry in log.entries(log.audited, newest, of_this_table):
        if entry.metadata is None or not entry.is_of_a_stream or (entry.version, entry.metadata.run_id) in known:
            continue
        if entry.metadata.run_id in alive:
            audited = entry.version - 1
        else:
            missing.append((entry.metadata, entry.version))
    for metadata, version in reversed(missing):
        commit = commit_at(lake.path(key), version)
        at = datetime.fromtimestamp(commit.timestamp / 1000, UTC) if commit else datetime.now(UTC)
        write_audit(lake, key, metadata, version, at, at)
    log.audited = audited


def _audited(lake: Lake, key: TableKey, after: int) -> dict[tuple[int, str], datetime]:
    """The commits of streams that the audit has, by version and run, also of a former table of the name."""
    columns = '"table", output_version, run_id, finished'
    query = f"SELECT {columns} FROM t WHERE output_version > {int(after)} AND digest = ''"  # noqa: S608
    rows = query_rows(audit_path(lake.tables, key.domain), query)
    return {(row["output_version"], row["run_id"]): row["finished"] for row in rows if row["table"] == str(key)}


def _lines(
    metadata: CommitMetadata, version: int, rows: Mapping[date, int | None], started: datetime, finished: datetime
) -> Iterator[dict[str, Any]]:
    common = {
        "table": metadata.table, "run_id": metadata.run_id, "started": started, "finished": finished,
        "code_version": metadata.code_version, "base_version": -1 if metadata.base is None else metadata.base,
        "output_version": version, "quarantined": 0, "duplicates": 0, "restated": 0, "digest": "", "ties": 0,
    }  # fmt: skip
    for day, count in rows.items():
        yield common | {
            "feed_day": day, "status": COMMITTED, "input_versions": "{}", "rows_in": count, "kept": count,
        }  # fmt: skip
    lost = (metadata.position or {}).get(LOST)
    if lost:
        message = json.dumps({"topic": (metadata.position or {}).get("topic"), LOST: lost}, sort_keys=True)
        count = sum(end - first for first, end in lost.values())
        yield common | {
            "feed_day": None, "status": LOSS_ACCEPTED, "input_versions": message, "rows_in": count, "kept": 0,
        }  # fmt: skip
