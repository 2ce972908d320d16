"""Tables that somebody's tool gave a feature of Delta: every reader shows what Spark shows, or refuses it by name."""

import json
import shlex
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.storage.commit_log import read_entry
from lakehouse_assets.platform.storage.delta_table import open_table, query_rows
from lakehouse_assets.platform.storage.log_statistics import may_hold, most_rows, rows_of_days, rows_within
from lakehouse_assets.platform.storage.table_features import UnknownFeature, require_writable
from lakehouse_assets.platform.transform.unchanged import takes_metadata
from lakehouse_assets.serving import postgres
from lakehouse_assets.serving.publish import publish
from lakehouse_assets.serving.query import query
from lakehouse_assets.settings import Settings
from lakehouse_assets_tests.warehouse_lake import DAYS, SALES, commit, rows_of, sale

NAMES = (
    "SELECT /*+ COALESCE(1) */ * FROM VALUES (1L, 'a', 1.10, DATE'2024-01-01'), (2L, 'b é', 2.20, DATE'2024-01-02') "
    "AS t(id, name, amount, feed_day)"
)
OF_WRITERS = """CREATE TABLE {t} (
    id BIGINT GENERATED ALWAYS AS IDENTITY, name STRING DEFAULT 'x', amount DECIMAL(18, 2) NOT NULL, feed_day DATE,
    y INT GENERATED ALWAYS AS (year(feed_day)), at TIMESTAMP_NTZ
) USING delta CLUSTER BY (feed_day) TBLPROPERTIES (
    'delta.enableChangeDataFeed' = 'true', 'delta.enableRowTracking' = 'true',
    'delta.enableInCommitTimestamps' = 'true', 'delta.feature.allowColumnDefaults' = 'supported',
    'delta.feature.checkpointProtection' = 'supported', 'delta.checkpointPolicy' = 'v2',
    'delta.checkpointInterval' = '2'
)"""
PARTITIONS = """CREATE TABLE {t} USING delta PARTITIONED BY (feed_day, name) AS SELECT /*+ COALESCE(1) */ * FROM VALUES
    (1L, '01', 1.1, DATE'2024-01-01'), (2L, 'x=1/%20é#+"', 2.2, DATE'2024-01-02'), (3L, NULL, 3.3, DATE'2024-01-02'),
    (4L, 'a b', 3.3, DATE'2024-01-02') AS t(id, name, amount, feed_day)"""


@dataclass(frozen=True)
class Case:
    """Statements that make a table `{t}`; the feature by which `query` and `query_rows` refuse it, if they do."""

    statements: tuple[str, ...]
    query: str | None = None
    query_rows: str | None = None


def made(*properties: str, then: tuple[str, ...] = (), query: str | None = None, query_rows: str | None = None) -> Case:
    """A table with properties, two rows in one file, and what is done to it then."""
    given = ", ".join(properties)
    return Case((f"CREATE TABLE {{t}} USING delta TBLPROPERTIES ({given}) AS {NAMES}", *then), query, query_rows)


DELETED = ("DELETE FROM {t} WHERE id = 1",)
RENAMED = ("ALTER TABLE {t} RENAME COLUMN name TO other", "ALTER TABLE {t} RENAME COLUMN amount TO name")
MOVED_DAYS = (
    "ALTER TABLE {t} RENAME COLUMN feed_day TO f",
    "ALTER TABLE {t} ADD COLUMN feed_day DATE",
    "UPDATE {t} SET feed_day = f + INTERVAL 1 DAY WHERE id = 2",
)
BY_NAME, BY_ID = "'delta.columnMapping.mode' = 'name'", "'delta.columnMapping.mode' = 'id'"
WITH_VECTORS = "'delta.enableDeletionVectors' = 'true'"
CASES = {
    "deletion_vectors": made(WITH_VECTORS, then=DELETED),
    "mapping_by_name": made(BY_NAME, "'delta.enableIcebergCompatV2' = 'true'", then=MOVED_DAYS),
    "mapping_by_id": made(BY_ID, then=RENAMED),
    "vectors_and_mapping": made(BY_NAME, WITH_VECTORS, then=(*RENAMED, *DELETED)),
    "of_writers": Case(
        (
            OF_WRITERS,
            "ALTER TABLE {t} ADD CONSTRAINT c CHECK (amount > 0)",
            "INSERT INTO {t} (name, amount, feed_day, at) "
            + NAMES.replace(" * ", " name, amount, feed_day, TIMESTAMP_NTZ'2024-01-01 10:00:00' "),
            "UPDATE {t} SET name = 'z' WHERE name = 'a'",
        )
    ),
    "type_widening": made(
        "'delta.enableTypeWidening' = 'true'",
        then=("ALTER TABLE {t} ALTER COLUMN amount TYPE DECIMAL(20, 4)",),
        query="typeWidening",
        query_rows="typeWidening",
    ),
    "vacuum_check": made("'delta.feature.vacuumProtocolCheck' = 'supported'", query_rows="vacuumProtocolCheck"),
    "variant": Case(
        ("CREATE TABLE {t} USING delta AS " + NAMES.replace(" * ", " *, parse_json('[1]') AS v "),),
        query="variantType",
        query_rows="variantType",
    ),
    "partitions": Case((PARTITIONS, "ALTER TABLE {t} ADD COLUMN added_later STRING")),
    "clone": Case(
        (f"CREATE TABLE delta.`{{p}} of` USING delta AS {NAMES}", "CREATE TABLE {t} SHALLOW CLONE delta.`{p} of`")
    ),
}


