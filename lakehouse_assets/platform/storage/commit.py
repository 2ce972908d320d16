"""Commits by delta-rs: files are added and removed as a compare-and-swap on the version that a step was planned at.

Where another commit came first, the same files are committed on top of it only if nothing that this step read, removes
or writes has changed: every file to be removed is still active, no file that came may hold what is written or was
read, no other step wrote the same days, and the table is the one that was planned (id, columns, protocol, properties).
Else the step has lost the race and plans again. Whether a commit happened is read from the log, never from the answer:
each carries the identifier of its attempt.

A commit without a note moves rows to other files (compaction; `dataChange=false`). To who commits after it, the files
that it added hold nothing new; who replaces a file that it removed plans again.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from deltalake import DeltaTable, Schema
from deltalake.exceptions import DeltaError
from deltalake.transaction import (
    AddAction,
    CommitProperties,
    PostCommitHookProperties,
    RemoveAction,
    create_table_with_add_actions,
)

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.common.fault_injection import Failpoint, inject_fault
from lakehouse_assets.platform.storage.commit_actions import Action, actions_of, moves_rows
from lakehouse_assets.platform.storage.commit_metadata import MARK, CommitMetadata, Kind
from lakehouse_assets.platform.storage.conditional_put import prove_conditional_puts
from lakehouse_assets.platform.storage.data_files import ActiveFile, NewFile, active_files
from lakehouse_assets.platform.storage.delta_table import commits, open_table, version_of
from lakehouse_assets.platform.storage.location import answering, storage_options
from lakehouse_assets.platform.storage.log_handles import forget, is_replaced
from lakehouse_assets.platform.storage.schema_evolution import differences, refuse, schema_of
from lakehouse_assets.platform.storage.table_features import require_writable
from lakehouse_assets.platform.storage.target import Target

TRIES = 20
RETENTION = {
    "delta.logRetentionDuration": "interval 3650 days",
    "delta.deletedFileRetentionDuration": "interval 30 days",
    "delta.checkpointInterval": "50",
}
CHECKPOINTS = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)
"""After a commit: a checkpoint each `delta.checkpointInterval`, and no entry of the log goes."""


class ConcurrentCommit(LakehouseError):
    """Another writer committed first: what was computed from the older version must be computed again."""


class WriteError(LakehouseError):
    """A table could not be written; nothing of it was committed."""


@dataclass(frozen=True)
class Swap:
    """What a commit does to the files of a table.

    `meets` says of a file that another commit added whether it may hold something that this one writes or has read.
    `alone`: what this one says follows from all that was committed before, with files or without (a ledger, a state,
    what differs between snapshots): it does not stand on top of another run's commit.
    """

    adds: Sequence[NewFile]
    removes: Sequence[ActiveFile]
    meets: Callable[[ActiveFile], bool]
    alone: bool = False


def commit(target: Target, metadata: CommitMetadata, base: int | None, swap: Swap) -> int:
    """Commit the swap as planned at version `base` (None: the table is created). Returns the version.

    Raises ConcurrentCommit, WriteError, StoreError, UnknownFeature; LakehouseError for a bucket in which commits could
    be lost.
    """
    prove_conditional_puts(target.path)
    inject_fault(Failpoint.BEFORE_SWAP, target.name)
    try:
        version = _create(target, metadata, swap) if base is None else _replace(target, metadata, base, swap)
    finally:
        forget(target.path)
    inject_fault(Failpoint.AFTER_SWAP, target.name)
    return version


def move_rows(target: Target, base: int, adds: Sequence[NewFile], removes: Sequence[ActiveFile]) -> int:
    """Commit files that hold exactly the rows of those that they replace. Returns the version.

    Raises ConcurrentCommit where one of these was replaced since `base`; else as `commit`.
    """
    prove_conditional_puts(target.path)
    inject_fault(Failpoint.BEFORE_SWAP, target.name)
    try:
        version = _replace(target, None, base, Swap(adds, removes, lambda file: False))
    finally:
        forget(target.path)
    inject_fault(Failpoint.AFTER_SWAP, target.name)
    return version


def find_attempt(target: Target, metadata: CommitMetadata, after: int) -> int | None:
    """The version that the note's attempt became, if it did."""
    if version_of(target.path, fresh=True) is None:
        return None
    found = (
        c.version for c in commits(target.path, after=after) if c.metadata and c.metadata.attempt == metadata.attempt
    )
    return next(found, None)


