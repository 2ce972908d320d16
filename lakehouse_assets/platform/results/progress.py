"""What a step says while it works: a line when it begins, when it ends, and every ten seconds how far Spark is."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from time import monotonic
from typing import TYPE_CHECKING

from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.results.step_result import Outcome, Status

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.connect.shell.progress import StageInfo

EVERY_SECONDS = 10.0
Say = Callable[[str], None]


def begins(table: TableKey, days: tuple[date, ...]) -> str:
    """The line at the beginning of a step."""
    return f"{table}: materializing {_days(len(days))}, {_range(days)}"


def ended(outcome: Outcome) -> str:
    """The line at the end of a step: its days by their status, and its rows."""
    by_status = {status: outcome.with_status(status) for status in Status}
    committed = by_status[Status.COMMITTED]
    unchanged = sum(day.unchanged for day in committed)
    empty = sum(not day.rows.rows_in for day in committed)
    parts = [f"{_days(len(committed))} committed in version {outcome.version}" if committed else "no day committed"]
    parts += [f"{unchanged} of them unchanged"] if unchanged else []
    parts += [f"{empty} of them without rows"] if empty else []
    parts += [f"{_days(len(days))} {status.value}" for status, days in by_status.items() if days and days != committed]
    rows = {
        "rows kept": sum(day.rows.kept for day in committed),
        "quarantined": sum(day.rows.quarantined for day in committed),
        "exact duplicates": sum(day.rows.duplicates for day in committed),
    }
    counted = ", ".join(f"{count:,} {name}" for name, count in rows.items() if count or name == "rows kept")
    return f"{outcome.table}: {', '.join(parts)}; {counted}"


def _days(count: int) -> str:
    return f"{count} day" if count == 1 else f"{count} days"


def _range(days: tuple[date, ...]) -> str:
    return str(days[0]) if len(days) == 1 else f"{days[0]}..{days[-1]}"


@dataclass
class SparkProgress:
    """A progress handler of a Spark Connect session: says every ten seconds how many tasks are done."""

    table: TableKey
    say: Say
    now: Callable[[], float] = monotonic
    last: float = field(init=False)

    def __post_init__(self) -> None:
        self.last = self.now()

    def __call__(
        self, stages: "Iterable[StageInfo] | None", inflight_tasks: int, operation_id: str | None, done: bool
    ) -> None:
        """What Spark calls every two seconds while it computes."""
        if done or self.now() < self.last + EVERY_SECONDS:
            return
        self.last = self.now()
        known = list(stages or ())
        tasks, all_tasks = sum(one.num_completed_tasks for one in known), sum(one.num_tasks for one in known)
        read = sum(one.num_bytes_read for one in known) / 1e6
        self.say(f"{self.table}: Spark finished {tasks} of {all_tasks} tasks, {read:,.1f} MB read")


@contextmanager
def spark_progress(spark: "SparkSession", table: TableKey, say: Say) -> Iterator[None]:
    """Say how far Spark is while the block computes."""
    handler = SparkProgress(table, say)
    spark.registerProgressHandler(handler)
    try:
        yield
    finally:
        spark.removeProgressHandler(handler)