@dataclass(frozen=True)
class Features:
    """A table for each case, and its rows as Spark reads them."""

    spark: SparkSession
    settings: Settings
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def path(self, case: str) -> Path:
        return self.settings.lake.joinpath("their", "silver", case)  # type: ignore[return-value]

    def make(self, case: str) -> None:
        path = self.path(case)
        for statement in CASES[case].statements:
            self.spark.sql(statement.replace("{t}", f"delta.`{path}`").replace("{p}", str(path)))
        self.rows[case] = in_order([row.asDict() for row in self.spark.read.format("delta").load(str(path)).collect()])


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=repr)


@pytest.fixture(scope="module")
def features(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Features:
    root = tmp_path_factory.mktemp("features")
    tables = Features(spark, Settings(home=root, root=root))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(tables.make, CASES))
    return tables


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_sql_shows_what_spark_shows_or_refuses_the_feature(features: Features, case: str) -> None:
    name = f"their.silver.{case}"
    if feature := CASES[case].query:
        with pytest.raises(UnknownFeature, match=rf"{name} .* uses {feature} \(.*lakehouse shell -c .*{case}`"):
            query(features.settings, f"FROM {name}")
        return
    found = query(features.settings, f"FROM {name}")
    assert in_order([dict(zip(found.columns, row, strict=True)) for row in found.rows]) == features.rows[case]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_engine_of_delta_rs_shows_what_spark_shows_or_refuses_the_feature(features: Features, case: str) -> None:
    path = features.path(case)
    if feature := CASES[case].query_rows:
        with pytest.raises(UnknownFeature, match=f"uses {feature}"):
            query_rows(path, "SELECT * FROM t")
        return
    assert in_order(query_rows(path, "SELECT * FROM t")) == features.rows[case]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_statistics_and_the_log_never_miss_a_day(features: Features, case: str) -> None:
    """More days or rows than there are cost a computation; fewer lose an update."""
    path, version = features.path(case), DeltaTable(str(features.path(case))).version()
    days = [row[DAY_COLUMN] for row in features.rows[case] if row[DAY_COLUMN]]
    per_day = {day: days.count(day) for day in days}
    for day, count in per_day.items():
        assert may_hold(path, DAY_COLUMN, [day], version)
        assert rows_within(path, version, DAY_COLUMN, day, day) >= count
        most = most_rows(path, version, DAY_COLUMN, [day])
        assert most is None or most >= count
    counted = rows_of_days(path, version, DAY_COLUMN, list(per_day))
    assert counted is None or counted == per_day
    entries = [read_entry(path, n) for n in range(version + 1)]
    assert set(per_day) <= {day for entry in entries if entry for day in entry.touched}


@pytest.mark.slow
def test_a_v2_checkpoint_is_read_where_the_log_before_it_is_gone(features: Features) -> None:
    path = features.path("of_writers")
    assert list(path.glob("_delta_log/*2.checkpoint.*")), "Spark wrote one"
    for version in (0, 1):
        (path / "_delta_log" / f"{version:020d}.json").unlink()
    assert len(query(features.settings, "FROM their.silver.of_writers").rows) == len(features.rows["of_writers"])


@pytest.mark.slow
def test_the_command_of_a_refusal_ends_the_feature(features: Features) -> None:
    """As it stands in the message: both features of the table in turn, and then it may be written."""
    path, spark = features.path("vectors_and_mapping"), features.spark
    for _ in range(2):
        with pytest.raises(UnknownFeature) as refused:
            require_writable(DeltaTable(str(path)), path, "t")
        (command,) = shlex.split(str(refused.value).partition("lakehouse shell -c ")[2])
        exec(command, {"spark": spark})
    require_writable(DeltaTable(str(path)), path, "t")
    rows = spark.read.format("delta").load(str(path)).collect()
    assert in_order([row.asDict() for row in rows]) == features.rows["vectors_and_mapping"]


@pytest.mark.slow
def test_a_row_deleted_by_a_deletion_vector_leaves_the_warehouse(features: Features, tmp_path: Path) -> None:
    here = Settings(home=tmp_path / "home", root=tmp_path / "root", warehouse_url=None)
    commit(here, SALES, [sale(DAYS[0]), sale(DAYS[0], category="lar")], DAYS[:1])
    place = here.lake.joinpath(*SALES.key.parts)
    features.spark.sql(f"ALTER TABLE delta.`{place}` SET TBLPROPERTIES ({WITH_VECTORS})")
    features.spark.sql("DELETE FROM {t} WHERE category = 'lar'".replace("{t}", f"delta.`{place}`"))
    try:
        publish(here, SALES, DAYS[:1], "run")
        assert rows_of(here, "SELECT category, net FROM store.daily_sales") == [("casa", Decimal("10.50"))]
    finally:
        postgres.stop(here)


