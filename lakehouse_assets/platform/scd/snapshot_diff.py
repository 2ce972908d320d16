"""What differs between full snapshots: changes by feed day, so that a fold of them up to a day is that day's snapshot.

A key that a snapshot lacks is deleted on that day. A day without rows is no snapshot and deletes nobody. A key whose
row left for quarantine is there, but what it says is unknown: it stays as it was.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING

import pyspark.sql.types as T
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.declare.scd import Scd
from lakehouse_assets.platform.scd.merge_changes import values

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

UNKNOWN = "_unknown"
"""Column of the changes of a snapshot: the key was there, in quarantine. Such a row says nothing else."""
RECORD_HASH = "record_hash"


@dataclass(frozen=True)
class Chain:
    """Successive snapshots to be compared: each with the one before it; `before`: the one before the first."""

    before: date | None
    days: tuple[date, ...]


def chains(
    old: Collection[date], gone: Collection[date], new: Collection[date], unsure: Collection[date] = ()
) -> list[Chain]:
    """What to compare when of the snapshots `old` the days `gone` are taken away and the days `new` are put in.

    A new snapshot is compared with the one before it, and the first one after a new or vanished one again. Of a day
    that is `unsure` (keys of it are in quarantine, and stay as they were before) the next one is compared as well.
    """
    all_days = sorted((set(old) - set(gone)) | set(new))
    changed = {*gone, *new}
    found: list[Chain] = []
    before: date | None = None
    moved = False  # whether what is known at the end of `before` may be another than it was
    for day in sorted({*all_days, *changed}):
        if day not in all_days:
            moved = True
            continue
        compared = moved or day in new
        moved = day in new or (compared and day in unsure)
        if compared:
            if found and found[-1].days[-1] == before:
                found[-1] = Chain(found[-1].before, (*found[-1].days, day))
            else:
                found.append(Chain(before, (day,)))
        before = day
    return found


def contents_as_of(changes: "DataFrame", spec: Scd, day: date, columns: Sequence[str]) -> "DataFrame":
    """The snapshot of a day, from the changes up to it; keys that were in quarantine on that very day are unknown."""
    live = known_as_of(changes, spec, day, columns)
    unknown = changes.where(F.col(UNKNOWN) & (F.col(DAY_COLUMN) == F.lit(day))).select(*columns, UNKNOWN)
    return live.join(unknown.select(*spec.keys), list(spec.keys), "left_anti").unionByName(unknown)


def known_as_of(changes: "DataFrame", spec: Scd, day: date, columns: Sequence[str]) -> "DataFrame":
    """What was known of each key at the end of a day, dated that day; deleted ones are not there."""
    content = [name for name in columns if name not in spec.keys]
    last = F.max_by(F.struct(*content), F.col(DAY_COLUMN)).alias("last")
    known = changes.where((F.col(DAY_COLUMN) <= F.lit(day)) & ~F.col(UNKNOWN))
    live = known.groupBy(*spec.keys).agg(last).select(*spec.keys, "last.*").where("NOT is_deleted")
    return dated(live, day, columns)


def dated(live: "DataFrame", day: date, columns: Sequence[str]) -> "DataFrame":
    """Live rows as the contents of a day."""
    on = {DAY_COLUMN: F.lit(day), "effective_from": F.lit(day), "effective_to": F.lit(None).cast("date")}
    on |= {"is_current": F.lit(True)}
    return live.select(*[on.get(name, F.col(name)).alias(name) for name in columns], F.lit(False).alias(UNKNOWN))


def differences(
    spark: "SparkSession", contents: "DataFrame", spec: Scd, columns: Sequence[str], of: Sequence[Chain]
) -> "DataFrame":
    """Changes of the compared days. `contents`: every snapshot of the chains, by feed day, with `_unknown`."""
    places = [
        (number, place, day, place == 0, len(chain.days), next_day)
        for number, chain in enumerate(of)
        for place, (day, next_day) in enumerate(pairwise((chain.before, *chain.days, None)))
        if day is not None
    ]
    placed = contents.join(F.broadcast(spark.createDataFrame(places, _PLACES)), DAY_COLUMN)
    by_key = Window.partitionBy("_chain", *spec.keys).orderBy("_place")
    message = F.struct(*values(spec, columns))
    seen = placed.select(
        "*",
        F.when(~F.col(UNKNOWN), F.struct(*columns)).alias("_row"),
        F.when(~F.col(UNKNOWN), message).alias("_said"),
        (F.col("_place") - F.row_number().over(by_key)).alias("_stay"),
    )
    until = by_key.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    up_to = by_key.rowsBetween(Window.unboundedPreceding, -1)
    validated = seen.select(
        "*",
        F.last("_row", ignorenulls=True).over(until).alias("_known"),
        F.last("_said", ignorenulls=True).over(up_to).alias("_said_before"),
        F.last(F.when(~F.col(UNKNOWN), F.col("_stay")), ignorenulls=True).over(up_to).alias("_stay_before"),
        F.lead("_place").over(by_key).alias("_place_after"),
    )
    # Within one stay place and row number grow together: a key that was away since it was last known has come back.
    came_back = ~F.col("_stay_before").eqNullSafe(F.col("_stay"))
    differs = came_back | ~F.col("_said_before").eqNullSafe(F.col("_said"))
    vanishes = (
        F.col("_known").isNotNull()
        & (F.col("_place") < F.col("_last"))
        & (F.col("_place_after").isNull() | (F.col("_place_after") > F.col("_place") + 1))
    )
    types = {field.name: field.dataType for field in contents.schema}
    names = [*columns, UNKNOWN]
    said_now = F.struct(*[F.col(name).alias(name) for name in names])
    gone = F.struct(*[_deleted(name).cast(types[name]).alias(name) for name in names])
    # One pass: a row may tell of its own day and, where the key is gone, of the next one.
    told = F.array_compact(
        F.array(
            F.when(~F.col("_is_before") & (F.col(UNKNOWN) | differs), said_now.cast(_nullable(said_now, validated))),
            F.when(vanishes, gone.cast(_nullable(said_now, validated))),
        )
    )
    return validated.where(F.size(told) > 0).select(F.explode(told).alias("told")).select("told.*")


def next_differences(
    contents: "DataFrame", live: "DataFrame", spec: Scd, columns: Sequence[str], day: date, *, in_memory: bool
) -> "DataFrame":
    """Changes of a day that comes after all others, from its contents and the keys that were there before.

    What `differences` gives of the chain of both, by one join. Hashes are made of what differs alone. `in_memory`:
    what a task compares fits, so that rows are hashed and not sorted.
    """
    carried = [name for name in columns if name not in spec.keys and name != RECORD_HASH]
    now = contents.select(*spec.keys, F.struct(*carried, UNKNOWN).alias("_now"))
    before = live.select(*spec.keys, F.struct(*carried).alias("_was"))
    now_values, old_values = (F.struct(*[f"{of}.{name}" for name in values(spec, columns)]) for of in ("_now", "_was"))
    gone = {"is_deleted": F.lit(True), DAY_COLUMN: F.lit(day), "effective_from": F.lit(day)}
    vanished = F.col("_now").isNull()
    differs = F.col("_was").isNull() | F.col(f"_now.{UNKNOWN}") | ~now_values.eqNullSafe(old_values)
    before = before.hint("shuffle_hash") if in_memory else before
    told = now.join(before, list(spec.keys), "full_outer").where(vanished | differs)
    changes = told.select(
        *spec.keys,
        *[
            F.when(vanished, gone.get(name, F.col(f"_was.{name}"))).otherwise(F.col(f"_now.{name}")).alias(name)
            for name in carried
        ],
        F.coalesce(f"_now.{UNKNOWN}", F.lit(False)).alias(UNKNOWN),
    )
    return changes.select("*", F.when(~F.col(UNKNOWN), said_hash(spec, columns)).alias(RECORD_HASH))


def said_hash(spec: Scd, columns: Sequence[str]) -> "Column":
    """The record hash of a row of a snapshot: of what it says, not of its text, which may differ from day to day."""
    message = F.struct(*spec.keys, *values(spec, columns))
    return F.sha2(F.to_json(message, {"ignoreNullFields": "false"}), 256)


def _nullable(column: "Column", frame: "DataFrame") -> T.DataType:
    """The type of a struct, all its fields nullable."""
    kind = frame.select(column.alias("c")).schema["c"].dataType
    assert isinstance(kind, T.StructType)
    return T.StructType([T.StructField(field.name, field.dataType, True) for field in kind])


def _deleted(name: str) -> "Column":
    match name:
        case "is_deleted":
            return F.lit(True)
        case "feed_day" | "effective_from":
            return F.col("_next_day")
        case "_unknown":
            return F.lit(False)
    return F.col(f"_known.{name}")


_PLACES = T.StructType(
    [
        T.StructField("_chain", T.IntegerType()),
        T.StructField("_place", T.IntegerType()),
        T.StructField(DAY_COLUMN, T.DateType()),
        T.StructField("_is_before", T.BooleanType()),
        T.StructField("_last", T.IntegerType()),
        T.StructField("_next_day", T.DateType()),
    ]
)
