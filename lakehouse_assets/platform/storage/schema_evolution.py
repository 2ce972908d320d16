"""How the columns of a stored table differ from those declared."""

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.storage.location import Location

if TYPE_CHECKING:
    import pyspark.sql.types as T
    from deltalake import DeltaTable


class SchemaMismatch(LakehouseError):
    """The folder holds a Delta table that is not the one declared."""


def differences(stored: "T.StructType", declared: "T.StructType", own: Collection[str] = ()) -> list[str]:
    """Stored columns that are of another type than declared, or not declared; `own`: columns of the platform's."""
    types = {column.name: column.dataType for column in declared}
    return [
        f"{column.name} is {column.dataType.simpleString()}"
        + (f", declared {types[column.name].simpleString()}" if column.name in types else ", not declared")
        for column in stored
        if types.get(column.name) != column.dataType and (column.name in types or column.name not in own)
    ]


def refuse(path: Location, name: str, found: list[str]) -> None:
    """Raises SchemaMismatch where a stored table differs from its contract."""
    if found:
        raise SchemaMismatch(
            f"{path} is not the table {name} as declared ({'; '.join(found)}), and stored tables cannot be changed "
            "yet: nothing was read or written; restore the contract, or declare what is new as a table of another name."
        )


def schema_of(table: "DeltaTable") -> "T.StructType":
    """The columns of a stored table."""
    import pyspark.sql.types as T

    found: dict[str, Any] = json.loads(table.schema().to_json())
    return T.StructType.fromJson(found)
