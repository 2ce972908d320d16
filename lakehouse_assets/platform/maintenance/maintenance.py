"""Maintenance of the lake's files: many small files of days become few, and what no version needs any more goes.

A table grows a file a day, and a day costs more the more files there are. Compaction rewrites small files into larger
ones (`dataChange=false`): no row changes, no day counts as changed, and a step under way is at most computed again.
Every table, of data or of journals, is maintained in one way, by commits of delta-rs. Files of older versions are kept
for the table's own retention, and so is what attempts left (`storage/unnamed_files.py`); manifests of landed files keep
theirs for ever, because lineage names them. A table with features that are not ours is left to who turned them on.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
from deltalake import DeltaTable

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.common.file_layout import Parquet
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.statistics_columns import stats_columns
from lakehouse_assets.platform.declare.table import Table
from lakehouse_assets.platform.ingest.landing import manifest_path
from lakehouse_assets.platform.ingest.manifest import STATISTICS as OF_MANIFESTS
from lakehouse_assets.platform.planning.plan import Lake, landed_name
from lakehouse_assets.platform.results.audit_log import STATISTICS as OF_JOURNALS
from lakehouse_assets.platform.results.audit_log import alerts_path, audit_path, check_results_path
from lakehouse_assets.platform.storage.commit import ConcurrentCommit
from lakehouse_assets.platform.storage.compaction import compact, merges_of
from lakehouse_assets.platform.storage.data_files import ActiveFile, active_files
from lakehouse_assets.platform.storage.delta_table import open_table
from lakehouse_assets.platform.storage.location import Location, answering
from lakehouse_assets.platform.storage.log_cleaning import keep_statistics
from lakehouse_assets.platform.storage.schema_evolution import schema_of
from lakehouse_assets.platform.storage.table_features import Reader, UnknownFeature, require, require_writable
from lakehouse_assets.platform.storage.target import Target
from lakehouse_assets.platform.storage.unnamed_files import dead_files, remove_files
from lakehouse_assets.platform.streams.set_aside import SUFFIX, set_aside_path

FEWEST = 8
"""So many small files are worth a rewrite."""
TRIES = 3


@dataclass(frozen=True)
class StoredTable:
    """A Delta table of the lake, declared or our own. `keeps_all`: every version of it stays readable for ever.

    `parquet`: the layout that its files have. `statistics`: the columns whose bounds its log keeps; None: as it is.
    """

    name: str
    path: Location
    keeps_all: bool = False
    parquet: Parquet | None = None
    statistics: tuple[str, ...] | None = None

    def target(self, table: DeltaTable) -> Target:
        """The table as one to write."""
        found = table.metadata()
        return Target(
            self.path,
            self.name,
            schema_of(table),
            partition_by=tuple(found.partition_columns),
            parquet=self.parquet,
            statistics=self.statistics,
            id=str(found.id),
        )


@dataclass(frozen=True)
class Survey:
    """A table's files as they are: how many, how many small ones could be merged, how many would be removed.

    `message`: why the table is not maintained.
    """

    place: StoredTable
    files: int
    small: int
    dead: int
    message: str = ""

    @property
    def due(self) -> bool:
        """Whether compaction is worth it."""
        return self.small >= FEWEST


@dataclass(frozen=True)
class Maintained:
    """What was done: files before and after, files removed, and why not where another writer was faster."""

    before: Survey
    files: int
    removed: int
    message: str = ""


def stored_tables(lake: Lake, catalog: Catalog, only: str | None = None) -> list[StoredTable]:
    """Every Delta table there is, or those called `only` or below it (`gmv`, `gmv/silver/purchase`).

    Raises LakehouseError when there is none.
    """
    found = [place for place in _stored_tables(lake, catalog) if _is_there(place)]
    if only is None:
        return found
    wanted = only.replace(".", "/").rstrip("/")
    chosen = [place for place in found if place.name == wanted or place.name.startswith((f"{wanted}/", f"{wanted}__"))]
    if not chosen:
        known = ", ".join(place.name for place in found) or "nothing yet"
        raise LakehouseError(f"There is no table {only} in this lake. There is: {known}")
    return chosen


def _is_there(place: StoredTable) -> bool:
    try:
        return open_table(place.path) is not None
    except UnknownFeature:
        return True


def _stored_tables(lake: Lake, catalog: Catalog) -> Iterator[StoredTable]:
    for table in catalog.tables:
        yield from data_tables(lake, table)
        if table.stream is not None:
            path = set_aside_path(lake, table.key)
            yield StoredTable(f"{table.key}{SUFFIX}", path, statistics=(DAY_COLUMN,))
        if table.landing is not None:
            path = manifest_path(lake.landing, landed_name(table.landing))
            yield StoredTable(str(table.landing), path, keeps_all=True, statistics=OF_MANIFESTS)
    for domain in sorted({table.key.domain for table in catalog.tables}):
        yield StoredTable(f"{domain}/audit", audit_path(lake.tables, domain), statistics=OF_JOURNALS)
    yield StoredTable("ops/check_results", check_results_path(lake.tables), statistics=OF_JOURNALS)
    yield StoredTable("ops/alerts", alerts_path(lake.tables), statistics=OF_JOURNALS)


def data_tables(lake: Lake, table: Table) -> Iterator[StoredTable]:
    """A declared table and the Delta tables beside it, whether they are there or not."""
    kept = stats_columns(table)
    for name, path, statistics in (
        (str(table.key), lake.path(table.key), kept),
        (f"{table.key}__quarantine", lake.quarantine(table.key), (DAY_COLUMN,)),
        (f"{table.key}__changes", lake.changes(table.key), kept),
    ):
        yield StoredTable(name, path, parquet=table.parquet, statistics=statistics)


def survey(place: StoredTable) -> Survey:
    """Look at a table's files; changes nothing. Raises StoreError, LakehouseError when there is no table."""
    files: list[ActiveFile] = []
    try:
        table = _open(place)
        files = active_files(table)
        require(Reader.FILES, table, place.path, place.name)
        require_writable(table, place.path, place.name)
    except UnknownFeature as error:
        return Survey(place, len(files), 0, 0, f"not maintained: {error}")
    small = sum(len(merge) for merge in merges_of(files))
    return Survey(place, len(files), small, 0 if place.keeps_all else len(dead_files(place.path, table)))


