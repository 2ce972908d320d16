"""What the warehouse holds of a declared table, where, and under which asset key. Needs no database driver."""

from typing import TYPE_CHECKING

from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import PUBLISHED_LAYER, Table, TableKey

if TYPE_CHECKING:
    import pyspark.sql.types as T

LAYER = "warehouse"


def served(catalog: Catalog) -> list[Table]:
    """The tables that are published: all of gold, and those of other layers that say so."""
    return [table for table in catalog.tables if table.publish is not None]


def warehouse_key(table: Table) -> TableKey:
    """The key of a table's asset in the warehouse."""
    key = table.key
    return TableKey(key.domain, LAYER, key.name if key.layer == PUBLISHED_LAYER else f"{key.layer}_{key.name}")


def place(table: Table) -> tuple[str, str]:
    """Schema and name in the warehouse: gold in the domain's schema, other layers in `<domain>_<layer>`."""
    key = table.key
    return (key.domain if key.layer == PUBLISHED_LAYER else f"{key.domain}_{key.layer}"), key.name


def withheld_columns(table: Table) -> frozenset[str]:
    """Personal columns that are not published: analysts read whatever is."""
    return table.compiled.pii - set(table.publish.personal if table.publish else ())


def fields_of(table: Table) -> "list[T.StructField]":
    """The columns that are published, as the contract has them."""
    return [field for field in table.compiled.spark_schema if field.name not in withheld_columns(table)]
