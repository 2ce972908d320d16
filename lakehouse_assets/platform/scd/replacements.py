"""How the changes of some days replace rows of a table with a state: four strategies, one result.

Where nothing was taken back, the state of a key stands for all its older changes: the current state does always, the
current version does if all news are later. Else all changes of the key are merged again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakehouse_assets.platform.declare.scd import Scd
from lakehouse_assets.platform.scd.merge_changes import fold, newest, order, versions
from lakehouse_assets.platform.validation.row_digests import RUN_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import Column, DataFrame

    Hint = Callable[[DataFrame], DataFrame]

SMALL = 1_000_000
"""Changes up to this number are sent whole to where the table's rows are, instead of both being shuffled."""
ENDS = "__ends"  # as no column of a contract is called, nor `_` and one of them


@dataclass(frozen=True)
class Replacement:
    """Rows that come, and what remains of the rows that were there.

    `remaining`: given rows of the table, those that stay, some with an end put to them. `keys`: the keys of which rows
    may give way; None: those of the days' changes, whose parts are known. `held`: frames to release afterwards.
    """

    new: "DataFrame"
    remaining: "Callable[[DataFrame], DataFrame]"
    keys: "DataFrame | None" = None
    held: "tuple[DataFrame, ...]" = ()


def hint_for(rows: int) -> "Hint":
    """How to join that many changes with rows of the table."""
    return F.broadcast if rows <= SMALL else _as_it_is


def _as_it_is(keys: "DataFrame") -> "DataFrame":
    return keys


def upsert_newest(
    after: "DataFrame", state: "DataFrame", spec: Scd, columns: "Sequence[str]", hint: "Hint"
) -> Replacement:
    """Current states: of each key the newest change, unless the table has a later one."""
    last = newest(after, spec, columns)
    brought = hint(last.select(*spec.keys, order(spec).alias("_brings")))
    later = state.select(*spec.keys, order(spec).alias("_has")).join(brought, list(spec.keys)).where("_has >= _brings")
    new = last.join(later.select(*spec.keys), list(spec.keys), "left_anti")
    return Replacement(new, lambda rows: _without(rows, new, spec, hint))


def close_current(after: "DataFrame", ends: "Mapping[str, Column]", spec: Scd, hint: "Hint") -> Replacement:
    """Versions, one later change a key: it is the new version, and the current one ends."""

    def remaining(rows: "DataFrame") -> "DataFrame":
        other, same = _same_key(after, spec, hint)
        ended = {name: F.when(F.col(ENDS), end).otherwise(F.col(name)) for name, end in ends.items()}
        return rows.join(other, same & F.expr("is_current"), "left").withColumns(ended).select(*rows.columns)

    return Replacement(after, remaining)


def merge_current(
    after: "DataFrame", state: "DataFrame", spec: Scd, columns: "Sequence[str]", hint: "Hint"
) -> Replacement:
    """Versions, later changes: they and the current version are merged, and replace it."""
    keys = hint(after.select(*spec.keys).distinct())
    new = versions(after.unionByName(state.where("is_current").join(keys, list(spec.keys), "left_semi")), spec, columns)
    return Replacement(new, lambda rows: _without(rows, new, spec, hint, "is_current"))


def merge_again(
    touched: "DataFrame",
    changes: "DataFrame",
    state: "DataFrame",
    spec: Scd,
    columns: "Sequence[str]",
    hint: "Hint",
) -> Replacement:
    """All changes of the touched keys are merged again; of the keys, those whose rows are others are replaced."""
    keys = list(spec.keys)
    merged = fold(changes.join(hint(touched), keys, "left_semi"), spec, columns).persist()
    changed = _changed(merged, state.join(hint(touched), keys, "left_semi"), spec, columns).persist()
    new = merged.join(hint(changed), keys, "left_semi").persist()
    return Replacement(new, lambda rows: _without(rows, changed, spec, hint), keys=changed, held=(new, changed, merged))


def _without(rows: "DataFrame", keys: "DataFrame", spec: Scd, hint: "Hint", only: str = "true") -> "DataFrame":
    """The rows but those of these keys for which `only` holds."""
    other, same = _same_key(keys, spec, hint)
    return rows.join(other, same & F.expr(only), "left_anti")


def _same_key(keys: "DataFrame", spec: Scd, hint: "Hint") -> "tuple[DataFrame, Column]":
    """The keys under names that no column has, and the condition that a row is of one of them."""
    of_key = {key: F.col(key).alias(f"_{key}") for key in spec.keys}
    other = hint(keys.select(*of_key.values(), F.lit(True).alias(ENDS)))
    return other, reduce(lambda a, b: a & b, [F.col(key) == F.col(f"_{key}") for key in of_key])


def _changed(merged: "DataFrame", state: "DataFrame", spec: Scd, columns: "Sequence[str]") -> "DataFrame":
    """Keys whose rows are others than they were."""
    compared = [name for name in columns if name not in RUN_COLUMNS]
    content = F.xxhash64(*compared, *[F.isnull(name) for name in compared]).cast("decimal(38,0)")
    now = merged.select(*spec.keys, content.alias("content"), F.lit(1).alias("one"))
    before = state.select(*spec.keys, (-content).alias("content"), F.lit(-1).alias("one"))
    sums = now.unionByName(before).groupBy(*spec.keys).agg(F.sum("content").alias("content"), F.sum("one").alias("one"))
    return sums.where("content != 0 OR one != 0").select(*spec.keys)
