"""Maintenance of a lake: which tables, by command and every night. What it does to one: `test_compaction.py`."""

import json
from datetime import date
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from lakehouse_assets import defs as domains
from lakehouse_assets.definitions import definitions
from lakehouse_assets.ops import maintenance_job
from lakehouse_assets.ops.maintenance_job import MAINTAIN, Scope
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.ingest.landing import land, manifest_path, parts
from lakehouse_assets.platform.maintenance.maintenance import (
    FEWEST,
    Maintained,
    Survey,
    maintain,
    stored_tables,
    survey,
)
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.results.audit_log import append, check_results_path
from lakehouse_assets.platform.storage.changed_days import changed_days
from lakehouse_assets.platform.storage.delta_table import open_table
from lakehouse_assets.settings import settings
from lakehouse_assets_tests.dagster_lake import dagster_lake
from lakehouse_assets_tests.gmv_histories import write_csv
from lakehouse_assets_tests.plain_table import DAYS, PlainTable


def test_journals_are_compacted(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake", tmp_path / "landing")
    path = check_results_path(lake.tables)
    for n in range(FEWEST):
        append(path, pa.table({"n": [n]}))
    (place,) = stored_tables(lake, discover(domains), "ops")
    done = maintain(survey(place))
    assert (done.before.files, done.files) == (FEWEST, 1)
    table = open_table(path)
    assert table is not None
    assert table.count() == FEWEST
    log = path / "_delta_log" / f"{table.version():020d}.json"
    changes = [json.loads(line) for line in log.read_text().splitlines()]
    assert not any(change.get("add", change.get("remove", {})).get("dataChange") for change in changes)


def land_days(lake: Lake, folder: Path) -> None:
    """A file a day."""
    source = discover(domains).table(TableKey("gmv", "bronze", "purchase_extra_info")).source
    assert source is not None
    for day in DAYS:
        rows = [
            {
                "transaction_datetime": f"{day} 09:00:00",
                "transaction_date": str(day),
                "purchase_id": "1",
                "subsidiary": "x",
            }
        ]
        file = write_csv(folder / f"{day}.csv", "purchase_extra_info", rows)
        land(lake.landing, "gmv/purchase_extra_info", source, file, today=date(2026, 1, 1))


def test_the_manifest_of_landed_files_keeps_every_version(tmp_path: Path) -> None:
    lake, catalog = Lake(tmp_path / "lake", tmp_path / "landing"), discover(domains)
    land_days(lake, tmp_path)
    path = manifest_path(lake.landing, "gmv/purchase_extra_info")
    known = [parts(lake.landing, "gmv/purchase_extra_info", version=version) for version in range(FEWEST)]
    (place,) = stored_tables(lake, catalog, "gmv/landing")
    assert maintain(survey(place)).files == 1
    assert [parts(lake.landing, "gmv/purchase_extra_info", version=v) for v in range(FEWEST)] == known
    assert parts(lake.landing, "gmv/purchase_extra_info") == known[-1]
    assert changed_days(path, FEWEST - 1, FEWEST) == frozenset()


def test_every_night_a_run_does_it(tmp_path: Path) -> None:
    """Landed files alone: a table of data is maintained in the same way."""
    with dagster_lake(tmp_path) as lake, dg.DagsterInstance.ephemeral() as instance:
        land_days(Lake(settings().lake, settings().landing), tmp_path)
        job = definitions.resolve_job_def(MAINTAIN)
        result = job.execute_in_process(instance=instance)
        (output,) = [e for e in result.all_events if e.is_successful_output]
        (row,) = output.step_output_data.metadata["files"].records
        assert dict(row.data) == {
            "table": "gmv/landing/purchase_extra_info", "before": FEWEST, "after": 1, "removed": 0, "remark": "",
        }  # fmt: skip
        assert lake.cli("maintain", "--dry-run", "gmv/landing").output.count(" no ") == 1, "nothing is left to do"
        only = dg.RunConfig({"compact_and_vacuum": Scope(only="gmv/silver/purchases")})
        failed = job.execute_in_process(instance=instance, run_config=only, raise_on_error=False)
        assert not failed.success
    (nightly,) = [one for one in definitions.schedules or () if one.name == f"{MAINTAIN}_nightly"]
    assert isinstance(nightly, dg.ScheduleDefinition)
    assert nightly.default_status is dg.DefaultScheduleStatus.RUNNING


def test_a_table_that_cannot_be_maintained_does_not_keep_the_others_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def maintained(state: Survey) -> Maintained:
        if state.place.name == "gmv/landing/purchase_extra_info":
            raise LakehouseError("it could not be compacted")
        return maintain(state)

    monkeypatch.setattr(maintenance_job, "maintain", maintained)
    with dagster_lake(tmp_path), dg.DagsterInstance.ephemeral() as instance:
        land_days(Lake(settings().lake, settings().landing), tmp_path)
        journal = check_results_path(settings().lake)
        for n in range(FEWEST):
            append(journal, pa.table({"n": [n]}))
        job = definitions.resolve_job_def(MAINTAIN)
        result = job.execute_in_process(instance=instance, raise_on_error=False)
        (failed,) = [e for e in result.all_events if e.is_step_failure]
        message = failed.step_failure_data.user_failure_data
        assert message is not None
        assert message.description is not None
        assert "gmv/landing/purchase_extra_info" in message.description
        assert len((open_table(journal) or pytest.fail("no journal")).file_uris()) == 1, "the next one was maintained"


def test_an_unknown_table_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(LakehouseError, match="no table gmv/silver/purchases"):
        stored_tables(Lake(tmp_path, tmp_path), discover(domains), "gmv/silver/purchases")


def test_a_table_with_a_feature_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    table = PlainTable(tmp_path / "t").fill()
    table.opened().alter.set_table_properties({"delta.enableChangeDataFeed": "true"}, raise_if_not_exists=False)
    version = table.version
    done = maintain(survey(table.place))
    assert "not maintained: t was not written: it uses changeDataFeed" in done.message
    assert (done.files, table.version) == (FEWEST, version)


def test_a_table_that_cannot_even_be_opened_is_said_and_the_others_are_maintained(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake", tmp_path / "landing")
    path = check_results_path(lake.tables)
    append(path, pa.table({"n": [1]}))
    entry = path / "_delta_log" / f"{0:020d}.json"
    protocol = {
        "protocol": {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["new"], "writerFeatures": ["new"]}
    }
    lines = [line for line in entry.read_text().splitlines() if '"protocol"' not in line]
    entry.write_text("\n".join([*lines, json.dumps(protocol)]))
    (place,) = stored_tables(lake, discover(domains), "ops")
    done = maintain(survey(place))
    assert "not maintained" in done.message
    assert "uses new (what it does to rows is not known here)" in done.message
