"""What Dagster is told before anything runs: the graph, its partition mappings, its columns. Told without any I/O."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from lakehouse_assets.definitions import catalog, definitions
from lakehouse_assets.platform.declare.table import LANDING_LAYER, TableKey
from lakehouse_assets.serving.quality_tables import QUALITY_TABLES
from lakehouse_assets.serving.warehouse_tables import fields_of, place, served, warehouse_key

GRAPH = definitions.resolve_asset_graph()
SILVER = ("purchase", "product_item", "purchase_extra_info")
LANDED = {table.landing for table in catalog.tables if table.landing}


def key(name: str) -> dg.AssetKey:
    return dg.AssetKey(name.split("/"))


def test_the_graph_is_what_the_tables_declare() -> None:
    for table in catalog.tables:
        node = GRAPH.get(key(str(table.key)))
        assert node.parent_keys == {key(str(read.table)) for read in table.reads.values()}
        assert node.group_name == f"{table.key.domain}/{table.key.layer}"
        assert (node.tags["domain"], node.tags["layer"]) == table.key.parts[:2]
        assert (node.freshness_policy is not None) is (table.sla is not None)
        assert node.description == table.compiled.description
        assert isinstance(node.partitions_def, dg.DailyPartitionsDefinition)
        assert node.backfill_policy == dg.BackfillPolicy.single_run()
        checks = {check.name: GRAPH.get_check_spec(check).blocking for check in node.check_keys}
        fresh = {"freshness": False} if table.sla is not None or table.compiled.fresh_within else {}
        assert checks == {"contract": True, "conservation": True, "pandera": False, **fresh}
    landed = [node.key for node in GRAPH.asset_nodes if node.key.path[1] == LANDING_LAYER]
    assert {TableKey(*one.path) for one in landed} == LANDED
    assert not any(GRAPH.get(one).is_materializable for one in landed), "`lakehouse land` makes them, Dagster does not"


def test_every_gold_table_is_published_behind_it_by_the_same_days() -> None:
    for table in served(catalog):
        node = GRAPH.get(key(str(warehouse_key(table))))
        assert node.parent_keys == {key(str(table.key))}
        assert node.partitions_def == GRAPH.get(key(str(table.key))).partitions_def
        assert upstream(str(warehouse_key(table)), str(table.key), "2024-02-03") == ["2024-02-03", "2024-02-03"]
        assert [check.name for check in node.check_keys] == ["equals_delta"]


def test_the_warehouse_has_the_published_columns_and_says_which_they_are_in_the_lake() -> None:
    for table in served(catalog):
        message = GRAPH.get(key(str(warehouse_key(table)))).metadata
        published = [field.name for field in fields_of(table)]
        assert message["dagster/table_name"] == ".".join(place(table))
        assert [column.name for column in message["dagster/column_schema"].columns] == published
        lineage = message["dagster/column_lineage"].deps_by_column
        assert lineage == {name: [dg.TableColumnDep(key(str(table.key)), name)] for name in published}


def test_every_asset_has_an_owner_a_domain_and_a_layer() -> None:
    for node in GRAPH.asset_nodes:
        domain, layer, _ = node.key.path
        assert node.owners, node.key
        assert (node.tags["domain"], node.tags["layer"]) == (domain, layer)


def test_one_selection_takes_a_domain_without_its_copy_in_the_warehouse() -> None:
    def selected(text: str) -> set[str]:
        return {found.to_user_string() for found in dg.AssetSelection.from_string(text).resolve(GRAPH)}

    of_gmv = {str(table.key) for table in catalog.tables if table.key.domain == "gmv"}
    assert selected('group:"gmv/*"') == of_gmv
    assert selected("group:gmv/silver") == {f"gmv/silver/{table}" for table in SILVER}
    assert selected("tag:domain=gmv") - of_gmv == selected("group:warehouse/gmv")


def test_every_domain_has_a_job_of_all_its_tables_and_one_of_the_warehouse() -> None:
    def made(job: str) -> set[str]:
        return {found.to_user_string() for found in definitions.resolve_job_def(job).asset_layer.executable_asset_keys}

    for domain in {table.key.domain for table in catalog.tables}:
        assert made(domain) == {str(table.key) for table in catalog.tables if table.key.domain == domain}
        assert made(f"{domain}_warehouse") == {
            str(warehouse_key(table)) for table in served(catalog) if table.key.domain == domain
        }


def test_the_definitions_are_valid() -> None:
    dg.Definitions.validate_loadable(definitions)


def upstream(of: str, parent: str, day: str) -> list[str]:
    """Days of `parent` that a day of `of` reads, first and last."""
    node = GRAPH.get(key(of))
    assert node.partitions_def is not None
    mapping = GRAPH.get_partition_mapping(node.key, key(parent))
    found = mapping.get_upstream_mapped_partitions_result_for_partitions(
        node.partitions_def.subset_with_partition_keys([day]),
        node.partitions_def,
        GRAPH.get(key(parent)).partitions_def,
    )
    days = sorted(found.partitions_subset.get_partition_keys())
    assert not found.required_but_nonexistent_subset.get_partition_keys()
    return [days[0], days[-1]]


@pytest.mark.parametrize("table", SILVER)
def test_a_day_is_made_together_with_the_same_day_of_its_inputs(table: str) -> None:
    """Also gold's, which reads everything through the day: else a backfill of a past week would reach until today."""
    assert upstream(f"gmv/bronze/{table}", f"gmv/landing/{table}", "2023-02-03") == ["2023-02-03", "2023-02-03"]
    assert upstream(f"gmv/silver/{table}", f"gmv/bronze/{table}", "2023-02-03") == ["2023-02-03", "2023-02-03"]
    assert upstream("gmv/gold/gmv", f"gmv/silver/{table}", "2023-02-03") == ["2023-02-03", "2023-02-03"]


