"""Journals: append-only Delta tables about the platform itself, written by delta-rs alone and read by anyone.

`<domain>/audit` has a row per table, day and run; `ops/check_results` a row per table, day and rule. An append here
costs no JVM.
"""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from lakehouse_assets.platform.storage.commit_actions import log_file
from lakehouse_assets.platform.storage.commit_metadata import InputVersion, Kind
from lakehouse_assets.platform.storage.conditional_put import prove_conditional_puts
from lakehouse_assets.platform.storage.delta_table import commits, open_table, query_table
from lakehouse_assets.platform.storage.location import Location, answering, storage_options
from lakehouse_assets.platform.storage.statistics_properties import stats_properties

AUDIT = pa.schema(
    [
        ("table", pa.string()),
        ("feed_day", pa.date32()),
        ("run_id", pa.string()),
        ("status", pa.string()),
        ("started", pa.timestamp("us", tz="UTC")),
        ("finished", pa.timestamp("us", tz="UTC")),
        ("code_version", pa.string()),
        ("input_versions", pa.string()),
        ("base_version", pa.int64()),
        ("output_version", pa.int64()),
        ("rows_in", pa.int64()),
        ("kept", pa.int64()),
        ("quarantined", pa.int64()),
        ("duplicates", pa.int64()),
        ("restated", pa.int64()),
        ("digest", pa.string()),
        ("ties", pa.int64()),
        ("along", pa.bool_()),
    ]
)

CHECK_RESULTS = pa.schema(
    [
        ("table", pa.string()),
        ("feed_day", pa.date32()),
        ("run_id", pa.string()),
        ("check", pa.string()),
        ("rule", pa.string()),
        ("dimension", pa.string()),
        ("action", pa.string()),
        ("rows", pa.int64()),
        ("failed", pa.int64()),
        ("passed", pa.bool_()),
        ("blocking", pa.bool_()),
        ("table_version", pa.int64()),
        ("sql", pa.string()),
        ("samples", pa.string()),
        ("evaluated_at", pa.timestamp("us", tz="UTC")),
    ]
)

ALERTS = pa.schema(
    [
        ("table", pa.string()),
        ("feed_day", pa.date32()),
        ("state", pa.string()),
        ("event", pa.string()),
        ("hook", pa.string()),
        ("said", pa.string()),
        ("at", pa.timestamp("us", tz="UTC")),
    ]
)

STATISTICS = ("table", "feed_day", "finished", "evaluated_at", "at")
"""Columns of journals whose bounds their logs keep: none that tells of rows."""

COMMITTED, FAILED = "committed", "failed"
CREATIONS = 5
DEADLINE = "deadline"  # rule of the check `freshness` that is judged when the time has come, not by the run
WHY = "why"  # what its only sample says


def audit_path(lake: Location, domain: str) -> Location:
    """Folder of a domain's audit."""
    return lake / domain / "audit"


def check_results_path(lake: Location) -> Location:
    """Folder of the check results of all tables."""
    return lake / "ops" / "check_results"


def alerts_path(lake: Location) -> Location:
    """Folder of the alerts of all tables."""
    return lake / "ops" / "alerts"


def append(path: Location, rows: pa.Table, partition_by: tuple[str, ...] = ()) -> None:
    """Append rows in one commit; creates the journal on first use, and adds columns that an older one lacks."""
    prove_conditional_puts(path)
    kept = [name for name in STATISTICS if name in rows.schema.names]
    properties = {"delta.appendOnly": "true", "delta.checkpointInterval": "20", **stats_properties(kept)}
    for attempt in range(CREATIONS):
        journal = journal_at(path)
        try:
            with answering(path):
                write_deltalake(
                    journal or str(path),
                    rows,
                    mode="append",
                    schema_mode="merge",
                    partition_by=list(partition_by) or None,
                    configuration=properties,
                    storage_options=None if journal else storage_options(path),
                )
            return
        except CommitFailedError:  # nothing of it was committed: of several that create the journal, one was first
            _opened.journals.pop(path, None)
            if attempt == CREATIONS - 1:
                raise


class _Opened(threading.local):
    """The journals that a thread has opened: every step appends to two of them."""

    def __init__(self) -> None:
        self.journals: dict[Location, DeltaTable] = {}


_opened = _Opened()


