"""Handles of Delta logs: a step opens each version of a table once.

Inside `shared_handles` the newest version of a table is the one that was newest when it was first asked for. What must
see later commits opens the table afresh (`open_table(..., fresh=True)`); a commit forgets the handles of its table.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from deltalake import DeltaTable

from lakehouse_assets.platform.storage.commit_actions import log_file
from lakehouse_assets.platform.storage.location import Location, version_of_file


@dataclass(frozen=True)
class Handle:
    """An opened version, and what identified its log entry then: a table made anew has another one."""

    table: DeltaTable | None
    entry: object


Handles = dict[tuple[Location, int | None], Handle]

_shared: ContextVar[Handles | None] = ContextVar("shared handles", default=None)


@contextmanager
def shared_handles() -> Iterator[None]:
    """Share handles until the end of the block, in this thread."""
    token = _shared.set({})
    try:
        yield
    finally:
        _shared.reset(token)


def shared(path: Location, version: int | None, load: Callable[[], DeltaTable | None]) -> DeltaTable | None:
    """The handle of a version (None: the newest), loaded unless the step has it already. None: there is no table."""
    handles = _shared.get()
    if handles is None:
        return load()
    if (path, version) not in handles:
        table = load()
        entry = version_of_file(log_file(path, table.version())) if table is not None else None
        handles[path, version] = Handle(table, entry)
        if table is not None:
            handles[path, table.version()] = handles[path, version]
    return handles[path, version].table


def is_replaced(path: Location, version: int) -> bool:
    """Whether the table was deleted and created again since the step opened this version."""
    handle = (_shared.get() or {}).get((path, version))
    return handle is not None and version_of_file(log_file(path, version)) != handle.entry


def forget(path: Location) -> None:
    """Let go of a table's handles, after a commit to it."""
    handles = _shared.get() or {}
    for key in [key for key in handles if key[0] == path]:
        del handles[key]
