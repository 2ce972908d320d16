"""Delta tables read without a JVM: versions, commits, queries."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import DeltaError, TableNotFoundError

from lakehouse_assets.platform.storage.commit_actions import actions_of, info_of, touched_days
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, Kind
from lakehouse_assets.platform.storage.location import Location, answering, arrow_table, storage_options
from lakehouse_assets.platform.storage.log_handles import shared
from lakehouse_assets.platform.storage.table_features import Reader, refusal_to_open, require


@dataclass(frozen=True)
class Commit:
    """One version of a table."""

    version: int
    operation: str
    metadata: CommitMetadata | None
    timestamp: int = 0  # milliseconds since 1970


def open_table(path: Location, version: int | None = None, *, fresh: bool = False) -> DeltaTable | None:
    """The table as of a version (default: the latest), or None if there is none.

    `fresh`: not by a handle that the step shares (`log_handles.py`). Raises StoreError, UnknownFeature.
    """
    return _load(path, version) if fresh else shared(path, version, lambda: _load(path, version))


def _load(path: Location, version: int | None) -> DeltaTable | None:
    try:
        with answering(path):
            return DeltaTable(str(path), version=version, storage_options=storage_options(path))
    except TableNotFoundError:
        return None
    except DeltaError as error:
        refusal = refusal_to_open(error, path)
        if refusal is None:
            raise
        raise refusal from error


def version_of(path: Location, *, fresh: bool = False) -> int | None:
    """The latest version, or None if there is no table. `fresh`: as in `open_table`."""
    found = open_table(path, fresh=fresh)
    return found.version() if found else None


def commits(path: Location, *, after: int = -1, until: int | None = None) -> Iterator[Commit]:
    """Commits from the newest, or `until`, down to `after` (exclusive), as far back as the log goes.

    The log is read itself: of a table opened at an older version, delta-rs 1.6.6 tells the newest commits as the
    history of that version.
    """
    newest = version_of(path, fresh=True) if until is None else until
    for version in range(-1 if newest is None else newest, after, -1):
        commit = commit_at(path, version)
        if commit is None:
            return
        yield commit


def commit_at(path: Location, version: int) -> Commit | None:
    """One commit; None when the log no longer has it. Which days a stream brought is seen in what it brought."""
    info = info_of(path, version)
    if info is None:
        return None
    metadata = CommitMetadata.load(info.get("userMetadata"))
    if metadata and metadata.kind is Kind.STREAM:
        metadata = replace(metadata, days=stream_days(path, version))
    return Commit(version, info.get("operation", "unknown"), metadata, info.get("timestamp", 0))


def last_commit(path: Location, version: int | None = None) -> Commit | None:
    """The newest commit of a step at or before `version`: neither maintenance nor a notebook's, adopted or not."""
    of_steps = (
        commit for commit in commits(path, until=version) if commit.metadata and commit.metadata.kind is Kind.STEP
    )
    return next(of_steps, None)


def stream_days(path: Location, version: int) -> frozenset[date]:
    """Feed days of an append of a stream: known only when it is written, so its note does not have them."""
    return touched_days(path, actions_of(path, version))[0]


def last_position(path: Location, version: int | None = None) -> Mapping[str, Any] | None:
    """How far a table's stream has read its source, as of a version; None: no commit says.

    Of a table that somebody brought back to an older version, the position of that version: rows and position stay
    together.
    """
    for commit in commits(path, until=version):
        if commit.metadata and commit.metadata.position is not None:
            return commit.metadata.position
        if commit.operation == "RESTORE":
            restored = (info_of(path, commit.version) or {}).get("operationParameters", {}).get("version")
            return None if restored in (None, "") else last_position(path, int(restored))
    return None


def last_metadata(path: Location, version: int | None = None) -> CommitMetadata | None:
    """The note of the newest step at or before `version`."""
    last = last_commit(path, version)
    return last.metadata if last else None


def query_rows(path: Location, query: str, version: int | None = None) -> list[dict[str, Any]]:
    """Rows of SQL over a table, which it calls `t`; none where there is no table. Raises StoreError, UnknownFeature."""
    table = open_table(path, version)
    return query_table(table, path, query) if table is not None else []


def query_table(table: DeltaTable, path: Location, query: str) -> list[dict[str, Any]]:
    """Rows of SQL over an opened version, which it calls `t`, by delta-rs's own engine.

    Its pyarrow dataset aborts the interpreter at exit (deltalake 1.6.6, pyarrow 26). Raises StoreError, UnknownFeature.
    """
    require(Reader.DELTA_RS, table, path, str(path))
    with answering(path):
        return arrow_table(QueryBuilder().register("t", table).execute(query).read_all()).to_pylist()
