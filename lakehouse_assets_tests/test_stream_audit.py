"""The audit has each commit of a table's streams once, whichever of them was killed before it wrote its row."""

from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from shutil import rmtree

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.common.process_id import ProcessId
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.results.audit_log import audit_path
from lakehouse_assets.platform.runtime.session_records import SessionRecord, write_json
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, Kind
from lakehouse_assets.platform.storage.delta_table import query_rows
from lakehouse_assets.platform.streams.stream_audit import complete_audit, write_audit
from lakehouse_assets.platform.streams.stream_log import log_of
from lakehouse_assets.settings import settings

KEY, DAY = TableKey("shop", "bronze", "events"), date(2026, 1, 1)


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path))
    settings.cache_clear()
    return Lake(tmp_path / "lake", tmp_path / "landing")


def commit(lake: Lake, run: str, *, audited: bool) -> int:
    """A commit of a stream's run; not audited: the run was killed after it."""
    metadata = CommitMetadata(str(KEY), run, run, frozenset(), "code", {}, kind=Kind.STREAM)
    rows = pa.table({DAY_COLUMN: [DAY]})
    properties = CommitProperties({"userMetadata": metadata.dump()})
    started = datetime.now(UTC)
    write_deltalake(str(lake.path(KEY)), rows, mode="append", commit_properties=properties)
    version = DeltaTable(str(lake.path(KEY))).version()
    if audited:
        write_audit(lake, KEY, metadata, version, started, datetime.now(UTC))
    return version


def audit(lake: Lake) -> list[tuple[int, str]]:
    rows = query_rows(audit_path(lake.tables, KEY.domain), "SELECT output_version, run_id FROM t")
    return sorted((row["output_version"], row["run_id"]) for row in rows)


@pytest.mark.parametrize("process", ["the same", "another"])
def test_a_commit_below_audited_ones_of_another_stream_gets_its_row(lake: Lake, process: str) -> None:
    commit(lake, "a", audited=True)
    commit(lake, "killed", audited=False)
    commit(lake, "a", audited=True)
    DeltaTable(str(lake.path(KEY))).optimize.compact()
    commit(lake, "a", audited=True)
    if process == "another":
        log_of.cache_clear()
    for _ in range(2):
        complete_audit(lake, KEY, "a")
        assert audit(lake) == [(0, "a"), (1, "killed"), (2, "a"), (4, "a")]


def test_a_stream_that_is_still_at_it_writes_for_itself_until_it_is_killed(lake: Lake) -> None:
    here = ProcessId.of(1)
    assert here is not None
    record = settings().spark_dir / "sessions" / "b.json"
    write_json(record, asdict(SessionRecord("b", "b", "server", here)))
    commit(lake, "b", audited=False)
    commit(lake, "a", audited=True)
    complete_audit(lake, KEY, "a")
    assert audit(lake) == [(1, "a")]
    commit(lake, "a", audited=True)
    record.unlink()
    complete_audit(lake, KEY, "a")
    assert audit(lake) == [(0, "b"), (1, "a"), (2, "a")]


def test_what_the_audit_has_of_a_former_table_of_the_name_is_not_of_this_one(lake: Lake) -> None:
    commit(lake, "a", audited=True)
    rmtree(lake.path(KEY))
    log_of.cache_clear()
    commit(lake, "killed", audited=False)
    for _ in range(2):
        log_of.cache_clear()
        complete_audit(lake, KEY, "a")
        assert audit(lake) == [(0, "a"), (0, "killed")]
