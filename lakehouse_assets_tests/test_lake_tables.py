"""A user's own asset reads declared tables through dagster-deltalake, without a JVM, at any version."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder, write_deltalake

from lakehouse_assets.definitions import catalog, definitions
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.table import DeclarationError
from lakehouse_assets.platform.storage.location import storage_options
from lakehouse_assets.platform.storage.table_features import UnknownFeature
from lakehouse_assets.serving.lake_tables import LakeTables
from lakehouse_assets.settings import settings
from lakehouse_assets_tests.s3_lake import PASSWORD, s3_lake
from lakehouse_assets_tests.test_docs import PROJECT, blocks

DAY = date(2023, 2, 1)
SECRET = "only-for-this-test"


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A lake with two versions of silver's purchases."""
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path))
    settings.cache_clear()
    path = settings().lake / "gmv" / "silver" / "purchase"
    assert isinstance(path, Path)
    for ids in ([1], [2, 3]):
        rows = pa.table({"purchase_id": ids, "transaction_date": [DAY] * len(ids), "feed_day": [DAY] * len(ids)})
        write_deltalake(str(path), rows, mode="append")
    yield path
    settings.cache_clear()


@dg.asset
def purchases(lake: LakeTables) -> dg.MaterializeResult[Any]:
    """How many purchases there are, and were at first."""
    newest, first = lake.table("gmv.silver.purchase"), lake.table("gmv/silver/purchase", version=0)
    counts = [table.load().to_pandas().shape[0] for table in (newest, first)]
    return dg.MaterializeResult(metadata={"counts": counts})


def test_an_asset_of_ones_own_reads_declared_tables(lake: Path) -> None:
    assert definitions.resources is not None
    done = dg.materialize([purchases], resources={"lake": definitions.resources["lake"]})
    (made,) = done.asset_materializations_for_node("purchases")
    assert made.metadata["counts"].value == [3, 1]


def test_a_table_that_cannot_be_read_says_why(lake: Path) -> None:
    tables = LakeTables(catalog=catalog)
    for name, version, message in (
        ("gmv.silver.purchases", None, r"no table gmv/silver/purchases\. Declared are: gmv/bronze/product_item, "),
        ("gmv.silver.product_item", None, "gmv/silver/product_item was not made yet"),
        ("gmv.silver.purchase", 7, "gmv/silver/purchase has no version 7, or not any more; the newest is 1"),
    ):
        with pytest.raises(LakehouseError, match=message):
            tables.table(name, version)
    with pytest.raises(DeclarationError, match="write it as gmv/silver/purchase"):
        tables.table("purchase")


def test_a_feature_that_delta_rs_does_not_know_is_refused_by_name(lake: Path) -> None:
    (entry,) = lake.glob("_delta_log/*01.json")
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["typeWidening"]}
    added = {"protocol": protocol | {"writerFeatures": ["typeWidening"]}}
    entry.write_text(entry.read_text() + json.dumps(added) + "\n")
    with pytest.raises(UnknownFeature, match="uses typeWidening"):
        LakeTables(catalog=catalog).table("gmv.silver.purchase")


def test_a_resource_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """delta-rs takes credentials from the environment, as it does everywhere here."""
    from lakehouse_assets.platform.storage.s3 import S3Path
    from lakehouse_assets.serving.lake_tables import _resource

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, SECRET)
    resource = _resource(S3Path("bucket", "lake/gmv/silver/purchase", "http://127.0.0.1:9000"), 3)
    assert resource.url == "s3a://bucket/lake/gmv/silver/purchase"
    assert SECRET not in repr(resource)
    assert SECRET not in resource.model_dump_json()
    assert "AWS_SECRET_ACCESS_KEY" not in repr(LakeTables(catalog=catalog))


@pytest.mark.slow
def test_a_table_in_a_bucket_is_read_with_the_credentials_of_the_environment(tmp_path: Path) -> None:
    with s3_lake(tmp_path):
        path = settings().lake.joinpath("gmv", "silver", "purchase")
        for ids in ([1], [2, 3]):
            write_deltalake(str(path), pa.table({"id": ids}), mode="append", storage_options=storage_options(path))
        tables = LakeTables(catalog=catalog)
        found = {version: tables.table("gmv.silver.purchase", version) for version in (None, 0)}
        assert {version: table.load().count() for version, table in found.items()} == {None: 3, 0: 1}
        assert PASSWORD not in repr(found)


def test_the_example_of_the_docs_runs(lake: Path) -> None:
    """The code of docs/serving.md, as it stands there."""
    (code,) = [code for code in blocks(PROJECT / "docs" / "serving.md", "python") if "LakeTables" in code]
    names: dict[str, Any] = {}
    exec(code, names)
    done = dg.materialize([names["purchases_by_day"]], resources={"lake": LakeTables(catalog=catalog)})
    (made,) = done.asset_materializations_for_node("purchases_by_day")
    assert made.metadata["days"].value == 1


def test_a_notebook_asks_without_dagster(lake: Path) -> None:
    table = LakeTables(catalog=catalog).table("gmv.silver.purchase").load()
    assert isinstance(table, DeltaTable)
    found = pa.table(QueryBuilder().register("t", table).execute("SELECT sum(purchase_id) AS n FROM t").read_all())
    assert found.to_pylist() == [{"n": 6}]
