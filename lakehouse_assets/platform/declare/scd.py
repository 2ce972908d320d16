"""Kinds of write that keep a state of keys: the current state, or the whole history, of whatever a source changes.

A function of such a table returns *changes*, one row each, by feed day. Beside the table the platform keeps them, as
judged, in `<table>__changes`; the table itself is a fold of all of them, whatever the order in which they came:

    scd1(keys, sequence, delete_when)     a row per key: the change with the greatest sequence; a delete stays as a row
    scd2(keys, sequence, delete_when)     a row per key and version: effective_from, effective_to, is_current
    scd2_from_snapshots(keys)             the same, of full snapshots: the changes are what differs between two of them
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lakehouse_assets.platform.contracts.compiled import CompiledContract

BUCKETS = 8
BUCKET = "bucket"
"""The partition column of a table with a state: the part of the table that a key belongs to."""
DELETE_LAST = ("is_deleted",)
"""Of a delete and another change of one sequence the delete counts."""


@dataclass(frozen=True)
class Scd:
    """A table folded from changes.

    `sequence` orders the changes of a key, its first column is their time. `ties`: SQL over the contract's columns that
    orders changes of one sequence, the greatest last; what it leaves tied is ordered by content (`merge_changes.py`).
    `track`: the columns whose change begins a new version; None: all but keys and sequence. `buckets`: in how many
    parts the table is laid out by its keys; a commit rewrites those parts in which something changed.
    """

    keys: tuple[str, ...]
    sequence: tuple[str, ...]
    delete_when: str | None = None
    ties: tuple[str, ...] = DELETE_LAST
    history: bool = False
    track: tuple[str, ...] | None = None
    snapshots: bool = False
    buckets: int = BUCKETS


def scd1(
    keys: tuple[str, ...],
    sequence: str | tuple[str, ...],
    delete_when: str | None = None,
    *,
    ties: tuple[str, ...] = DELETE_LAST,
    buckets: int = BUCKETS,
) -> Scd:
    """The current state of each key. `delete_when`: SQL that is TRUE for a change that deletes its key."""
    return Scd(keys, _columns(sequence), delete_when, ties, buckets=buckets)


def scd2(
    keys: tuple[str, ...],
    sequence: str | tuple[str, ...],
    delete_when: str | None = None,
    *,
    ties: tuple[str, ...] = DELETE_LAST,
    track: tuple[str, ...] | None = None,
    buckets: int = BUCKETS,
) -> Scd:
    """Every version of each key, from the time of its change until that of the next."""
    return Scd(keys, _columns(sequence), delete_when, ties, history=True, track=track, buckets=buckets)


def scd2_from_snapshots(keys: tuple[str, ...], *, track: tuple[str, ...] | None = None, buckets: int = BUCKETS) -> Scd:
    """Every version of each key of daily full snapshots, by feed day; a key missing from a snapshot is deleted."""
    return Scd(keys, ("feed_day",), history=True, track=track, snapshots=True, buckets=buckets)


def _columns(sequence: str | tuple[str, ...]) -> tuple[str, ...]:
    return (sequence,) if isinstance(sequence, str) else sequence


def faults(spec: Scd, compiled: "CompiledContract") -> list[str]:
    """What makes the kind of write and the contract not fit each other."""
    columns = {field.name: field for field in compiled.spark_schema}
    added = ("is_deleted", "record_hash", *(("effective_from", "effective_to", "is_current") if spec.history else ()))
    found = [f"has no column {name}" for name in (*spec.keys, *spec.sequence, *added) if name not in columns]
    found += [
        f"{name} may be NULL, and so cannot tell or order keys"
        for name in (*spec.keys, spec.sequence[0])  # of the others NULL is the least
        if name in columns and columns[name].nullable
    ]
    if spec.snapshots and compiled.key != spec.keys:
        found.append(f"its table_metadata() says key={compiled.key}: a snapshot has one row for each of {spec.keys}")
    if not spec.snapshots and compiled.key:
        found.append("its table_metadata() says a key, which is unique within a feed day: the changes of a day are not")
    return found
