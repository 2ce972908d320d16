"""Draining a source into its table: rows in batches, each exactly once for ever.

How far a source was read is written in the commit that holds the rows (`CommitMetadata.position`), so rows and position
cannot disagree, whoever is killed when. The commit is a compare-and-swap on the door's own sequence
(`delta_writer.py`): of two that began at the same position the second is refused, and reads on from where the first has
ended.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from lakehouse_assets.platform.declare.stream_source import Fresh, StreamSource
from lakehouse_assets.platform.declare.table import Table
from lakehouse_assets.platform.fingerprint.code_version import code_version
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.scd.scd_table import target_of
from lakehouse_assets.platform.storage import delta_writer
from lakehouse_assets.platform.storage.commit_log import unvalidated
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, Kind
from lakehouse_assets.platform.storage.log_handles import shared_handles
from lakehouse_assets.platform.streams.set_aside import keep, set_aside_path
from lakehouse_assets.platform.streams.stream_audit import complete_audit, write_audit
from lakehouse_assets.platform.streams.stream_log import log_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ATTEMPTS = 6


@dataclass(frozen=True)
class Batch:
    """A commit of a stream: rows per feed day, and how far the source was then read."""

    version: int
    rows: Mapping[date, int]
    position: Mapping[str, Any]
    lag: int

    @property
    def records(self) -> int:
        """Rows of the batch."""
        return sum(self.rows.values())


def drain(step: Step, table: Table, source: StreamSource, upto: object | None = None) -> Batch | None:
    """Commit the source's next batch; None when there is nothing to read, or nothing before the end `upto`.

    A reader that another one overtook reads on from where that one ended. Raises ConcurrentCommit when it was overtaken
    six times, WriteError, SchemaMismatch, and what the source raises.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return _drain(step, table, source, upto)
        except delta_writer.ConcurrentCommit:
            continue
    return _drain(step, table, source, upto)


def _drain(step: Step, table: Table, source: StreamSource, upto: object | None) -> Batch | None:
    path = step.lake.path(table.key)
    complete_audit(step.lake, table.key, step.run_id)
    base = log_of(path).version()
    fresh = source.next(step.spark, path, base, upto)
    while fresh is not None and fresh.rows is None:
        if not keep(set_aside_path(step.lake, table.key), fresh.set_aside):
            return None
        fresh = source.next(step.spark, path, base, upto)
    try:
        return _commit(step, table, source, fresh, base)
    except delta_writer.WriteError:
        if fresh is None or fresh.one_by_one is None:
            raise
        return _commit(step, table, source, fresh.one_by_one(), base)


def _commit(step: Step, table: Table, source: StreamSource, fresh: Fresh | None, base: int | None) -> Batch | None:
    """Keep what is set aside, then commit the rows. Killed in between: what is set aside again is there already."""
    if fresh is None or fresh.rows is None:
        return None
    keep(set_aside_path(step.lake, table.key), fresh.set_aside)
    version, rows = commit_batch(step, table, fresh.rows, base, fresh.position, source.channel)
    return Batch(version, rows, fresh.position, fresh.lag)


def drain_available(step: Step, table: Table, source: StreamSource) -> list[Batch]:
    """Read what the source holds now, and not what arrives meanwhile. Raises as `drain`."""
    end = source.end(step.lake.path(table.key))
    batches: list[Batch] = []
    while end is not None and (batch := drain(step, table, source, end)) is not None:
        batches.append(batch)
    return batches


def commit_batch(
    step: Step, table: Table, frame: "DataFrame", base: int | None, position: Mapping[str, Any], channel: str
) -> tuple[int, dict[date, int]]:
    """Append a batch read from what `base` says was read. Returns version and rows per day.

    Raises ConcurrentCommit when another reader of the same door came first, WriteError, SchemaMismatch.
    """
    started = datetime.now(UTC)
    path, name = step.lake.path(table.key), str(table.key)
    metadata = CommitMetadata(
        table=name,
        run_id=step.run_id,
        attempt=f"{step.run_id}/{name}@{base}",
        days=frozenset(),
        code_version=code_version(table),
        inputs={},
        base=base,
        unvalidated=frozenset(unvalidated(path, base)) if base is not None else frozenset(),
        kind=Kind.STREAM,
        position=position,
        channel=channel,
    )
    target = target_of(step.lake, table)
    with shared_handles():
        version = delta_writer.append(frame, target, metadata, base, channel)
    return version, write_audit(step.lake, table.key, metadata, version, started, datetime.now(UTC))
