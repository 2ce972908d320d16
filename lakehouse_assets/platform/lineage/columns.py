"""Which columns a column is made of: those that its contract names, else those of the same name among the inputs."""

from collections.abc import Iterator

import dagster as dg

from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import LANDING_LAYER, DeclarationError, Read, Table


def column_lineage(table: Table, catalog: Catalog) -> dg.TableColumnLineage:
    """The columns of a table, each with the input columns it comes from; those that the platform sets have none.

    Raises DeclarationError when a contract names an input or a column that does not exist.
    """
    inputs = {name: (read, _columns(table, read, catalog)) for name, read in table.reads.items()}
    # An input that is read in two spans is two inputs of one table.
    return dg.TableColumnLineage({column: list(dict.fromkeys(_of(table, column, inputs))) for column in _own(table)})


def _own(table: Table) -> list[str]:
    return [field.name for field in table.compiled.spark_schema]


def _columns(table: Table, read: Read, catalog: Catalog) -> set[str]:
    if read.table.layer == LANDING_LAYER:
        return set(table.source.columns) if table.source else set()
    return set(_own(catalog.table(read.table)))


def _of(table: Table, column: str, inputs: dict[str, tuple[Read, set[str]]]) -> Iterator[dg.TableColumnDep]:
    named = table.compiled.derived_from.get(column)
    if named is None:
        named = tuple(f"{name}.{column}" for name, (_, columns) in inputs.items() if column in columns)
    for one in named:
        name, _, of = one.partition(".")
        read, columns = inputs.get(name, (None, set()))
        if read is None or of not in columns:
            raise DeclarationError(f"{table.key}: {column} is said to come from {one!r}, no column of an input")
        yield dg.TableColumnDep(asset_key=dg.AssetKey(read.table.parts), column_name=of)
