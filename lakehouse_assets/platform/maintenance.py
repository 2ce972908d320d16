"""Maintenance of the lake's files: many small files of days become few, and what no version needs any more goes.

A table grows a file a day, and a day costs more the more files there are. Compaction rewrites small files into larger
ones (`dataChange=false`): no row changes, no day counts as changed, and a step under way is at most computed again.
Each table keeps its one writing engine: Spark for data, delta-rs for journals and for the manifests of landed files.
Vacuum keeps every file for the table's own retention; manifests keep theirs for ever, because lineage names them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import DeltaTable, PostCommitHookProperties
from deltalake.exceptions import CommitFailedError
from pyspark.errors import PySparkException

from lakehouse_assets.platform.catalog import Catalog
from lakehouse_assets.platform.delta import open_table
from lakehouse_assets.platform.errors import LakehouseError
from lakehouse_assets.platform.journal import STATISTICS as OF_JOURNALS
from lakehouse_assets.platform.journal import alerts_path, audit_path, check_results_path
from lakehouse_assets.platform.landing import manifest_path
from lakehouse_assets.platform.landing_manifest import STATISTICS as OF_MANIFESTS
from lakehouse_assets.platform.log_cleaning import keep_statistics
from lakehouse_assets.platform.parquet import Parquet, laid_out
from lakehouse_assets.platform.plan import Lake, landed_name
from lakehouse_assets.platform.set_aside import SUFFIX, set_aside_path
from lakehouse_assets.platform.stats_columns import stats_columns
from lakehouse_assets.platform.store import Location, answering, storage_options
from lakehouse_assets.platform.table import DAY_COLUMN, Table
from lakehouse_assets.platform.writer import first_line

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SMALL_BYTES = 16 * 2**20
"""A file below this size is merged with others. Larger ones stay as they are, so that a day is rewritten seldom."""
FILE_BYTES = 64 * 2**20
"""Size up to which small files are merged: what replacing an old day rewrites at most."""
FEWEST = 8
"""So many small files are worth a rewrite."""
TRIES = 3


class Engine(Enum):
    """Who writes a table."""

    SPARK = "spark"
    DELTA_RS = "delta-rs"


@dataclass(frozen=True)
class Place:
    """A Delta table of the lake, declared or our own. `keeps_all`: every version of it stays readable for ever.

    `parquet`: the layout that its files have. `statistics`: the columns whose bounds its log keeps;
    None: as it is.
    """

    name: str
    path: Location
    engine: Engine
    keeps_all: bool = False
    parquet: Parquet | None = None
    statistics: tuple[str, ...] | None = None


@dataclass(frozen=True)
class State:
    """A table's files as they are: how many, how many of them small, and what vacuum would remove."""

    place: Place
    files: int
    small: int
    dead: int

    @property
    def due(self) -> bool:
        """Whether compaction is worth it."""
        return self.small >= FEWEST


@dataclass(frozen=True)
class Maintained:
    """What was done: files before and after, files removed, and why not where another writer was faster."""

    before: State
    files: int
    removed: int
    said: str = ""


def places(lake: Lake, catalog: Catalog, only: str | None = None) -> list[Place]:
    """Every Delta table there is, or those called `only` or below it (`gmv`, `gmv/silver/purchase`).

    Raises LakehouseError when there is none.
    """
    found = [place for place in _places(lake, catalog) if open_table(place.path) is not None]
    if only is None:
        return found
    wanted = only.replace(".", "/").rstrip("/")
    chosen = [place for place in found if place.name == wanted or place.name.startswith((f"{wanted}/", f"{wanted}__"))]
    if not chosen:
        known = ", ".join(place.name for place in found) or "nothing yet"
        raise LakehouseError(f"There is no table {only} in this lake. There is: {known}")
    return chosen


