"""Features of Delta tables: which of them each reader and the writer here know. Lists are closed.

A feature is what a table's protocol asks of whoever reads or writes it. Somebody's tool may turn one on; from then on a
reader that does not know it shows other rows than Delta does. So such a table is refused by the feature's name.
"""

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.storage.location import Location, answering


class UnknownFeature(LakehouseError):
    """A table uses a feature of Delta that its reader or writer does not know."""


@dataclass(frozen=True)
class Feature:
    """What a feature does to a table, whether a version uses it, and the SQL that ends it; `{t}` is the table."""

    means: str
    used: Callable[[DeltaTable], bool] = lambda _: True
    end: tuple[str, ...] = ()


class Reader(Enum):
    """What reads a version, with the features it knows: DuckDB, pyarrow or Spark over its files; or delta-rs."""

    FILES = frozenset({"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"})
    DELTA_RS = frozenset({"timestampNtz", "v2Checkpoint", "deletionVectors", "columnMapping"})


WRITER = frozenset({"appendOnly", "timestampNtz", "v2Checkpoint"})
"""Features that a commit of delta-rs keeps to."""
UNUSED = frozenset(
    {
        *("changeDataFeed", "checkConstraints", "columnMapping", "deletionVectors", "generatedColumns", "invariants"),
        "variantType",
    }
)
"""Features that a commit of delta-rs needs not keep to where a table lists them and does not use them."""


def _config(table: DeltaTable, name: str) -> str | None:
    return table.metadata().configuration.get(name)


def _in_schema(text: str) -> Callable[[DeltaTable], bool]:
    return lambda table: f'"{text}"' in table.schema().to_json()


def _is_mapped(table: DeltaTable) -> bool:
    return _config(table, "delta.columnMapping.mode") not in (None, "none")


def _has_deleted_rows(table: DeltaTable) -> bool:
    return any(batch.num_rows for batch in table.deletion_vectors())


FEATURES = {
    "deletionVectors": Feature(
        "rows of its files are deleted without writing them anew",
        _has_deleted_rows,
        (
            "ALTER TABLE {t} SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'false')",
            "REORG TABLE {t} APPLY (PURGE)",
        ),
    ),
    "columnMapping": Feature(
        "its files call columns by other names than the table does",
        _is_mapped,
        ("ALTER TABLE {t} SET TBLPROPERTIES ('delta.columnMapping.mode' = 'none')",),
    ),
    "typeWidening": Feature(
        "its files hold values of other types than the table does",
        _in_schema("delta.typeChanges"),
        ("ALTER TABLE {t} DROP FEATURE typeWidening",),
    ),
    "variantType": Feature(
        "values of a column are Spark's binary variants",
        _in_schema("variant"),
        ("CREATE TABLE <another name> USING delta AS SELECT <its other columns> FROM {t}",),
    ),
    "vacuumProtocolCheck": Feature("whoever removes its files must know its features"),
    "changeDataFeed": Feature(
        "a commit has to say which rows it changed",
        lambda table: _config(table, "delta.enableChangeDataFeed") == "true",
        ("ALTER TABLE {t} SET TBLPROPERTIES ('delta.enableChangeDataFeed' = 'false')",),
    ),
    "checkConstraints": Feature(
        "rows have to satisfy conditions that its contract does not know",
        lambda table: any(name.startswith("delta.constraints.") for name in table.metadata().configuration),
        ("ALTER TABLE {t} DROP CONSTRAINT <each one of SHOW TBLPROPERTIES {t}>",),
    ),
    "invariants": Feature(
        "rows have to satisfy conditions that its contract does not know", _in_schema("delta.invariants")
    ),
    "generatedColumns": Feature(
        "values of a column have to be computed from others", _in_schema("delta.generationExpression")
    ),
    "identityColumns": Feature("values of a column have to be given out by Delta", _in_schema("delta.identity.start")),
    "catalogManaged": Feature("its newest commits are known to a catalog only"),
}
"""What is said of a feature; one that is not among them counts as used wherever it is listed."""

