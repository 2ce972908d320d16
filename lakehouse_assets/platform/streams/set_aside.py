"""Records that a stream cannot commit: kept beside the table with the reason, so that everything after them goes on.

They lie in `<domain>/<layer>/<table>__stream__quarantine`, which `lakehouse quarantine` shows and delta-rs writes. A
record is there once, however often a stream that was killed comes back to it.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.stream_source import SetAside
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.storage.delta_table import open_table, query_rows
from lakehouse_assets.platform.storage.location import Location, answering, storage_options
from lakehouse_assets.platform.storage.statistics_properties import stats_properties

SUFFIX = "__stream__quarantine"
ATTEMPTS = 6
WRITER = "set aside"

PROPERTIES = {"delta.appendOnly": "true", "delta.checkpointInterval": "20", **stats_properties(("feed_day",))}
SCHEMA = pa.schema(
    [
        ("feed_day", pa.date32()),
        ("rules", pa.list_(pa.string())),
        ("reason", pa.string()),
        ("source_file", pa.string()),
        ("row_number", pa.int64()),
        ("etag", pa.string()),
        ("version", pa.int32()),
        ("row", pa.string()),
    ]
)


class NotKept(LakehouseError):
    """Records that no commit may hold could not be kept beside the table."""


def set_aside_path(lake: Lake, key: TableKey) -> Location:
    """Folder of what a table's stream set aside."""
    return lake.tables.joinpath(key.domain, key.layer, f"{key.name}{SUFFIX}")


def beside(path: Location) -> Location:
    """The same, from the folder of the table."""
    return path.parent / f"{path.name}{SUFFIX}"


def identities(path: Location, numbers: tuple[int, int]) -> set[tuple[str, int, str]]:
    """What is there already of records with a number between these two. Raises DeltaError, StoreError."""
    first, last = (int(number) for number in numbers)
    query = f"SELECT source_file, row_number, etag FROM t WHERE row_number BETWEEN {first} AND {last}"  # noqa: S608
    try:
        return {(row["source_file"], row["row_number"], row["etag"]) for row in query_rows(path, query)}
    except Exception as error:
        if type(error) is not Exception:
            raise
        raise DeltaError(str(error)) from error  # so the engine of delta-rs says that a file is gone, or broken


def keep(path: Location, records: Sequence[SetAside]) -> int:
    """Keep the records that are not there yet, and tell of them. Returns their number.

    Raises NotKept when others came first six times, or the table cannot be read or written; StoreError.
    """
    for attempt in range(1, ATTEMPTS + 1) if records else ():
        table = None
        try:
            table = open_table(path) or _created(path)  # before it is asked: who comes in between is noticed
            new = _not_there(path, records)
            if new:
                _append(path, table, new)
        except (DeltaError, OSError) as error:
            if attempt < ATTEMPTS and (table is None or isinstance(error, CommitFailedError)):
                continue  # another was first, perhaps in making the table
            message = str(error).partition("\n")[0]
            raise NotKept(
                f"{len(records)} records that no commit may hold cannot be kept in {path}: {message}. Neither they nor "
                "what comes after them is committed. A stream with --continuous tries again by itself. Make that "
                "folder readable and writable, or move it away: what was set aside before is then there alone"
            ) from error
        if new:
            _tell(path, new)
        return len(new)
    return 0


def _created(path: Location) -> DeltaTable:
    """The table without rows. Raises DeltaError where another has just made it."""
    with answering(path):
        return DeltaTable.create(
            str(path), Schema.from_arrow(SCHEMA), configuration=PROPERTIES, storage_options=storage_options(path)
        )


def _not_there(path: Location, records: Sequence[SetAside]) -> list[SetAside]:
    numbers = [record.row_number for record in records]
    held = identities(path, (min(numbers), max(numbers)))
    return list({record.identity: record for record in records if record.identity not in held}.values())


def _append(path: Location, table: DeltaTable, new: Sequence[SetAside]) -> None:
    once = CommitProperties(app_transactions=[Transaction(WRITER, table.version() + 1)])
    with answering(path):
        write_deltalake(table, _rows(new), mode="append", commit_properties=once)


def _rows(records: Sequence[SetAside]) -> pa.Table:
    rows = [{**asdict(record), "rules": [record.rule], "version": None} for record in records]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _tell(path: Location, records: Sequence[SetAside]) -> None:
    logging.getLogger(__name__).warning(
        "%d records were set aside in %s, the first from %s (%d): %s. Everything after them goes on. See them: "
        "lakehouse quarantine list", len(records), path, records[0].source_file, records[0].row_number,
        records[0].reason,
    )  # fmt: skip
