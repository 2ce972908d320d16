"""Each night Pandera validates a sampled day of every table: it agrees, or the table's check `pandera` is red."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import dagster as dg
import pyarrow as pa
import pyspark.sql.types as T
import pytest
from dagster import DagsterEventType
from deltalake import CommitProperties, write_deltalake
from pandera.config import ValidationDepth, config_context
from pyspark.sql import SparkSession

from lakehouse_assets.definitions import catalog, definitions
from lakehouse_assets.ops import pandera_job
from lakehouse_assets.ops.pandera_job import JOB, Sampling
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.contracts.contract import Contract, column
from lakehouse_assets.platform.contracts.pandera_findings import Findings
from lakehouse_assets.platform.contracts.rules import Action
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.maintenance.sampled_day import Agreement, Claim, Sample, differences, draw, validate
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.results.check_results import PANDERA
from lakehouse_assets.platform.storage.delta_table import last_metadata, open_table, query_rows
from lakehouse_assets.settings import Settings, settings
from lakehouse_assets_tests.dagster_lake import DagsterLake, dagster_lake, marketplace_day

DAYS = [date(2023, 2, 1) + timedelta(days=n) for n in range(3)]
BRONZE, SILVER = ("gmv/bronze/purchase", "gmv/silver/purchase")


@dataclass
class Made:
    """A lake with some days of GMV."""

    lake: DagsterLake

    @property
    def roots(self) -> Lake:
        return Lake(settings().lake, settings().landing)

    def night(self, only: str | None = None, on: str | None = None) -> dg.ExecuteInProcessResult:
        """The nightly run."""
        done = definitions.resolve_job_def(JOB).execute_in_process(
            instance=self.lake.instance,
            run_config=dg.RunConfig({"validate_sampled_days": Sampling(only=only, on=on)}),
            raise_on_error=False,
        )
        self.lake.runs.append(done)
        return done

    def results(self, run: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
        """What the run says of the check of each table."""
        entries = self.lake.instance.all_logs(run.run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION)
        found = [entry.dagster_event.asset_check_evaluation_data for entry in entries if entry.dagster_event]
        assert {one.check_name for one in found} == {PANDERA}
        return {"/".join(one.asset_key.path): one for one in found}

    def plant(self, day: date, claimed: int = 1, **values: Any) -> None:
        """Append a row of a day to silver, altered, by a commit that claims that so many rows came and all is well."""
        path = self.roots.path(TableKey.parse(SILVER))
        (row,) = query_rows(path, f"SELECT * FROM t WHERE feed_day = '{day}' LIMIT 1")  # noqa: S608  (a test's own words)
        table, metadata = open_table(path), last_metadata(path)
        assert table is not None
        assert metadata is not None
        rows = {day: replace(metadata.rows[day], kept=metadata.rows[day].kept + claimed)}
        metadata = replace(metadata, days=frozenset({day}), rows=metadata.rows | rows, base=table.version())
        write_deltalake(
            table,
            pa.Table.from_pylist([row | values], pa.schema(table.schema().to_arrow())),
            mode="append",
            commit_properties=CommitProperties(custom_metadata={"userMetadata": metadata.dump()}),
        )


@pytest.fixture(scope="module")
def made(spark_home: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    with dagster_lake(tmp_path_factory.mktemp("sampled")) as lake:
        parts = {}
        for day in DAYS:
            parts |= {part: rows for part, rows in marketplace_day(day, 20).items() if part[0] == "purchase"}
        parts["purchase", DAYS[1]] = [
            row | ({"release_date": "soon"} if n < 3 else {}) for n, row in enumerate(parts["purchase", DAYS[1]])
        ]
        lake.land(parts)
        assert lake.run([BRONZE, SILVER], DAYS[0], DAYS[-1]).success
        yield Made(lake)


@pytest.mark.slow
def test_pandera_agrees_on_healthy_tables_and_each_date_takes_its_own_day(made: Made) -> None:
    night = made.night(on="2023-03-01")
    assert night.success, made.lake.why(night)
    found = made.results(night)
    assert set(found) == {BRONZE, SILVER}, "tables that are not there yet have nothing to compare"
    assert all(one.passed for one in found.values()), {name: one.description for name, one in found.items()}
    assert not found[SILVER].blocking
    assert made.lake.check_days(SILVER, PANDERA)["SUCCEEDED"] == {found[SILVER].partition}
    assert made.results(made.night(on="2023-03-01"))[SILVER].partition == found[SILVER].partition
    drawn = [draw(made.roots, catalog.table(TableKey.parse(SILVER)), date(2023, 3, n)) for n in range(1, 29)]
    assert {one.day for one in drawn if one} == set(DAYS)


@pytest.mark.slow
def test_a_row_that_no_commit_speaks_of_is_a_difference_too(made: Made, spark: SparkSession) -> None:
    def found() -> tuple[str, ...]:
        silver = catalog.table(TableKey.parse(SILVER))
        return validate(spark, made.roots, Sample(silver, made.lake.version(SILVER) or 0, DAYS[0])).differences

    made.plant(DAYS[0])
    assert found() == ()
    made.plant(DAYS[0], claimed=0)
    assert found() == ("the table has 22 rows, and its commits say 21",)


@pytest.mark.slow
def test_a_table_that_cannot_be_validated_does_not_keep_the_others_waiting(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(spark: SparkSession, lake: Lake, sample: Sample) -> Agreement:
        if str(sample.table.key) == BRONZE:
            raise LakehouseError("it could not be read")
        return validate(spark, lake, sample)

    monkeypatch.setattr(pandera_job, "validate", failing)
    night = made.night()
    assert not night.success
    assert f"1 tables were not validated: {{'{BRONZE}': 'it could not be read'}}" in made.lake.why(night)
    assert set(made.results(night)) == {SILVER}


@pytest.mark.slow
def test_a_row_that_breaks_a_rule_turns_the_check_of_its_table_red_and_fails_nothing_else(made: Made) -> None:
    for day in DAYS:
        made.plant(day, release_date=date(1900, 1, 1))
    night = made.night()
    assert night.success, made.lake.why(night)
    found = made.results(night)
    assert found[BRONZE].passed
    red = found[SILVER]
    assert not red.passed
    assert red.severity is dg.AssetCheckSeverity.ERROR
    assert "released_on_a_day_that_can_be: rows of the table break it, says Pandera" in str(red.description)
    assert made.lake.check_days(SILVER, PANDERA)["FAILED"] == {red.partition}
    assert made.lake.run([SILVER], date.fromisoformat(str(red.partition))).success, "it blocks nothing"


@pytest.mark.slow
def test_pandera_knows_the_types_of_every_declared_table(spark: SparkSession) -> None:
    with config_context(validation_depth=ValidationDepth.SCHEMA_ONLY):
        for table in catalog.tables:
            nothing: Any = spark.createDataFrame([], table.compiled.spark_schema)
            assert not table.contract.validate(nothing).pandera.errors, table.key


def test_the_job_runs_every_night() -> None:
    (nightly,) = [one for one in definitions.schedules or () if one.name == f"{JOB}_nightly"]
    assert isinstance(nightly, dg.ScheduleDefinition)
    assert nightly.default_status is dg.DefaultScheduleStatus.RUNNING


class Stock(Contract):
    """A stock."""

    item: T.StringType = column("item", unique=True)
    amount: T.LongType = column("amount", action=Action.WARN, lt=100)


WARNED, STRICT, OF_DAY = "amount:lt", "item:not_null", "item:unique"


@pytest.mark.parametrize(
    ("found", "claim", "message"),
    [
        ((), Claim(5, {}, 0), ""),
        ((), None, ""),
        ((STRICT,), None, "item:not_null: rows of the table break it"),
        ((OF_DAY,), Claim(5, {}, 0), "item:unique: rows of the table break it"),
        ((OF_DAY,), Claim(5, None, 0), ""),
        ((OF_DAY,), None, ""),
        ((WARNED,), Claim(5, {WARNED: 2}, 0), ""),
        ((WARNED,), Claim(5, {}, 0), "amount:lt: rows of the table break it"),
        ((WARNED,), Claim(5, None, 0), ""),
        ((WARNED,), None, ""),
        ((), Claim(5, {WARNED: 2}, 0), "amount:lt: the platform counted 2 rows that break it, Pandera finds none"),
        ((), Claim(5, {WARNED: 2}, 2), ""),  # the two may be those in quarantine
        ((), Claim(5, {STRICT: 2}, 2), ""),
        ((), Claim(6, {}, 0), "the table has 5 rows, and its commits say 6"),
    ],
)
def test_what_is_a_difference(found: tuple[str, ...], claim: Claim | None, message: str) -> None:
    (told,) = [*differences(Stock.compiled(), Findings(dict.fromkeys(found, "…"), ()), 5, claim)] or [""]
    assert told.startswith(message)
    assert bool(told) is bool(message)


def test_what_pandera_cannot_judge_is_a_difference() -> None:
    found = Findings({}, ("WRONG_DATATYPE: amount",))
    assert list(differences(Stock.compiled(), found, 0, None)) == ["Pandera could not judge: WRONG_DATATYPE: amount"]