_LEGACY = {
    2: ("appendOnly", "invariants"),
    3: ("checkConstraints",),
    4: ("changeDataFeed", "generatedColumns"),
    5: ("columnMapping",),
    6: ("identityColumns",),
}
"""What a writer's version before 7, which lists features, adds to those below it."""


def reader_of(table: DeltaTable, path: Location, name: str) -> Reader:
    """The reader that shows this version as Delta does, the cheaper one first. Raises UnknownFeature, StoreError."""
    with answering(path):
        for reader in (Reader.FILES, Reader.DELTA_RS):
            unknown = list(_unknown_to(reader, table))
            if not unknown:
                return reader
    raise UnknownFeature(_refusal(f"{name} cannot be read without Spark: it", unknown[0], path))


def shown_by(reader: Reader, table: DeltaTable, path: Location) -> bool:
    """Whether a reader shows this version as Delta does. Raises StoreError."""
    with answering(path):
        return next(_unknown_to(reader, table), None) is None


def require(reader: Reader, table: DeltaTable, path: Location, name: str) -> None:
    """Raises UnknownFeature where this reader would not show a version as Delta does; StoreError."""
    with answering(path):
        unknown = next(_unknown_to(reader, table), None)
    if unknown:
        raise UnknownFeature(_refusal(f"{name} cannot be read here: it", unknown, path))


def require_writable(table: DeltaTable, path: Location, name: str) -> None:
    """Raises UnknownFeature where a commit of delta-rs would not keep to what the table asks for; StoreError."""
    with answering(path):
        unknown = next(_not_kept(table), None)
    if unknown:
        raise UnknownFeature(_refusal(f"{name} was not written: it", unknown, path))


def is_writable(table: DeltaTable, path: Location) -> bool:
    """Whether a commit of delta-rs keeps to what the table asks for. Raises StoreError."""
    with answering(path):
        return next(_not_kept(table), None) is None


def refusal_to_open(error: DeltaError, path: Location) -> UnknownFeature | None:
    """What delta-rs says of a table that it does not even open, for a feature of it; None for anything else."""
    named = re.search(r"Feature '(.+?)' is not supported", str(error))
    if named is None and "catalog-managed" not in str(error):
        return None
    return UnknownFeature(_refusal(f"{path} cannot be opened: it", named[1] if named else "catalogManaged", path))


def physical_name(table: DeltaTable, column: str) -> str:
    """What the files and their statistics call a column."""
    if not _is_mapped(table):
        return column
    mapped = {field.name: field.metadata for field in table.schema().fields}
    return str(mapped.get(column, {}).get("delta.columnMapping.physicalName", column))


def _unknown_to(reader: Reader, table: DeltaTable) -> Iterator[str]:
    """Features of a version that a reader does not know. delta-rs refuses one that is listed, used or not."""
    protocol = table.protocol()
    listed = {1: (), 2: ("columnMapping",)}.get(protocol.min_reader_version, protocol.reader_features or ())
    for feature in sorted(listed):
        if feature not in reader.value and (reader is Reader.DELTA_RS or _known(feature).used(table)):
            yield feature


def _not_kept(table: DeltaTable) -> Iterator[str]:
    """Features that a commit of delta-rs does not keep to."""
    protocol = table.protocol()
    version = protocol.min_writer_version
    of_version = [feature for least, features in _LEGACY.items() if least <= version for feature in features]
    for feature in (protocol.writer_features or ()) if version >= 7 else of_version:
        if feature not in WRITER and (feature not in UNUSED or _known(feature).used(table)):
            yield feature


def _known(feature: str) -> Feature:
    return FEATURES.get(feature, Feature("what it does to rows is not known here"))


def _refusal(what: str, feature: str, path: Location) -> str:
    known = _known(feature)
    place = f"delta.`{str(path).replace('`', '``')}`"
    end = [sql.format(t=place) for sql in known.end or (f"ALTER TABLE {{t}} DROP FEATURE {feature}",)]
    command = "; ".join(f"spark.sql({sql!r})" for sql in end)
    return (
        f"{what} uses {feature} ({known.means}). Spark's own reader knows it (lakehouse shell). To do without it: "
        f"lakehouse shell -c {shlex.quote(command)}"
    )
