"""Ties: changes of a key that have the same sequence, so that only the declared rule, or content, orders them."""

from dataclasses import replace
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakehouse_assets.platform.outcome import DayOutcome
from lakehouse_assets.platform.state import State

if TYPE_CHECKING:
    from lakehouse_assets.platform.marked import Marked


def with_ties(days: tuple[DayOutcome, ...], rows: "Marked", spec: object) -> tuple[DayOutcome, ...]:
    """The days, with how many of the changes that each keeps lost to another of that day only so; one Spark action.

    Other kinds of write have none, nor have snapshots, whose key is unique.
    """
    if not isinstance(spec, State) or spec.snapshots or not any(day.rows.kept > 1 for day in days):
        return days
    kept = rows.kept(all_stay=not any(day.rows.quarantined or day.rows.duplicates for day in days))
    tied = kept.groupBy("feed_day", *spec.keys, *spec.sequence).count().where("count > 1")
    found = tied.groupBy("feed_day").agg(F.sum(F.col("count") - 1).alias("ties")).collect()
    ties = {row["feed_day"]: row["ties"] for row in found}
    return tuple(replace(day, rows=replace(day.rows, ties=ties.get(day.day, 0))) for day in days)