Metadata = dict[str, Any]


def log(folder: Path, protocol: Metadata, configuration: dict[str, str], of_column: Metadata) -> None:
    """A table without rows, whose log was written by hand; `of_column`: metadata of its one column."""
    column = {"name": "id", "type": "long", "nullable": True, "metadata": of_column}
    metadata = {
        "id": "t",
        "format": {"provider": "parquet", "options": {}},
        "schemaString": json.dumps({"type": "struct", "fields": [column]}),
        "partitionColumns": [],
        "configuration": configuration,
    }
    (folder / "_delta_log").mkdir(parents=True)
    lines = json.dumps({"protocol": protocol}), json.dumps({"metaData": metadata})
    (folder / "_delta_log" / f"{0:020d}.json").write_text("\n".join(lines))


def of_writers(*features: str) -> Metadata:
    return {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": features}


def of_readers(*features: str) -> Metadata:
    return {**of_writers(*features), "minReaderVersion": 3, "readerFeatures": features}


def legacy(version: int) -> Metadata:
    return {"minReaderVersion": 1 if version < 5 else 2, "minWriterVersion": version}


CDF, CHECK = {"delta.enableChangeDataFeed": "true"}, {"delta.constraints.c": "id > 0"}
INVARIANT = {"delta.invariants": '{"expression": {"expression": "id > 0"}}'}
MAPPED = {"delta.columnMapping.id": 1, "delta.columnMapping.physicalName": "c"}
WRITES: list[tuple[Metadata, dict[str, str], Metadata, str | None]] = [
    (legacy(2), {"delta.appendOnly": "true"}, {}, None),
    (legacy(2), {}, INVARIANT, "invariants"),
    (legacy(3), {}, {}, None),
    (legacy(3), CHECK, {}, "checkConstraints"),
    (legacy(4), {}, {}, None),
    (legacy(4), CDF, {}, "changeDataFeed"),
    (legacy(4), {}, {"delta.generationExpression": "1"}, "generatedColumns"),
    (legacy(5), {}, {}, None),
    (legacy(6), {}, {"delta.identity.start": 1}, "identityColumns"),
    (legacy(6), {}, {}, "identityColumns"),
    (of_writers("appendOnly", "invariants", "checkConstraints", "changeDataFeed", "generatedColumns"), {}, {}, None),
    (of_readers("timestampNtz", "v2Checkpoint", "deletionVectors", "columnMapping", "variantType"), {}, {}, None),
    (of_readers("columnMapping"), {"delta.columnMapping.mode": "name"}, MAPPED, "columnMapping"),
    (of_readers("typeWidening"), {}, {}, "typeWidening"),
    (of_writers("identityColumns"), {}, {}, "identityColumns"),
    (of_writers("invariants"), {}, INVARIANT, "invariants"),
    (of_writers("changeDataFeed"), CDF, {}, "changeDataFeed"),
    (of_writers("checkConstraints"), CHECK, {}, "checkConstraints"),
    *[
        (of_writers(feature), {}, {}, feature)
        for feature in (
            *("domainMetadata", "rowTracking", "clustering", "inCommitTimestamp", "allowColumnDefaults"),
            *("icebergCompatV1", "icebergCompatV2", "checkpointProtection", "something of tomorrow"),
        )
    ],
]


@pytest.mark.parametrize(("protocol", "configuration", "of_column", "refused"), WRITES)
def test_a_commit_of_delta_rs_keeps_to_what_a_table_asks_for_or_is_refused(
    tmp_path: Path, protocol: Metadata, configuration: dict[str, str], of_column: Metadata, refused: str | None
) -> None:
    """A day that comes out as it was is noted by such a commit, or written."""
    log(tmp_path, protocol, configuration, of_column)
    table = DeltaTable(str(tmp_path))
    assert takes_metadata(tmp_path, 0) == (refused is None)
    if refused is None:
        require_writable(table, tmp_path, "t")
        table.create_write_transaction([], "append", table.schema())
        assert DeltaTable(str(tmp_path)).version() == 1
        return
    with pytest.raises(UnknownFeature, match=f"t was not written: it uses {refused}"):
        require_writable(table, tmp_path, "t")


@pytest.mark.parametrize("feature", ["catalogManaged", "something of tomorrow"])
def test_a_feature_that_nobody_knows_is_refused(tmp_path: Path, feature: str) -> None:
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": [feature], "writerFeatures": [feature]}
    log(tmp_path, protocol, {}, {})
    with pytest.raises(UnknownFeature, match=f"{tmp_path} cannot be opened: it uses {feature}"):
        open_table(tmp_path)