def test_the_open_day_can_be_materialized() -> None:
    """Partitions go through today, and a day is the same everywhere: UTC."""
    days = GRAPH.get(key("gmv/gold/gmv")).partitions_def
    assert isinstance(days, dg.DailyPartitionsDefinition)
    assert days.timezone == "UTC"
    assert days.get_first_partition_key() == "2020-01-01"
    assert days.get_last_partition_key() is not None
    assert date.fromisoformat(str(days.get_last_partition_key())) >= date.today()


def test_columns_are_described_in_the_catalog_of_the_ui() -> None:
    for table in catalog.tables:
        schema = GRAPH.get(key(str(table.key))).metadata["dagster/column_schema"]
        columns = schema.value if isinstance(schema, dg.TableSchemaMetadataValue) else schema
        assert [column.name for column in columns.columns] == table.compiled.spark_schema.names
        assert all(column.description for column in columns.columns)
    purchase = catalog.table(TableKey.parse("gmv/silver/purchase")).compiled.dagster_columns()
    by_name = {column.name: column for column in purchase.columns}
    assert by_name["release_date"].type == "date"
    assert by_name["release_date"].constraints.nullable
    assert not by_name["purchase_id"].constraints.nullable


IMPORT = """
import json, socket, subprocess, sys
import dagster, dagster_pyspark, pandera.pyspark  # what these do when imported is not ours to refuse
def refuse(self, *arguments, **options):
    raise AssertionError(f"the import did I/O: {arguments}")
socket.socket.connect = refuse
subprocess.Popen.__init__ = refuse
import lakehouse_assets.definitions as code
print(json.dumps({"assets": len(list(code.definitions.resolve_all_asset_keys())),
                  "connect": "pyspark.sql.connect.session" in sys.modules}))
"""


def test_importing_the_definitions_touches_nothing(tmp_path: Path) -> None:
    """No Spark, no server, no connection, no file: Dagster imports them in every process and at every reload."""
    home = tmp_path / "home"
    done = subprocess.run(
        [sys.executable, "-c", IMPORT],
        cwd=tmp_path,
        env={"PATH": "", "HOME": str(home), "LAKEHOUSE_HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "assets": len(catalog.tables) + len(LANDED) + len(served(catalog)) + len(QUALITY_TABLES),
        "connect": False,
    }
    assert list(tmp_path.iterdir()) == []


def test_every_column_says_which_columns_it_is_made_of() -> None:
    def of(table: str) -> dict[str, set[str]]:
        lineage = GRAPH.get(key(table)).metadata["dagster/column_lineage"]
        return {
            column: {"/".join([*dep.asset_key.path[1:], dep.column_name]) for dep in deps}
            for column, deps in lineage.deps_by_column.items()
        }

    assert of("gmv/bronze/purchase")["release_date"] == {"landing/purchase/release_date"}
    assert of("gmv/silver/purchase")["release_date"] == {"bronze/purchase/release_date"}
    gold = of("gmv/gold/gmv")
    assert gold["gmv_date"] == {"silver/purchase/release_date"}
    assert gold["gmv"] == {"silver/product_item/purchase_value"}
    assert gold["subsidiary"] == {"silver/purchase_extra_info/subsidiary"}
    assert gold["processed_at"] == set(), "set by the platform"
    assert of("gmv/gold/gmv_current")["gmv"] == {"gold/gmv/gmv"}
