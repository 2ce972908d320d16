"""What is answered after an erasure, without Spark: sensors, status, lineage, a rebuilt Dagster instance, replay.

Commits are made by hand as runs, streams and erasures make them; the log is cleaned and old files are removed as
`lakehouse forget` does it.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake
from pyspark.sql import SparkSession

from lakehouse_assets import defs as domains
from lakehouse_assets.ops.forget import ERASURE, _remove_old
from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.declare.table import Table, TableKey
from lakehouse_assets.platform.fingerprint.code_version import code_version
from lakehouse_assets.platform.ingest.landing import land
from lakehouse_assets.platform.lineage.provenance import trace
from lakehouse_assets.platform.lineage.replay import Answer, _obstacles, replay
from lakehouse_assets.platform.maintenance.maintenance import data_tables
from lakehouse_assets.platform.orchestration.external_commits import recover
from lakehouse_assets.platform.orchestration.staleness import Staleness
from lakehouse_assets.platform.orchestration.unreported_commits_sensor import unreported_commits_sensor
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, DayRows, InputVersion, Kind
from lakehouse_assets.platform.storage.delta_table import version_of
from lakehouse_assets.platform.storage.log_cleaning import keep_statistics
from lakehouse_assets.settings import settings
from lakehouse_assets_tests.traces import traces

ANA, BIA = "ana@example.org", "bia@example.org"
D1, D2, D3 = (date(2025, 1, n) for n in (1, 2, 3))
NO_SPARK = cast("SparkSession", None)
ALL: Catalog = discover(domains)
BRONZE, SILVER = (ALL.table(TableKey("store", layer, "users")) for layer in ("bronze", "silver"))
CATALOG = Catalog((BRONZE, SILVER))


class Lakeside:
    """A lake of two tables, and what it answers."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lake = folder, Lake(folder / "lake", folder / "landing")

    def land(self, day: date, *people: str) -> None:
        assert BRONZE.source is not None
        file = self.folder / f"{day}-{len(people)}.csv"
        rows = [",".join(who for _ in BRONZE.source.columns) for who in people]
        file.write_text("\n".join([",".join(BRONZE.source.columns), *rows]) + "\n")
        land(self.lake.landing, "store/users", BRONZE.source, file, day=day, today=D3)

    def commit(self, table: Table, day: date, *people: str, kind: Kind = Kind.STEP) -> None:
        """What a run, a stream or an erasure writes of a day."""
        path = self.lake.path(table.key)
        base = version_of(path)
        input_versions = {
            name: InputVersion(self.lake.version(read.table), str(day)) for name, read in table.reads.items()
        }
        rows = {day: DayRows(len(people), len(people), 0, 0, f"{len(people):016x}")} if kind is Kind.STEP else {}
        days = frozenset() if kind is Kind.STREAM else frozenset({day})
        by = ERASURE if kind is Kind.ERASURE else code_version(table)
        metadata = CommitMetadata(
            str(table.key), "run", f"{base}", days, by, input_versions, rows, base=base, kind=kind
        )
        replaces = kind is Kind.STEP and base is not None
        write_deltalake(
            str(path),
            pa.table(
                {DAY_COLUMN: pa.array([day for _ in people], pa.date32()), "email": pa.array(people, pa.string())}
            ),
            mode="overwrite" if replaces else "append",
            predicate=f"{DAY_COLUMN} = '{day}'" if replaces else None,
            commit_properties=CommitProperties({"userMetadata": metadata.dump()}),
        )

    def clean(self) -> None:
        """The end of an erasure."""
        for table in CATALOG.tables:
            for place in data_tables(self.lake, table):
                if version_of(place.path) is not None:
                    keep_statistics(place.path, place.statistics or ())
                    _remove_old(place, [], float("inf"))

    def status(self) -> list[Any]:
        """What sensors and people are told of tables and days."""
        staleness = Staleness(self.lake, CATALOG)
        staleness.refresh()
        own = [staleness.of(table.key) for table in CATALOG.tables]
        known = [(one.built, one.changed, one.streamed, one.unvalidated, one.newest) for one in own]
        return [known, [staleness.stale(table) for table in CATALOG.tables]]

    def rebuilt(self) -> list[Any]:
        """What an instance without memory is told: its sensor's events and runs, and what those runs report."""
        with dg.DagsterInstance.ephemeral() as instance:
            found = unreported_commits_sensor("store", CATALOG)(dg.build_sensor_context(instance=instance))
        assert isinstance(found, dg.SensorResult)
        events = [(one.asset_key, one.partition, one.tags, one.metadata) for one in found.asset_events]
        asked = [request.run_config["ops"]["adopt"]["config"] for request in found.run_requests or ()]
        outcomes = [
            recover(self.lake, CATALOG.table(TableKey.parse(one["table"])), version, [D1, D2, D3])
            for one in asked
            for version in one["versions"]
        ]
        return [events, asked, outcomes]

    def lineage(self) -> list[list[str]]:
        return [list(trace(self.lake, CATALOG, SILVER.key, day).lines()) for day in (D1, D2)]