def _create(target: Target, metadata: CommitMetadata, swap: Swap) -> int:
    try:
        with answering(target.path):
            create_table_with_add_actions(
                str(target.path),
                Schema.from_json(target.stored_schema()),
                [_add(file) for file in swap.adds],
                mode="error",
                partition_by=list(target.partition_by) or None,
                configuration=RETENTION | target.properties(),
                storage_options=storage_options(target.path),
                commit_properties=_properties(metadata),
            )
    except DeltaError as error:
        return _outcome(target, metadata, None, error)
    return 0


def _replace(target: Target, metadata: CommitMetadata | None, base: int, swap: Swap) -> int:
    planned = _open(target, base)
    is_other = target.id is not None and planned is not None and str(planned.metadata().id) != target.id
    if planned is None or is_other or is_replaced(target.path, base):
        raise ConcurrentCommit(f"{target.name}: the table of version {base} was deleted or created again")
    require_writable(planned, target.path, target.name)
    parent, is_change = planned, metadata is not None
    actions: list[AddAction | RemoveAction] = [
        *(_add(one, is_change) for one in swap.adds),
        *(_remove(one, is_change) for one in swap.removes),
    ]
    for _ in range(TRIES):
        try:
            with answering(target.path):
                parent.create_write_transaction(
                    actions,
                    "append",
                    parent.schema(),
                    partition_by=list(target.partition_by) or None,
                    commit_properties=_properties(metadata),
                    post_commithook_properties=CHECKPOINTS,
                )
        except DeltaError as error:
            failure = error
        else:
            return parent.version() + 1
        committed = _find_move(target, base, swap) if metadata is None else find_attempt(target, metadata, base)
        if committed is not None:
            return committed
        newest = _open(target, None)
        if newest is None or newest.version() == parent.version():
            return _outcome(target, metadata, base, failure)
        _refuse_conflict(target, metadata, planned, newest, swap)
        parent = newest
    raise ConcurrentCommit(f"{target.name}: other runs committed first, {TRIES} times after version {base}")


def _find_move(target: Target, after: int, swap: Swap) -> int | None:
    """The version that moved rows to these files, if one did: a commit without a note is known by its files."""
    ours = {file.path for file in swap.adds}
    for version in range(after + 1, (version_of(target.path, fresh=True) or 0) + 1):
        if ours & _added(actions_of(target.path, version)):
            return version
    return None


def _added(actions: Sequence[Action]) -> set[str]:
    """The files that a commit added, as the file system calls them."""
    return {unquote(action["add"]["path"]) for action in actions if "add" in action}


def _open(target: Target, version: int | None) -> DeltaTable | None:
    try:
        return open_table(target.path, version, fresh=version is None)
    except DeltaError:  # the log does not have that version: another table stands there now
        return None


def _refuse_conflict(
    target: Target, metadata: CommitMetadata | None, planned: DeltaTable, newest: DeltaTable, swap: Swap
) -> None:
    """Raises ConcurrentCommit where the commits since the planned version touch what this one writes or has read."""
    what = f"{target.name}: another run committed after version {planned.version()}"
    if newest.metadata().id != planned.metadata().id or newest.version() < planned.version():
        raise ConcurrentCommit(f"{what}, and the table was deleted and created again")
    if (newest.schema(), newest.metadata().configuration, _features(newest)) != (
        planned.schema(),
        planned.metadata().configuration,
        _features(planned),
    ):
        raise ConcurrentCommit(f"{what}, and it changed the table's columns, properties or features")
    paths = {file.path for file in active_files(newest)}
    if any(file.path not in paths for file in swap.removes):
        raise ConcurrentCommit(f"{what}, and it replaced files that this run replaces")
    if any(swap.meets(file) for file in _came(target, planned, newest)):
        raise ConcurrentCommit(f"{what}, and it wrote rows that this run has read or replaces")
    for other in commits(target.path, after=planned.version(), until=newest.version()):
        if other.metadata is not None and (swap.alone or _same_work(metadata, other.metadata)):
            raise ConcurrentCommit(f"{what}, and it wrote the same days, or what this one follows from")


