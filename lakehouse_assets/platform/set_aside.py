"""Records that a stream cannot commit: kept beside the table with the reason, so that everything after them goes on.

They lie in `<domain>/<layer>/<table>__stream__quarantine`, which `lakehouse quarantine` shows and delta-rs writes. A
record is there once, however often a stream that was killed comes back to it.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict

import pyarrow as pa
from deltalake import CommitProperties, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from lakehouse_assets.platform.delta import ask, open_table
from lakehouse_assets.platform.plan import Lake
from lakehouse_assets.platform.stats_columns import stats_properties
from lakehouse_assets.platform.store import Location, answering, storage_options
from lakehouse_assets.platform.stream_source import SetAside
from lakehouse_assets.platform.table import TableKey

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


def set_aside_path(lake: Lake, key: TableKey) -> Location:
    """Folder of what a table's stream set aside."""
    return lake.tables.joinpath(key.domain, key.layer, f"{key.name}{SUFFIX}")


def beside(path: Location) -> Location:
    """The same, from the folder of the table."""
    return path.parent / f"{path.name}{SUFFIX}"


def identities(path: Location, numbers: tuple[int, int]) -> set[tuple[str, int, str]]:
    """What is there already of records with a number between these two."""
    first, last = (int(number) for number in numbers)
    query = f"SELECT source_file, row_number, etag FROM t WHERE row_number BETWEEN {first} AND {last}"  # noqa: S608
    return {(row["source_file"], row["row_number"], row["etag"]) for row in ask(path, query)}


def keep(path: Location, records: Sequence[SetAside]) -> int:
    """Keep the records that are not there yet, and tell of them. Returns their number.

    Raises CommitFailedError when others came first six times, StoreError.
    """
    if not records:
        return 0
    numbers = [record.row_number for record in records]
    for attempt in range(1, ATTEMPTS + 1):
        table = open_table(path)  # before what it holds is asked: who comes in between is noticed
        held = identities(path, (min(numbers), max(numbers))) if table else set()
        new = list({record.identity: record for record in records if record.identity not in held}.values())
        if not new:
            return 0
        try:
            with answering(path):
                write_deltalake(
                    table or str(path),
                    _rows(new),
                    mode="append",
                    configuration=None if table else PROPERTIES,
                    storage_options=None if table else storage_options(path),
                    commit_properties=CommitProperties(
                        app_transactions=[Transaction(WRITER, table.version() + 1 if table else 0)]
                    ),
                )
        except CommitFailedError:
            if attempt == ATTEMPTS:
                raise
            continue
        _tell(path, new)
        return len(new)
    raise AssertionError("the last attempt returns or raises")


def _rows(records: Sequence[SetAside]) -> pa.Table:
    rows = [{**asdict(record), "rules": [record.rule], "version": None} for record in records]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _tell(path: Location, records: Sequence[SetAside]) -> None:
    logging.getLogger(__name__).warning(
        "%d records were set aside in %s, the first from %s (%d): %s. Everything after them goes on. See them: "
        "lakehouse quarantine list", len(records), path, records[0].source_file, records[0].row_number,
        records[0].reason,
    )  # fmt: skip
