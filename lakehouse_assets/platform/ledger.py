"""An append-only ledger of figures: which rows to append so that every day's as-of answer is right, in one pass.

Input is what each entity contributed, as a list of changes by the day it became known:

    <entity…>, known_on DATE, <dimensions…>, <amount> DECIMAL        (dimensions and amount NULL: contributes nothing)

A day that is published is a *step*. Publishing recomputes the figures at the first step (`base`) and follows the
changes through the last (`top`); a row is appended for every key and step at which the figure differs from before.

    1. step = greatest(known_on, base); per entity and step the last change counts.
    2. What an entity no longer contributes is taken off the old key, what it now contributes is put on the new one.
    3. The ledger's newest row per key joins with nothing to add, so that a figure that vanishes becomes a zero row.
    4. Per key, running sums in the order of steps; where they change, a row, with the next version.
"""

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.window import Window

from lakehouse_assets.platform.table import Ledger

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

NEW, RESTATEMENT = "new", "restatement"
BEGINNING = date(1, 1, 1)


@dataclass(frozen=True)
class Steps:
    """The days a publication covers: the open day again (when a day up to it is asked for), then every day after it."""

    published: date | None
    first_requested: date
    last_requested: date

    @property
    def base(self) -> date:
        """First step; before anything is published each change is a step of its own."""
        if self.published is None:
            return BEGINNING
        if self.first_requested <= self.published:
            return self.published
        return date.fromordinal(self.published.toordinal() + 1)

    @property
    def top(self) -> date:
        """Last step, which is the open day afterwards."""
        return max(self.last_requested, self.published or self.last_requested)

    @property
    def restates(self) -> bool:
        """Whether figures of closed days were asked for: what then differs is a restatement."""
        return self.published is not None and self.first_requested < self.published


def rows_to_append(contributions: "DataFrame", published: "DataFrame", spec: Ledger, steps: Steps) -> "DataFrame":
    """Ledger rows of a publication: dimensions, figures, effective_date, version, reason, feed_day.

    `published` is the whole ledger as pinned. Two shuffles (entity, key), whatever the number of days.
    """
    changes = _changes(contributions, spec, steps)
    newest = published.groupBy(*spec.dimensions).agg(
        F.max(F.struct("version", spec.figure, spec.count)).alias("newest"),
    )
    nothing = F.lit(None).cast(
        published.select(F.struct("version", spec.figure, spec.count).alias("s")).schema["s"].dataType
    )
    amount = published.schema[spec.figure].dataType
    moves = changes.select("*", nothing.alias("newest")).unionByName(
        newest.select(
            *spec.dimensions,
            F.lit(steps.base).alias("step"),
            F.lit(0).cast(amount).alias("amount"),
            F.lit(0).cast("long").alias("entities"),
            "newest",
        )
    )
    per_step = moves.groupBy(*spec.dimensions, "step").agg(
        F.sum("amount").cast(amount).alias("amount"),
        F.sum("entities").alias("entities"),
        F.max("newest").alias("newest"),
    )
    by_key = Window.partitionBy(*spec.dimensions).orderBy("step")
    running = by_key.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    figures = per_step.select(
        *spec.dimensions,
        "step",
        F.sum("amount").over(running).cast(amount).alias(spec.figure),
        F.sum("entities").over(running).alias(spec.count),
        F.max("newest").over(running).alias("newest"),
    )
    changed = _differs(spec, by_key, amount)
    return (
        figures.select("*", changed.alias("changed"))
        .select("*", F.sum(F.col("changed").cast("int")).over(running).alias("nth_change"))
        .where("changed")
        .select(
            *spec.dimensions,
            spec.figure,
            spec.count,
            F.col("step").alias("effective_date"),
            (F.coalesce("newest.version", F.lit(0)) + F.col("nth_change")).cast("int").alias("version"),
            *_why(steps),
        )
    )


def _changes(contributions: "DataFrame", spec: Ledger, steps: Steps) -> "DataFrame":
    """Moves per key and step: amount and number of entities to add (or, negative, to take off)."""
    by_entity = Window.partitionBy(*spec.entity)
    share = F.when(F.col(spec.amount).isNotNull(), F.struct(*spec.dimensions, F.col(spec.amount).alias("amount")))
    at_step = contributions.where(F.col("known_on") <= F.lit(steps.top)).select(
        *spec.entity,
        "known_on",
        F.greatest("known_on", F.lit(steps.base)).alias("step"),
        share.alias("new"),
    )
    last_of_step = at_step.select("*", F.lead("step").over(by_entity.orderBy("known_on")).alias("next_step")).where(
        F.col("next_step").isNull() | (F.col("next_step") > F.col("step"))
    )
    moved = last_of_step.select("step", "new", F.lag("new").over(by_entity.orderBy("known_on")).alias("old")).where(
        ~F.col("old").eqNullSafe(F.col("new"))
    )
    sides = F.array(
        F.struct(F.lit(-1).alias("sign"), F.col("old").alias("share")),
        F.struct(F.lit(1).alias("sign"), F.col("new").alias("share")),
    )
    return (
        moved.select("step", F.explode(sides).alias("side"))
        .where("side.share is not null")
        .select(
            *[F.col(f"side.share.{dimension}").alias(dimension) for dimension in spec.dimensions],
            "step",
            (F.col("side.sign") * F.col("side.share.amount")).alias("amount"),
            F.col("side.sign").cast("long").alias("entities"),
        )
    )


def _differs(spec: Ledger, by_key: object, amount: object) -> "Column":
    def before(figure: str, zero: "Column") -> "Column":
        return F.coalesce(F.lag(figure).over(by_key), F.col(f"newest.{figure}"), zero)  # type: ignore[arg-type]

    return (before(spec.figure, F.lit(0).cast(amount)) != F.col(spec.figure)) | (  # type: ignore[arg-type]
        before(spec.count, F.lit(0).cast("long")) != F.col(spec.count)
    )


def _why(steps: Steps) -> "tuple[Column, Column]":
    """`reason` and `feed_day`: a restatement names the first day asked for, a new figure its own step."""
    if not steps.restates:
        return F.lit(NEW).alias("reason"), F.col("step").alias("feed_day")
    restated = F.col("step") == F.lit(steps.base)
    return (
        F.when(restated, F.lit(RESTATEMENT)).otherwise(F.lit(NEW)).alias("reason"),
        F.when(restated, F.lit(steps.first_requested)).otherwise(F.col("step")).alias("feed_day"),
    )
