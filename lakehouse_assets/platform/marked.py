"""The candidate rows of a step, marked by its contract: held in memory, or computed again when they are written.

Which rows are duplicates, or have the key of another, is found by sorting all of them, which of millions of wide rows
is most of the work. So of many rows it is looked first, by the key alone, whether any does; mostly none does.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.errors import PySparkException

from lakehouse_assets.platform.compiled import CompiledContract
from lakehouse_assets.platform.conform import check_conforms
from lakehouse_assets.platform.evaluate import BROKEN, DAY, LEAVES, kept, mark, typed

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


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
    """Mark the rows, held as long as the context. Of `many` it is looked whether one repeats another; nothing else is
    computed yet. Raises as `mark`.
    """
    from pyspark.sql import functions as F

    none_repeats = many and _none_repeats(candidate, contract)
    every = mark(candidate, contract, duplicates_of=duplicates_of, none_repeats=none_repeats)
    bad = every.where(F.col(LEAVES) | (F.size(BROKEN) > 0))
    held = every if hold else bad
    held.persist()
    try:
        yield Marked(contract, candidate, every, bad, hold)
    finally:
        with suppress(PySparkException):  # a server that is gone holds nothing; what was committed stays committed
            held.unpersist()


def _none_repeats(candidate: "DataFrame", contract: CompiledContract) -> bool:
    """Whether it is sure that no row has the key of another. Only a key of the source's columns is looked at: it costs
    little, and rows of one hash, which is of all these columns (`parse.py`), have one key.

    Keys are told apart by 64 bits, which are less to carry about; two keys of the same bits only cost the sort.
    """
    from pyspark.sql import functions as F

    if not contract.key or not set(contract.key) <= {DAY, *contract.source_columns}:
        return False
    check_conforms(candidate.schema, contract)
    keys = candidate.select(F.xxhash64(DAY, *contract.key).alias("key"))
    return not keys.groupBy("key").count().where("count > 1").limit(1).collect()
