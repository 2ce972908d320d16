"""Tables that a stream keeps up to date itself, after each of its commits:
`ReplaceDays(refresh=IncrementalRefresh(…))`.

Only the minutes that commits touched since are computed; the others of the day are taken over as they stand. So the
cost is that of what came and of the minutes it belongs to, not that of the open day, and the day is at every moment
what a computation from scratch would say. Where anything but the stream changed the day, or the code changed, it is
computed from scratch.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import date, datetime, timedelta
from functools import reduce
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import functions as F

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.declare.table import IncrementalRefresh, ReplaceDays, Table
from lakehouse_assets.platform.fingerprint.code_version import code_version
from lakehouse_assets.platform.orchestration.staleness import Staleness
from lakehouse_assets.platform.planning.plan import Plan
from lakehouse_assets.platform.planning.reader import read_inputs, read_table
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.storage.commit_actions import actions_of
from lakehouse_assets.platform.storage.commit_log import read_entry
from lakehouse_assets.platform.storage.commit_metadata import Kind
from lakehouse_assets.platform.storage.delta_writer import on_days
from lakehouse_assets.platform.storage.location import Location, file_at, missing, parquet
from lakehouse_assets.platform.transform.materialize import materialize

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

MINUTE = timedelta(minutes=1)
MOST_RANGES = 50


def keep(step: Step, staleness: Staleness, table: Table) -> None:
    """Make what is behind of a live table."""
    staleness.refresh()
    days = sorted(staleness.stale_days(table))
    if not days:
        return

    def renewed(step: Step, plan: Plan) -> "DataFrame":
        inputs = read_inputs(step.spark, step.lake, plan, step.catalog)
        minutes = touched_minutes(step, staleness, plan)
        return table(**inputs) if minutes is None else _renewed(step, plan, inputs, minutes)

    materialize(step, table, days, transform=renewed)


def touched_minutes(step: Step, staleness: Staleness, plan: Plan) -> set[datetime] | None:
    """Minutes with events that came since the plan's days were made; None: only a computation from scratch will do."""
    table, ((name, read),) = plan.table, plan.table.reads.items()
    live, known, to = _live(table), staleness.of(table.key), plan.input_versions[name].version
    made = [known.built.get(day) for day in plan.days]
    notes = [built.metadata for built in made if built]
    input_versions = [
        metadata.inputs[name].version for metadata in notes if metadata.code_version == code_version(table)
    ]
    if (
        plan.base is None
        or to is None
        or len(input_versions) < len(made)
        or None in input_versions
        or known.unvalidated.keys() & {*plan.days}
    ):
        return None
    path, minutes = step.lake.path(read.table), set[datetime]()
    for version in range(
        min(input_version for input_version in input_versions if input_version is not None) + 1, to + 1
    ):
        entry = read_entry(path, version)
        if entry is None:
            return None
        if entry.metadata is not None and entry.metadata.kind is Kind.STREAM:
            files = [file_at(path, one["add"]["path"]) for one in actions_of(path, version) if "add" in one]
            if missing(files):  # compacted, and removed since
                return None
            for file in files:
                minutes |= _minutes(file, live.time, plan.days)
        elif (entry.metadata.days if entry.metadata else entry.touched) & {*plan.days} or not entry.complete:
            return None
    return minutes


def _renewed(step: Step, plan: Plan, inputs: "dict[str, DataFrame]", minutes: Collection[datetime]) -> "DataFrame":
    """The plan's days: these minutes computed, all others as the table has them.

    In one partition: of so few rows every shuffle that this saves is dearer than the work.
    """
    live, ((name, events),) = _live(plan.table), inputs.items()
    spans = list(_spans(minutes))
    fresh = plan.table(**{name: events.where(_within(F.col(live.time), spans)).coalesce(1)})
    stored = read_table(step.spark, step.lake, plan.table, plan.base).where(on_days(DAY_COLUMN, plan.days))
    taken = stored.where(~_within(F.col(live.column), spans)).select(*fresh.columns)
    return fresh.unionByName(taken).coalesce(1)


def _spans(minutes: Collection[datetime]) -> Iterator[tuple[datetime, datetime]]:
    """First minute and end of each run of minutes; one that covers all of them, where they are too scattered."""
    ordered = sorted(minutes)
    firsts = [one for one in ordered if one - MINUTE not in minutes]
    lasts = [one for one in ordered if one + MINUTE not in minutes]
    if len(firsts) > MOST_RANGES:
        firsts, lasts = firsts[:1], lasts[-1:]
    for first, last in zip(firsts, lasts, strict=True):
        yield first, last + MINUTE


def _within(time: "Column", spans: Iterable[tuple[datetime, datetime]]) -> "Column":
    def literal(moment: datetime) -> "Column":
        return F.lit(moment.isoformat(sep=" ")).cast("timestamp_ntz")

    conditions = [(time >= literal(first)) & (time < literal(end)) for first, end in spans]
    return reduce(lambda a, b: a | b, conditions, F.lit(False))


def _minutes(file: Location, time: str, days: Collection[date]) -> set[datetime]:
    """The minutes of a file's rows of these days."""
    rows = pq.read_table(parquet(file), columns=[DAY_COLUMN, time])
    of_days = rows.filter(pc.is_in(rows[DAY_COLUMN], pa.array(days, pa.date32())))
    return {one for one in pc.unique(pc.floor_temporal(of_days[time], unit="minute")).to_pylist() if one}


def _live(table: Table) -> IncrementalRefresh:
    assert isinstance(table.write, ReplaceDays), f"{table.key} is kept by no stream"
    assert table.write.refresh is not None, f"{table.key} is kept by no stream"
    return table.write.refresh
