"""Changes folded into a state: the same for any order, batching, duplication or replay of the same changes.

Of two changes of a key the later is the one with the greater (sequence, declared rule of ties, record_hash): what they
say decides, never when or how often they were delivered. Of the same change delivered twice the earlier delivery
counts, so that a change sent again changes nothing.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.window import Window

from lakehouse_assets.platform.declare.scd import BUCKET, Scd

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

PROVENANCE = frozenset({"feed_day", "version", "record_hash", "processed_date", "processed_at", "run_id"})
VALIDITY = ("effective_from", "effective_to", "is_current")


def bucket(spec: Scd) -> "Column":
    """The part of the table that a key belongs to."""
    return F.pmod(F.xxhash64(*spec.keys), F.lit(spec.buckets)).cast("int").alias(BUCKET)


def values(spec: Scd, columns: Sequence[str]) -> list[str]:
    """The columns that say something of a key: not the key, nor where and when the row came from, nor the fold's."""
    ours = {*spec.keys, *spec.sequence, *PROVENANCE, *VALIDITY, "is_deleted", BUCKET}
    return [name for name in columns if name not in ours]


def fold(changes: "DataFrame", spec: Scd, columns: Sequence[str]) -> "DataFrame":
    """The rows that follow from these changes, which must be all that there are of their keys."""
    return versions(changes, spec, columns) if spec.history else newest(changes, spec, columns)


def newest(changes: "DataFrame", spec: Scd, columns: Sequence[str]) -> "DataFrame":
    """A row per key: its last change."""
    rest = [name for name in columns if name not in spec.keys]
    last = F.max_by(F.struct(*rest), order(spec)).alias("last")
    return changes.groupBy(*spec.keys).agg(last).select(*spec.keys, "last.*").select(*columns)


def versions(changes: "DataFrame", spec: Scd, columns: Sequence[str]) -> "DataFrame":
    """A row per key and version. Changes of the same time are one; so are successive ones that track as equal.

    A version begins with its first change and says what its last one said.
    """
    by_key = Window.partitionBy(*spec.keys).orderBy(*_order(spec))
    tracked = F.struct(*(spec.track or values(spec, columns)))
    told = F.struct("is_deleted", F.when(~F.col("is_deleted"), tracked).alias("values"))
    lasting = (
        changes.select("*", F.lead("effective_from").over(by_key).alias("_next"))
        .where(F.col("_next").isNull() | (F.col("_next") > F.col("effective_from")))
        .select("*", told.alias("_told"))
    )
    begins = F.coalesce(~F.lag("_told").over(by_key).eqNullSafe(F.col("_told")), F.lit(True))
    first = F.row_number().over(by_key) == 1
    runs = lasting.select("*", (first | begins).cast("int").alias("_begins")).select(
        "*", F.sum("_begins").over(by_key.rowsBetween(Window.unboundedPreceding, Window.currentRow)).alias("_run")
    )
    rest = [name for name in columns if name not in (*spec.keys, *VALIDITY)]
    found = runs.groupBy(*spec.keys, "_run").agg(
        F.min("effective_from").alias("effective_from"),
        F.max_by(F.struct(*rest), order(spec)).alias("last"),
    )
    until = F.lead("effective_from").over(Window.partitionBy(*spec.keys).orderBy("effective_from"))
    return (
        found.select(*spec.keys, "effective_from", "last.*", until.alias("effective_to"))
        .select("*", F.col("effective_to").isNull().alias("is_current"))
        .select(*columns)
    )


def order(spec: Scd) -> "Column":
    """What makes a change later than another of its key, to be compared and taken the greatest of."""
    return F.struct(*_order(spec))


def _order(spec: Scd) -> list["Column"]:
    # A version's time is in `effective_from`, as a change's is.
    time = "effective_from" if spec.history else spec.sequence[0]
    earlier_delivery = -F.unix_date("feed_day")
    ties = [F.expr(rule).alias(f"_tie_{place}") for place, rule in enumerate(spec.ties)]
    return [F.col(time), *map(F.col, spec.sequence[1:]), *ties, F.col("record_hash"), earlier_delivery.alias("earlier")]
