"""Handles of Delta logs: a step opens each version of a table once.

Inside `shared_handles` the newest version of a table is the one that was newest when it was first asked for. What must
see later commits opens the table afresh (`open_table(..., fresh=True)`); a commit forgets the handles of its table.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from deltalake import DeltaTable

from lakehouse_assets.platform.store import Location

Handles = dict[tuple[Location, int | None], DeltaTable | None]

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
        table = handles[path, version] = load()
        if table is not None:
            handles[path, table.version()] = table
    return handles[path, version]


def forget(path: Location) -> None:
    """Let go of a table's handles, after a commit to it."""
    handles = _shared.get() or {}
    for key in [key for key in handles if key[0] == path]:
        del handles[key]
