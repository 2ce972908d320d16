"""A Dagster event log in one SQLite database that does not open the database anew for every event.

The storages Dagster ships build an engine and open a connection several times per event (8-10 ms each). Here a process
keeps one pool of connections, an event or a batch of events is one transaction, and the schema is read once.

The top level dagster.yaml names it as `event_log_storage`.
"""

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import dagster as dg
import sqlalchemy as db
from alembic.config import Config
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage, SqlEventLogStorageMetadata
from dagster._core.storage.event_log.sqlite import consolidated_sqlite_event_log
from dagster._core.storage.sql import get_alembic_config, run_alembic_upgrade, stamp_alembic_rev
from dagster._utils.concurrency import ConcurrencyClaimStatus
from filelock import FileLock
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import OperationalError

from lakehouse_assets.ops.event_batch import BatchedWrites
from lakehouse_assets.ops.event_watch import EventWatch, OnEvent
from lakehouse_assets.settings import settings

BUSY_SECONDS = 60  # how long a writer waits for another process's transaction

# Storages of this process, so that a forked child can let go of the connections it inherited.
_open_storages: "weakref.WeakSet[PooledEventLog]" = weakref.WeakSet()


class PooledEventLog(BatchedWrites, ConsolidatedSqliteEventLogStorage):
    """The events of all runs in `<base_dir>/event_log.db`; safe for threads, processes and forks.

    Raises sqlalchemy's OperationalError ("database is locked") when another process holds the database for a minute.
    """

    _tables: frozenset[str]
    _asset_key_columns: frozenset[str]

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        self._forget_connections()
        self._watch: EventWatch | None = None
        self._watch_lock = threading.Lock()
        super().__init__(base_dir, inst_data)
        if not self._is_initialized():
            self._init_db()
        _open_storages.add(self)

    @classmethod
    def config_type(cls) -> dict[str, dg.Field]:
        """`base_dir` is where the database lies; default: DAGSTER_HOME, or the lakehouse's own folder for Dagster."""
        return {"base_dir": dg.Field(dg.StringSource, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> Self:
        """Build from dagster.yaml."""
        given = config_value.get("base_dir") or os.environ.get("DAGSTER_HOME")
        return cls(str(given or settings().home.absolute() / "dagster"), inst_data)

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return Path(self._base_dir).absolute() / f"{consolidated_sqlite_event_log.SQLITE_EVENT_LOG_FILENAME}.db"

    # -- schema -----------------------------------------------------------------------------------------------------

    def _is_initialized(self) -> bool:
        """Whether the schema is there and stamped; stamping is the last step of creating it."""
        try:
            with self._connect() as connection:
                return connection.execute(db.text("SELECT 1 FROM alembic_version")).first() is not None
        except OperationalError as error:
            if "no such table" in str(error):
                return False
            raise

    def _init_db(self) -> None:
        """Create the schema, once also when several processes start together on an empty folder."""
        Path(self._base_dir).mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.database}.lock"):
            if self._is_initialized():
                return
            with self._pool().connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")  # a property of the file: outlives connections
            SqlEventLogStorageMetadata.create_all(self._pool())
            self.reindex_events()  # nothing to index yet: marks the secondary indexes as built
            self.reindex_assets()
            with self._connect() as connection:
                stamp_alembic_rev(_alembic_config(), connection)

    def upgrade(self) -> None:
        """Migrate the schema to the installed Dagster's."""
        with self._connect() as connection:
            run_alembic_upgrade(_alembic_config(), connection)
        self._forget_schema()

    def has_table(self, table_name: str) -> bool:
        # Only hits are remembered: another process may add tables (an upgrade), nobody removes any.
        if table_name not in self._tables:
            self._tables = frozenset(db.inspect(self._pool()).get_table_names())
        return table_name in self._tables

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        # Asked for every asset event.
        if column_name not in self._asset_key_columns:
            self._asset_key_columns = frozenset(c["name"] for c in db.inspect(conn).get_columns("asset_keys"))
        return column_name in self._asset_key_columns

    # -- connections ------------------------------------------------------------------------------------------------

    def _forget_connections(self) -> None:
        """Start with no engine, no transaction and nothing known of the schema."""
        self._engine: Engine | None = None
        self._engine_lock = threading.Lock()
        self._transaction = threading.local()
        self._forget_schema()

    def _forget_schema(self) -> None:
        self._tables = frozenset()
        self._asset_key_columns = frozenset()

    def _after_fork(self) -> None:
        """In a forked child: SQLite forbids using, and even closing, connections that the parent opened."""
        self._inherited = (getattr(self, "_inherited", None), self._engine)
        self._forget_connections()
        self._watch = None  # its threads stayed in the parent
        self._watch_lock = threading.Lock()

    def _pool(self) -> Engine:
        with self._engine_lock:
            if self._engine is None:
                engine = db.create_engine(
                    self._conn_string,
                    connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
                    pool_size=5,
                    max_overflow=-1,  # the webserver's threads never wait for a connection; the surplus is closed
                )
                db.event.listen(engine, "connect", _configure)
                self._engine = engine
            return self._engine

    @contextmanager
    def _connect(self, exclusive: bool = False) -> Iterator[Connection]:
        """A connection in a transaction; inside another `_connect` of this thread, that one's.

        `exclusive` takes the write lock at once, so that what is read stays true until it is written.
        """
        current: Connection | None = getattr(self._transaction, "connection", None)
        if current is not None:
            yield current
            return
        with self._pool().connect() as connection, connection.begin():
            if exclusive:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            self._transaction.connection = connection
            try:
                yield connection
            finally:
                self._transaction.connection = None

    def run_connection(self, run_id: str | None = None) -> Any:
        return self._connect()

    def index_connection(self) -> Any:
        return self._connect()

    def dispose(self) -> None:
        """Stop watching and close the pool. The storage may be used again; it then opens a new pool."""
        with self._watch_lock:
            watch, self._watch = self._watch, None
        if watch is not None:
            watch.stop()
        with self._engine_lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    # -- writing ----------------------------------------------------------------------------------------------------

    def store_event(self, event: EventLogEntry) -> None:
        self.store_event_batch([event])

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """All of the events or none of them."""
        with self._connect() as connection:
            self.store_all(connection, events)

    def claim_concurrency_slot(
        self, concurrency_key: str, run_id: str, step_key: str, priority: int | None = None
    ) -> ConcurrencyClaimStatus:
        # SQLite ignores SELECT ... FOR UPDATE, so without the lock two runs can be given the same slot of a pool.
        with self._connect(exclusive=True):
            return super().claim_concurrency_slot(concurrency_key, run_id, step_key, priority)

    # -- watching (the UI's live run page) --------------------------------------------------------------------------

    def watch(self, run_id: str, cursor: str | None, callback: OnEvent) -> None:
        """Call `callback(event, cursor)` from a thread for each event of the run after `cursor`, until it ends."""
        with self._watch_lock:
            if self._watch is None:
                self._watch = EventWatch(self.database, self.get_records_for_run)
            self._watch.add(run_id, cursor, callback)

    def end_watch(self, run_id: str, handler: OnEvent) -> None:
        with self._watch_lock:
            if self._watch is not None:
                self._watch.remove(run_id, handler)


def _alembic_config() -> Config:
    return get_alembic_config(consolidated_sqlite_event_log.__file__)


def _configure(connection: sqlite3.Connection, _record: Any) -> None:
    # In WAL mode NORMAL cannot corrupt; only a power cut may drop the last transactions.
    connection.execute("PRAGMA synchronous=NORMAL")


def _release_inherited_connections() -> None:
    for storage in list(_open_storages):
        storage._after_fork()


os.register_at_fork(after_in_child=_release_inherited_connections)