def _came(target: Target, planned: DeltaTable, newest: DeltaTable) -> Iterator[ActiveFile]:
    """The files with rows that came after the planned version; also those whose rows were moved on meanwhile."""
    known = {file.path for file in active_files(planned)}
    moved: set[str] = set()
    came = active_files(newest)
    for version in range(planned.version() + 1, newest.version() + 1):
        actions = actions_of(target.path, version)
        if not moves_rows(actions):
            continue
        moved |= _added(actions)
        before = _open(target, version - 1)
        came += active_files(before) if before is not None else []
    return (file for file in came if file.path not in known and unquote(file.path) not in moved)


def _same_work(ours: CommitMetadata | None, theirs: CommitMetadata) -> bool:
    """Whether two commits of ours stand for the same rows, whatever files they have: an empty day has none."""
    if ours is None:
        return theirs.kind is Kind.ERASURE
    if Kind.STREAM in (ours.kind, theirs.kind) and theirs.kind is not Kind.ERASURE:
        return ours.kind is theirs.kind and ours.channel == theirs.channel
    return theirs.kind is Kind.ERASURE or bool(ours.made & theirs.made)


def _features(table: DeltaTable) -> tuple[object, ...]:
    found = table.protocol()
    return (
        found.min_reader_version,
        found.min_writer_version,
        sorted(found.reader_features or ()),
        sorted(found.writer_features or ()),
    )


def _outcome(target: Target, metadata: CommitMetadata | None, base: int | None, error: DeltaError) -> int:
    """What a refused commit was: committed with the answer lost, a lost race, or a failure."""
    committed = find_attempt(target, metadata, -1 if base is None else base) if metadata is not None else None
    if committed is not None:
        return committed
    if version_of(target.path, fresh=True) != base:
        raise ConcurrentCommit(f"{target.name}: another run committed after version {base}") from error
    text = str(error).split("\n", 1)[0][:500]
    raise WriteError(f"{target.name} was not written, its version is still {base}: {text}") from error


def _properties(metadata: CommitMetadata | None) -> CommitProperties:
    properties = {"userMetadata": metadata.dump() if metadata is not None else MARK}
    return CommitProperties(custom_metadata=properties, max_commit_retries=0)


def _add(file: NewFile, is_change: bool = True) -> AddAction:
    partition = dict(file.partition)
    return AddAction(file.path, file.size, partition, int(time.time() * 1000), is_change, file.statistics)


def _remove(file: ActiveFile, is_change: bool) -> RemoveAction:
    """delta-rs is given names as the file system has them, and encodes them for the log."""
    partition = {name: None if value is None else str(value) for name, value in file.partition.items()}
    return RemoveAction(unquote(file.path), is_change, int(time.time() * 1000), file.size, partition)


def evolve(target: Target, base: int) -> int:
    """Add the columns that the table lacks, by a compare-and-swap of its own. Returns the version to write at.

    Raises SchemaMismatch when the table has other columns or types than declared, ConcurrentCommit, WriteError.
    """
    planned = _open(target, base)
    if planned is None or is_replaced(target.path, base):
        raise ConcurrentCommit(f"{target.name}: the table of version {base} was deleted or created again")
    stored = schema_of(planned)
    refuse(target.path, target.name, differences(stored, target.schema))
    added = [name for name in target.schema.names if name not in stored.names]
    if not added:
        return base
    require_writable(planned, target.path, target.name)
    prove_conditional_puts(target.path)
    fields = [field for field in Schema.from_json(target.stored_schema()).fields if field.name in added]
    try:
        with answering(target.path):
            planned.alter.add_columns(
                fields, commit_properties=_properties(None), post_commithook_properties=CHECKPOINTS
            )
    except DeltaError as error:
        return _outcome(target, None, base, error)
    finally:
        forget(target.path)
    return base + 1