def _open(place: StoredTable) -> DeltaTable:
    table = open_table(place.path, fresh=True)
    if table is None:
        raise LakehouseError(f"{place.name} is gone from {place.path}")
    return table


def maintain(state: Survey) -> Maintained:
    """Compact one table and remove its dead files, if it needs it; its log keeps no bounds of personal columns.

    A writer that commits meanwhile goes first: compaction is then tried again. Raises LakehouseError when it fails.
    """
    place, message, removed = state.place, "", 0
    if state.message:
        return Maintained(state, state.files, 0, state.message)
    if state.due:
        message = _compact(place)
    if state.dead:
        removed = remove_files(place.path, dead_files(place.path, _open(place)))
    if place.statistics is not None:
        keep_statistics(place.path, place.statistics)
    return Maintained(state, len(active_files(_open(place))), removed, message)


def _compact(place: StoredTable) -> str:
    """Compact a table; why not, where other writers were faster each time."""
    failure = ""
    for _ in range(TRIES):
        table = _open(place)
        try:
            compact(place.target(table), table)
        except ConcurrentCommit as error:
            failure = f"not compacted: {error}"
        except (ValueError, OSError, pa.ArrowException) as error:
            raise LakehouseError(f"{place.name} could not be compacted: {error}") from error
        else:
            with answering(place.path):
                _open(place).create_checkpoint()
            return ""
    return failure
