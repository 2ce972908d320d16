"""Kinds of write that keep a state of keys: the current state, or the whole history, of whatever a source changes.

A function of such a table returns *changes*, one row each, by feed day. Beside the table the platform keeps them, as
judged, in `<table>__changes`; the table itself is a fold of all of them, whatever the order in which they came:

    scd1(keys, sequence, delete_when)     a row per key: the change with the greatest sequence; a delete stays as a row
    scd2(keys, sequence, delete_when)     a row per key and version: effective_from, effective_to, is_current
    scd2_from_snapshots(keys)             the same, of full snapshots: the changes are what differs between two of them
"""

from dataclasses import dataclass

BUCKETS = 8


@dataclass(frozen=True)
class State:
    """A table folded from changes.

    `sequence` orders the changes of a key, its first column is their time; ties are broken by content (`fold.py`).
    `track`: the columns whose change begins a new version; None: all but keys and sequence. `buckets`: in how many
    parts the table is laid out by its keys; a commit rewrites those parts in which something changed.
    """

    keys: tuple[str, ...]
    sequence: tuple[str, ...]
    delete_when: str | None = None
    history: bool = False
    track: tuple[str, ...] | None = None
    snapshots: bool = False
    buckets: int = BUCKETS


def scd1(
    keys: tuple[str, ...], sequence: str | tuple[str, ...], delete_when: str | None = None, *, buckets: int = BUCKETS
) -> State:
    """The current state of each key. `delete_when`: SQL that is TRUE for a change that deletes its key."""
    return State(keys, _columns(sequence), delete_when, buckets=buckets)


def scd2(
    keys: tuple[str, ...],
    sequence: str | tuple[str, ...],
    delete_when: str | None = None,
    *,
    track: tuple[str, ...] | None = None,
    buckets: int = BUCKETS,
) -> State:
    """Every version of each key, from the time of its change until that of the next."""
    return State(keys, _columns(sequence), delete_when, history=True, track=track, buckets=buckets)


def scd2_from_snapshots(
    keys: tuple[str, ...], *, track: tuple[str, ...] | None = None, buckets: int = BUCKETS
) -> State:
    """Every version of each key of daily full snapshots, by feed day; a key missing from a snapshot is deleted."""
    return State(keys, ("feed_day",), history=True, track=track, snapshots=True, buckets=buckets)


def _columns(sequence: str | tuple[str, ...]) -> tuple[str, ...]:
    return (sequence,) if isinstance(sequence, str) else sequence
