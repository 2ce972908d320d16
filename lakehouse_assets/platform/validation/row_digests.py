"""Digests of rows: the same for the same rows, in whatever order they come and whenever they are computed."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column

    from lakehouse_assets.platform.contracts.compiled import CompiledContract

RUN_COLUMNS = frozenset({"processed_at", "processed_date", "run_id"})  # differ from run to run, so no part of a digest
NESTED = frozenset({"array", "map", "struct"})


def row_hash(contract: "CompiledContract") -> "Column":
    """A row of the table as 64 bits. Spark's hash passes over NULL, so which columns are NULL is hashed beside them."""
    from pyspark.sql import functions as F

    fields = [field for field in contract.spark_schema if field.name not in RUN_COLUMNS]
    whole = {"ignoreNullFields": "false"}  # a NULL within a value counts as well
    values = [F.to_json(f.name, whole) if f.dataType.typeName() in NESTED else F.col(f.name) for f in fields]
    return F.xxhash64(*values, *[F.isnull(field.name) for field in fields if field.nullable])
