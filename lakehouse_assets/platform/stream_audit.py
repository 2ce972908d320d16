"""The audit of a stream's commits: a row per commit and feed day, and one for records that were given up.

The commit comes first, its rows in the audit after it. What a stream that was killed in between left out, the next one
writes from the log, before it reads on.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from lakehouse_assets.platform.delta import Note, ask, commit_at
from lakehouse_assets.platform.journal import AUDIT, COMMITTED, append_audit, audit_path
from lakehouse_assets.platform.plan import Lake
from lakehouse_assets.platform.session_records import recorded
from lakehouse_assets.platform.stream_log import log_of
from lakehouse_assets.platform.table import TableKey
from lakehouse_assets.platform.touched import rows_per_day
from lakehouse_assets.settings import settings

LOSS_ACCEPTED = "loss_accepted"
"""Status of the row that says which records of the source were gone and are not waited for any more."""
LOST = "lost"
"""Name in a commit's position: per partition the first offset that is gone, and the one from which it was read on."""


def write_audit(
    lake: Lake, key: TableKey, note: Note, version: int, started: datetime, finished: datetime
) -> dict[date, int]:
    """Write what the audit says of a commit. Returns its rows per day; of a day whose file is gone: none."""
    rows = rows_per_day(lake.path(key), version)
    lines = list(_lines(note, version, rows, started, finished))
    if lines:
        append_audit(lake.tables, key.domain, pa.Table.from_pylist(lines, schema=AUDIT))
    log_of(lake.path(key)).audited = version
    return {day: count or 0 for day, count in rows.items()}


def complete_audit(lake: Lake, key: TableKey, run_id: str) -> None:
    """Write what a stream left out that was killed after its commit. One that is still at it writes for itself."""
    log = log_of(lake.path(key))
    newest = log.version()
    if newest is None or newest == log.audited:
        return
    alive = {record.run_id for record in recorded(settings().spark_dir) if not record.process.dead} - {run_id}
    missing: list[tuple[Note, int]] = []
    audited = newest
    for entry in log.entries(log.audited, newest):
        if entry.note is None or not entry.is_of_a_stream:
            continue
        if entry.note.run_id in alive:
            audited = entry.version - 1
        elif _is_audited(lake, key, entry.version, entry.note):
            break
        else:
            missing.append((entry.note, entry.version))
    for note, version in reversed(missing):
        commit = commit_at(lake.path(key), version)
        at = datetime.fromtimestamp(commit.timestamp / 1000, UTC) if commit else datetime.now(UTC)
        write_audit(lake, key, note, version, at, at)
    log.audited = audited


def _is_audited(lake: Lake, key: TableKey, version: int, note: Note) -> bool:
    query = f'SELECT "table", run_id FROM t WHERE output_version = {int(version)}'  # noqa: S608  (a number)
    rows = ask(audit_path(lake.tables, key.domain), query)
    return any(row["table"] == str(key) and row["run_id"] == note.run_id for row in rows)


def _lines(
    note: Note, version: int, rows: Mapping[date, int | None], started: datetime, finished: datetime
) -> Iterator[dict[str, Any]]:
    common = {
        "table": note.table, "run_id": note.run_id, "started": started, "finished": finished,
        "code_version": note.code_version, "base_version": -1 if note.base is None else note.base,
        "output_version": version, "quarantined": 0, "duplicates": 0, "restated": 0, "digest": "",
    }  # fmt: skip
    for day, count in rows.items():
        yield common | {
            "feed_day": day, "status": COMMITTED, "input_versions": "{}", "rows_in": count, "kept": count,
        }  # fmt: skip
    lost = (note.position or {}).get(LOST)
    if lost:
        said = json.dumps({"topic": (note.position or {}).get("topic"), LOST: lost}, sort_keys=True)
        count = sum(end - first for first, end in lost.values())
        yield common | {
            "feed_day": None, "status": LOSS_ACCEPTED, "input_versions": said, "rows_in": count, "kept": 0,
        }  # fmt: skip
