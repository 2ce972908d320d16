"""How a stored table and its contract may differ: added nullable columns are fine, anything else is refused by name.

A step asks before it reads anything, for what was computed could not be stored, and a table made anew would answer
otherwise about the past.
"""

from typing import TYPE_CHECKING

from lakehouse_assets.platform.declare.scd import BUCKET, Scd
from lakehouse_assets.platform.declare.table import Overwrite, Table
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata
from lakehouse_assets.platform.storage.delta_table import open_table
from lakehouse_assets.platform.storage.location import Location
from lakehouse_assets.platform.storage.log_statistics import files
from lakehouse_assets.platform.storage.schema_evolution import differences, refuse, schema_of

if TYPE_CHECKING:
    import pyspark.sql.types as T


def key_of(table: Table) -> tuple[str, ...]:
    """What tells the table's rows apart."""
    return table.write.keys if isinstance(table.write, Scd) else table.compiled.key


def nullable_of(table: Table) -> frozenset[str]:
    """The columns that may be NULL. Delta does not keep that: Spark stores every column as nullable."""
    return frozenset(field.name for field in table.compiled.spark_schema if field.nullable)


def refuse_changed_contract(path: Location, table: Table, base: int, metadata: CommitMetadata | None) -> None:
    """Compare the table, and the note of its newest step, with the contract. Raises SchemaMismatch."""
    stored = open_table(path, base)
    if stored is None:
        return
    found = differences(schema_of(stored), table.compiled.spark_schema, own={BUCKET})
    if not isinstance(table.write, Overwrite):  # of one state, every row is written anew
        found += _required(path, base, table, schema_of(stored), metadata)
    if metadata is not None and metadata.key is not None and metadata.key != key_of(table):
        found.append(f"its key is {_listed(metadata.key)}, declared {_listed(key_of(table))}")
    refuse(path, str(table.key), found)


def _required(
    path: Location, base: int, table: Table, stored: "T.StructType", metadata: CommitMetadata | None
) -> list[str]:
    """Columns that must not be NULL by the contract, and may be in rows that are stored."""
    required = {field.name for field in table.compiled.spark_schema if not field.nullable}
    added = [f"{name} is not stored, declared without NULL" for name in sorted(required - set(stored.names))]
    before = metadata.nullable if metadata is not None and metadata.nullable is not None else frozenset()
    loosened = sorted(required & before & set(stored.names))
    held = files(path, base) if loosened else {}
    unknown = [None] * len(held.get("path", ()))
    return added + [
        f"{name} may be NULL in stored rows, declared without NULL"
        for name in loosened
        if any(count != 0 for count in held.get(f"null_count.{name}", unknown))
    ]


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"
