"""Delivers new events of watched runs to callbacks, woken by changes of the event log's files."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dagster._core.event_api import EventLogCursor
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.dagster_run import DagsterRunStatus
from dagster._core.storage.event_log.base import EventLogConnection
from sqlalchemy.exc import SQLAlchemyError
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

log = logging.getLogger(__name__)

OnEvent = Callable[[EventLogEntry, str], DagsterRunStatus | None]
ReadEvents = Callable[[str, str | None], EventLogConnection]

ENDED = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)


@dataclass(eq=False)
class _Watcher:
    run_id: str
    cursor: str | None
    callback: OnEvent


class EventWatch:
    """One thread that reads what is new for each watcher whenever the database changed; many changes, one reading."""

    def __init__(self, database: Path, read: ReadEvents) -> None:
        """Start watching the folder of `database`; `read(run_id, cursor)` returns the events after a cursor."""
        self._read = read
        self._watchers: list[_Watcher] = []
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._stopping = False
        self._observer = Observer()
        self._observer.daemon = True
        self._observer.schedule(_OnChange(database, self._changed), str(database.parent), recursive=False)
        self._observer.start()
        self._thread = threading.Thread(target=self._deliver_until_stopped, name="event-watch", daemon=True)
        self._thread.start()

    def add(self, run_id: str, cursor: str | None, callback: OnEvent) -> None:
        """Watch a run from `cursor`; events stored between the caller's own last reading and now are delivered too."""
        with self._lock:
            self._watchers.append(_Watcher(run_id, cursor, callback))
        self._changed.set()

    def remove(self, run_id: str, callback: OnEvent) -> None:
        """Stop watching; unknown watchers are ignored."""
        with self._lock:
            self._watchers = [w for w in self._watchers if (w.run_id, w.callback) != (run_id, callback)]

    def stop(self) -> None:
        """End both threads; a callback may call this."""
        self._stopping = True
        self._changed.set()
        self._observer.stop()
        for thread in (self._observer, self._thread):
            if thread is not threading.current_thread():
                thread.join(timeout=15)

    def _deliver_until_stopped(self) -> None:
        while True:
            self._changed.wait()
            self._changed.clear()
            if self._stopping:
                return
            with self._lock:
                watchers = list(self._watchers)
            for watcher in watchers:
                self._deliver(watcher)

    def _deliver(self, watcher: _Watcher) -> None:
        try:
            new = self._read(watcher.run_id, watcher.cursor)
        except SQLAlchemyError:
            log.exception("The events of run %s could not be read; the next change tries again.", watcher.run_id)
            return
        watcher.cursor = new.cursor or watcher.cursor
        for record in new.records:
            with self._lock:
                if watcher not in self._watchers:
                    return
            try:
                status = watcher.callback(
                    record.event_log_entry, str(EventLogCursor.from_storage_id(record.storage_id))
                )
            except Exception:  # anybody's code: one that fails must not silence the others
                log.exception("A watcher of run %s failed on an event.", watcher.run_id)
                continue
            if status in ENDED:
                self.remove(watcher.run_id, watcher.callback)
                return


class _OnChange(FileSystemEventHandler):
    """Sets a flag when the database or its write-ahead log changes: commits go to the latter first."""

    def __init__(self, database: Path, changed: threading.Event) -> None:
        self._files = {str(database), f"{database}-wal"}
        self._changed = changed

    def on_any_event(self, event: FileSystemEvent) -> None:
        # Only writes: opening and closing are also reported, and reading causes those.
        if event.event_type in ("modified", "created") and event.src_path in self._files:
            self._changed.set()