@pytest.fixture
def lakeside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lakeside]:
    """Ana was erased from D1, on which she had been; a stream had brought her as well."""
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAKEHOUSE_ROOT", str(tmp_path))
    settings.cache_clear()
    found = Lakeside(tmp_path)
    found.land(D1, BIA)
    found.land(D2, BIA)
    for table in CATALOG.tables:
        found.commit(table, D1, ANA, BIA)
        found.commit(table, D2, BIA)
    found.commit(BRONZE, D3, ANA, BIA, kind=Kind.STREAM)
    DeltaTable(str(found.lake.path(BRONZE.key))).create_checkpoint()
    for table in CATALOG.tables:
        found.commit(table, D1, kind=Kind.ERASURE)
        found.commit(table, D1, BIA)
    write_deltalake(
        str(found.lake.path(BRONZE.key)),
        pa.table({DAY_COLUMN: pa.array([D3], pa.date32()), "email": [BIA]}),
        mode="overwrite",
        predicate=f"{DAY_COLUMN} = '{D3}'",
    )
    yield found
    settings.cache_clear()


def test_after_an_erasure_sensors_status_lineage_and_a_rebuilt_instance_answer_as_before(lakeside: Lakeside) -> None:
    assert traces(lakeside.lake.tables, {ANA}), "the test has something to find"  # type: ignore[arg-type]
    status, rebuilt, lineage = lakeside.status(), lakeside.rebuilt(), lakeside.lineage()
    assert set(status[0][1][0]) == {D1, D2}
    assert [one["table"] for one in rebuilt[1]] == ["store/bronze/users", "store/silver/users"]
    assert all(rebuilt), rebuilt
    lakeside.clean()
    assert traces(lakeside.lake.tables, {ANA}) == []  # type: ignore[arg-type]
    assert lakeside.status() == status
    assert lakeside.rebuilt() == rebuilt
    assert lakeside.lineage() == lineage
    lakeside.clean()
    assert lakeside.status() == status, "a second time changes nothing"


def test_after_an_erasure_a_replay_of_what_was_made_before_says_so(lakeside: Lakeside) -> None:
    """Also once its files are gone: it is not `vacuumed`. What was made since can be replayed, other days as well."""
    step = Step(NO_SPARK, lakeside.lake, CATALOG, "replay")

    def answers() -> list[str]:
        found = [replay(step, table.key, D1, version=0) for table in CATALOG.tables]
        return [one.answer.value for one in found]

    assert answers() == [Answer.ERASED.value] * 2
    lakeside.clean()
    assert answers() == [Answer.ERASED.value] * 2
    for table in CATALOG.tables:
        newest = DeltaTable(str(lakeside.lake.path(table.key))).version()
        input_versions = {
            name: InputVersion(lakeside.lake.version(read.table), str(D1)) for name, read in table.reads.items()
        }
        metadata = CommitMetadata(str(table.key), "run", "a", frozenset({D1}), code_version(table), input_versions)
        assert list(_obstacles(step, table, metadata, D1, newest)) == []


def test_a_day_that_is_delivered_again_after_an_erasure_is_behind(lakeside: Lakeside) -> None:
    lakeside.clean()
    before = datetime.now(UTC)
    lakeside.land(D2, BIA, "eva@example.org")
    staleness = Staleness(lakeside.lake, CATALOG)
    staleness.refresh()
    assert set(staleness.stale_days(BRONZE)) == {D2}
    assert staleness.stale_days(BRONZE)[D2] >= before.replace(microsecond=0)
