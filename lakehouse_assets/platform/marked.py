"""The candidate rows of a step, marked by its contract: held in memory, or computed again when they are written.

Which rows are duplicates, or have the key of another, is found by sorting all of them, which of millions of wide rows
is most of the work. So of many rows it is first counted, by hash or key alone, which repeat; only those are sorted.
The hash of a row is of all its source columns (`parse.py`): where it is the same, so is a key made of these.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.errors import PySparkException

from lakehouse_assets.platform.compiled import CompiledContract
from lakehouse_assets.platform.conform import check_conforms
from lakehouse_assets.platform.evaluate import BROKEN, DAY, LEAVES, is_key_asked, kept, mark, typed

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

MOST_REPEATED = 200_000
"""So many hashes or keys are sent to every task; of more, all rows are sorted."""


@dataclass(frozen=True)
class Marked:
    """Candidate rows, marked (see `mark`). `bad`: those that broke a rule.

    `hold`: all of them are held in memory once they were counted. Else the bad ones are, once they were looked at, and
    the good ones are computed again when they are written, without a look at any rule if all of them stay.
    """

    contract: CompiledContract
    candidate: "DataFrame"
    all: "DataFrame"
    bad: "DataFrame"
    hold: bool

    def kept(self, *, all_stay: bool) -> "DataFrame":
        """The rows of the table; `all_stay`: it was counted that none leaves and none is a duplicate."""
        if all_stay and not self.hold:
            return typed(self.candidate, self.contract)
        return kept(self.all, self.contract)


@contextmanager
def marked(
    candidate: "DataFrame",
    contract: CompiledContract,
    duplicates_of: tuple[str, ...] | None,
    *,
    hold: bool,
    many: bool,
) -> Iterator[Marked]:
    """Mark the rows, held as long as the context. Of `many` it is looked which repeat; nothing else is computed yet.

    Raises as `mark`.
    """
    from pyspark.sql import functions as F

    with ExitStack() as held:
        every = _mark_apart(candidate, contract, duplicates_of, held) if many else None
        if every is None:
            every = mark(candidate, contract, duplicates_of=duplicates_of)
        bad = every.where(F.col(LEAVES) | (F.size(BROKEN) > 0))
        _persist(every if hold else bad, held)
        yield Marked(contract, candidate, every, bad, hold)


def _persist(frame: "DataFrame", until: ExitStack) -> "DataFrame":
    until.callback(_release, frame)
    return frame.persist()


def _release(frame: "DataFrame") -> None:
    """A server that is gone holds nothing; what was committed before it went stays committed."""
    with suppress(PySparkException):
        frame.unpersist()


def _mark_apart(
    candidate: "DataFrame", contract: CompiledContract, duplicates_of: tuple[str, ...] | None, held: ExitStack
) -> "DataFrame | None":
    """What `mark` gives, where only rows that repeat are sorted; None where most of them may."""
    check_conforms(candidate.schema, contract)
    found = []
    for by in _compared(contract, duplicates_of):
        repeated = _persist(candidate.groupBy(*by).count().where("count > 1").select(*by), held)
        number = repeated.count()
        if number > MOST_REPEATED:
            return None
        if number:
            found.append((by, repeated))
    if not found:
        return mark(candidate, contract, duplicates_of=duplicates_of, none_repeats=True)
    repeats, others = _apart(candidate, found)
    of_others = mark(others, contract, duplicates_of=duplicates_of, none_repeats=True)
    return of_others.unionByName(mark(repeats, contract, duplicates_of=duplicates_of))


def _compared(contract: CompiledContract, duplicates_of: tuple[str, ...] | None) -> list[tuple[str, ...]]:
    """By what rows repeat. A key of the source's columns is the same where the hash of all of them is."""
    by_key = [(DAY, *contract.key)] if is_key_asked(contract, duplicates_of) else []
    if duplicates_of and not (by_key and set(contract.key) <= {DAY, *contract.source_columns}):
        return [duplicates_of, *by_key]
    return by_key


def _apart(candidate: "DataFrame", found: "list[tuple[tuple[str, ...], DataFrame]]") -> "tuple[DataFrame, DataFrame]":
    """The rows that repeat, and the others. NULL is equal to NULL."""
    from pyspark.sql import functions as F

    joined, flags = candidate, []
    for number, (by, repeated) in enumerate(found):
        flag, names = f"_repeats_{number}", {name: f"_{number}_{name}" for name in by}
        few = repeated.select(*[F.col(name).alias(other) for name, other in names.items()], F.lit(True).alias(flag))
        same = reduce(lambda a, b: a & b, [F.col(name).eqNullSafe(F.col(other)) for name, other in names.items()])
        joined = joined.join(F.broadcast(few), same, "left")
        flags.append(F.col(flag).isNotNull())
    repeats = reduce(lambda a, b: a | b, flags)
    return joined.where(repeats).select(*candidate.columns), joined.where(~repeats).select(*candidate.columns)