def journal_at(path: Location) -> DeltaTable | None:
    """The newest version of a journal; only what was committed since the thread last asked is read. None: none yet.

    A journal whose entry of the known version is gone was deleted or cleaned: it is opened anew. Raises StoreError.
    """
    known = _opened.journals.pop(path, None)
    if known is not None and log_file(path, known.version()).is_file():
        with answering(path):
            known.update_incremental()
    else:
        known = open_table(path, fresh=True)
    if known is not None:
        _opened.journals[path] = known
    return known


def append_audit(lake: Location, domain: str, rows: pa.Table) -> None:
    """Append to a domain's audit; failed days lie in a folder of their own, so that asking for them is cheap."""
    append(audit_path(lake, domain), rows, partition_by=("status",))


@dataclass(frozen=True)
class Failure:
    """The newest failed verdict of a day: the version the table had, the input versions that were judged, by what code
    and when. `along`: no rule of its own failed it, but another day of its run did.
    """

    base: int
    inputs: Mapping[str, InputVersion]
    code_version: str | None
    at: datetime
    along: bool = False


def failed_days(lake: Location, domain: str, name: str, table_path: Location) -> frozenset[date]:
    """Days of a table whose newest verdict is a failed blocking check; asks the table's log for what repaired them."""
    newest = _newest_failures(lake, domain, name)
    since = min((failure.base for failure in newest.values()), default=0)
    return frozenset(_still(lake, domain, name, newest, _repaired(table_path, since) if newest else {}))


def failures(lake: Location, domain: str, name: str, repaired: Mapping[date, int]) -> dict[date, Failure]:
    """The failed days of a table and what was judged. `repaired`: by day the newest commit that repairs a failed day.

    A failure counts until a later commit of the table holds the day: the commits are asked, not the audit, so that a
    run killed between its commit and its audit row does not leave a repaired day blocked.
    """
    return _still(lake, domain, name, _newest_failures(lake, domain, name), repaired)


def _newest_failures(lake: Location, domain: str, name: str) -> dict[date, Failure]:
    newest: dict[date, Failure] = {}
    for row in _verdicts(audit_path(lake, domain), name, FAILED):
        inputs = {of: InputVersion(**input_version) for of, input_version in json.loads(row["input_versions"]).items()}
        along = bool(row.get("along"))  # an audit of before has no such column
        newest[row["feed_day"]] = Failure(row["base_version"], inputs, row["code_version"], row["finished"], along)
    return newest


def _still(
    lake: Location, domain: str, name: str, newest: Mapping[date, Failure], repaired: Mapping[date, int]
) -> dict[date, Failure]:
    still = {day: failure for day, failure in newest.items() if repaired.get(day, -1) <= failure.base}
    if still:
        # Versions begin anew where a table was deleted and made again: then the audit's later verdict decides.
        for row in _verdicts(audit_path(lake, domain), name, COMMITTED):
            whole = row["digest"] != ""  # a stream adds to a day, and repairs nothing
            if whole and row["feed_day"] in still and row["finished"] > still[row["feed_day"]].at:
                del still[row["feed_day"]]
    return still


def _repaired(table_path: Location, after: int) -> dict[date, int]:
    """By day the newest commit of a table after a version that makes the day, or adopts it."""
    found: dict[date, int] = {}
    for commit in commits(table_path, after=after):
        repairs = commit.metadata is not None and commit.metadata.kind in (Kind.STEP, Kind.ADOPTION)
        for day in commit.metadata.made if commit.metadata and repairs else ():
            found.setdefault(day, commit.version)
    return found


def committed_days(lake: Location, domain: str, name: str) -> frozenset[date]:
    """Days of a table that were ever committed, also before somebody deleted it."""
    return frozenset(row["feed_day"] for row in _verdicts(audit_path(lake, domain), name, COMMITTED))


def audited(lake: Location, domain: str, name: str, run_id: str) -> frozenset[date]:
    """Days of a table that the audit has of a run."""
    rows = _rows_of(audit_path(lake, domain), name, 'SELECT "table", feed_day, run_id FROM t')
    return frozenset(row["feed_day"] for row in rows if row["run_id"] == run_id)


def _verdicts(audit: Location, name: str, status: str) -> list[dict[str, Any]]:
    """A table's days of one status, oldest first."""
    query = f"SELECT * FROM t WHERE status = '{status}' ORDER BY finished"  # noqa: S608  (a constant)
    return _rows_of(audit, name, query)


def _rows_of(path: Location, name: str, query: str) -> list[dict[str, Any]]:
    """A table's rows of an audit; none where there is no audit."""
    journal = journal_at(path)
    return [row for row in query_table(journal, path, query) if row["table"] == name] if journal else []