def _places(lake: Lake, catalog: Catalog) -> Iterator[Place]:
    for table in catalog.tables:
        yield from data_places(lake, table)
        if table.stream is not None:
            path = set_aside_path(lake, table.key)
            yield Place(f"{table.key}{SUFFIX}", path, Engine.DELTA_RS, statistics=(DAY_COLUMN,))
        if table.landing is not None:
            path = manifest_path(lake.landing, landed_name(table.landing))
            yield Place(str(table.landing), path, Engine.DELTA_RS, keeps_all=True, statistics=OF_MANIFESTS)
    for domain in sorted({table.key.domain for table in catalog.tables}):
        yield Place(f"{domain}/audit", audit_path(lake.tables, domain), Engine.DELTA_RS, statistics=OF_JOURNALS)
    yield Place("ops/check_results", check_results_path(lake.tables), Engine.DELTA_RS, statistics=OF_JOURNALS)
    yield Place("ops/alerts", alerts_path(lake.tables), Engine.DELTA_RS, statistics=OF_JOURNALS)


def data_places(lake: Lake, table: Table) -> Iterator[Place]:
    """A declared table and the Delta tables beside it, whether they are there or not."""
    kept = stats_columns(table)
    for name, path, statistics in (
        (str(table.key), lake.path(table.key), kept),
        (f"{table.key}__quarantine", lake.quarantine(table.key), (DAY_COLUMN,)),
        (f"{table.key}__changes", lake.changes(table.key), kept),
    ):
        yield Place(name, path, Engine.SPARK, parquet=table.parquet, statistics=statistics)


def survey(place: Place) -> State:
    """Look at a table's files; changes nothing. Raises StoreError."""
    with answering(place.path):
        table = _table(place)
        sizes = pa.table(table.get_add_actions()).column("size_bytes").to_pylist()
        dead = 0 if place.keeps_all else len(table.vacuum(dry_run=True, full=True))
    return State(place, len(sizes), sum(size < SMALL_BYTES for size in sizes), dead)


def _table(place: Place) -> DeltaTable:
    return DeltaTable(str(place.path), storage_options=storage_options(place.path))


def maintain(state: State, session: "Callable[[], SparkSession]") -> Maintained:
    """Compact and vacuum one table, if it needs it; its log keeps no bounds of personal columns.

    `session` is asked for only where Spark has something to do. A writer that commits meanwhile goes first: compaction
    is then tried again. Raises LakehouseError when it fails.
    """
    place = state.place
    said = ""
    if state.due:
        said = _optimize_with_spark(session(), place) if place.engine is Engine.SPARK else _compact(place)
    if state.dead:
        if place.engine is Engine.SPARK:
            session().sql(f"VACUUM delta.`{place.path}`").collect()
        else:
            with answering(place.path):
                _table(place).vacuum(dry_run=False, full=True)
    if place.statistics is not None:
        keep_statistics(place.path, place.statistics, session if place.engine is Engine.SPARK else None)
    after = survey(place)
    return Maintained(state, after.files, state.dead - after.dead, said)


def spark_once(open_session: "Callable[[], SparkSession]") -> "Callable[[], SparkSession]":
    """A session opened on first use and set up for compaction."""

    @cache
    def session() -> "SparkSession":
        spark = open_session()
        spark.conf.set("spark.databricks.delta.optimize.minFileSize", SMALL_BYTES)
        spark.conf.set("spark.databricks.delta.optimize.maxFileSize", FILE_BYTES)
        return spark

    return session


def _optimize_with_spark(spark: "SparkSession", place: Place) -> str:
    failure: PySparkException | None = None
    for _ in range(TRIES):
        try:
            with laid_out(spark, place.parquet):
                spark.sql(f"OPTIMIZE delta.`{place.path}`").collect()
        except PySparkException as error:
            if "DELTA_CONCURRENT" not in str(error):
                raise LakehouseError(f"{place.name} could not be compacted: {first_line(error)}") from error
            failure = error
        else:
            return ""
    return f"not compacted: {first_line(failure)}" if failure else ""


def _compact(place: Place) -> str:
    hooks = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False if place.keeps_all else None)
    with answering(place.path):
        table = _table(place)
        try:
            table.optimize.compact(target_size=FILE_BYTES, post_commithook_properties=hooks)
        except CommitFailedError as error:
            return f"not compacted: {error}"
        table.create_checkpoint()
    return ""
