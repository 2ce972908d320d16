"""An append-only ledger of figures: which rows to append so that every day's as-of answer is right, in one pass.

Input is what each entity contributed, as a list of changes by the day it became known:

    <entity…>, known_on DATE, <dimensions…>, <amount> DECIMAL        (dimensions and amount NULL: contributes nothing)

A day that is published is a *step*. Publishing recomputes the figures at the first step (`base`) and follows the
changes through the last (`top`); a row is appended for every key and step at which the figure differs from before.

    1. step = greatest(known_on, base); per entity and step the last change counts. Of entities that nothing new
       touches, nothing need be known (`incremental.py`): what the others contributed so far is a step before the first.
    2. What an entity no longer contributes is taken off the old key, what it now contributes is put on the new one.
    3. The ledger's newest row per key joins: with nothing to add where all entities are recomputed, so that a figure
       that vanishes becomes a zero row; else with its figures, to which the moves are added.
    4. Per key, running sums in the order of steps; where they change, a row, with the next version.
"""

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.window import Window

from lakehouse_assets.platform.declare.table import Ledger

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

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


@dataclass(frozen=True)
class News:
    """Contributions to publish: <entity…>, known_on, step, share (struct of dimensions and amount, or NULL).

    Whole: of all entities, and the figures are their sums. Else: of the entities concerned, whose rows of a step before
    the first are what they contributed to the figures published so far; the sums are added to these figures.
    """

    rows: "DataFrame"
    whole: bool


def everything(contributions: "DataFrame", spec: Ledger, steps: Steps) -> News:
    """All contributions, recomputed."""
    return News(_at(contributions, spec, F.greatest("known_on", F.lit(steps.base))), whole=True)


def only_after(published: date, contributions: "DataFrame", spec: Ledger) -> News:
    """Contributions of the entities that days after `published` touch, where no day before has changed."""
    step = F.when(F.col("known_on") > F.lit(published), F.col("known_on")).otherwise(F.lit(BEGINNING))
    return News(_at(contributions, spec, step), whole=False)


def replaced(then: "DataFrame", now: "DataFrame", spec: Ledger, steps: Steps) -> News:
    """Contributions of some entities as they were published, and as they are now."""
    was = _at(then, spec, F.lit(BEGINNING))
    # Unless something follows in that very step, an entity contributes nothing any more.
    gone = was.select(
        *spec.grouping_key, F.lit(BEGINNING).alias("known_on"), F.lit(steps.base).alias("step")
    ).distinct()
    is_now = _at(now, spec, F.greatest("known_on", F.lit(steps.base)))
    return News(was.unionByName(gone, allowMissingColumns=True).unionByName(is_now), whole=False)


def _at(contributions: "DataFrame", spec: Ledger, step: "Column") -> "DataFrame":
    share = F.when(F.col(spec.amount).isNotNull(), F.struct(*spec.dimensions, F.col(spec.amount).alias("amount")))
    return contributions.select(*spec.grouping_key, "known_on", step.alias("step"), share.alias("share"))


def rows_to_append(news: News, published: "DataFrame", spec: Ledger, steps: Steps, amount: "DataType") -> "DataFrame":
    """Ledger rows of a publication: dimensions, figures, effective_date, version, reason, feed_day.

    `published` is the whole ledger as pinned, `amount` the type of its figure. Two shuffles (entity, key), whatever the
    number of days.
    """
    changes = _changes(news.rows, spec, steps)
    dimensions = [F.col(name) for name in spec.dimensions]  # as columns: Spark is not asked whether they are there
    newest = published.groupBy(*dimensions).agg(F.max(F.struct("version", spec.figure, spec.count)).alias("newest"))
    if not news.whole:
        moved = F.broadcast(changes.select(*spec.dimensions).distinct())
        newest = newest.join(moved, [*spec.dimensions], "left_semi")
    kept = F.lit(0 if news.whole else 1)
    moves = changes.unionByName(
        newest.select(
            *spec.dimensions,
            F.lit(steps.base).alias("step"),
            (F.col(f"newest.{spec.figure}") * kept).cast(amount).alias("amount"),
            (F.col(f"newest.{spec.count}") * kept).alias("entities"),
            "newest",
        ),
        allowMissingColumns=True,
    )
    per_step = moves.groupBy(*dimensions, F.col("step")).agg(
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


def _changes(news: "DataFrame", spec: Ledger, steps: Steps) -> "DataFrame":
    """Moves per key and step: amount and number of entities to add (or, negative, to take off)."""
    by_entity = Window.partitionBy(*spec.grouping_key).orderBy("step", "known_on")
    last_of_step = (
        news.where(F.col("known_on") <= F.lit(steps.top))
        .select("*", F.lead("step").over(by_entity).alias("next_step"))
        .where(F.col("next_step").isNull() | (F.col("next_step") > F.col("step")))
    )
    moved = last_of_step.select("step", F.col("share").alias("new"), F.lag("share").over(by_entity).alias("old")).where(
        (F.col("step") >= F.lit(steps.base)) & ~F.col("old").eqNullSafe(F.col("new"))
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
