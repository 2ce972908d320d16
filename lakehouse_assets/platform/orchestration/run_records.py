"""What Dagster's run records say to a sensor: what is under way, and how often the same was tried without success.

A sensor looks at the runs first and at the data then: of a run that ends in between, what it made is seen. The other
way round its range is asked for once more.

Nothing remembers that something was asked for. What is still behind is asked for again, after a pause that doubles
with every run of the same level: a failure that passes passes by itself, one that stays costs a run every half hour.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES

from lakehouse_assets.platform.declare.table import TableKey

LEVEL_TAG = "lakehouse/level"
DAYS_TAG = "days"
"""Of a run, for people: Dagster's list of runs shows the first tags of the alphabet, its own apart."""
TRIES = 3  # of the same; then it is asked for in parts, and somebody is told
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=15), timedelta(minutes=30)
COUNTED = 12  # runs of a level: by then the pause is the longest
UNFINISHED = [*IN_PROGRESS_RUN_STATUSES, dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED]


@dataclass(frozen=True)
class Attempts:
    """The runs of a level: how many, how many of them failed, when the newest ended, and whether one is under way."""

    runs: int = 0
    failed: int = 0
    ended: datetime | None = None
    under_way: bool = False

    def due(self, now: datetime) -> bool:
        """Whether to try now (again): nothing of it is under way, and the pause since the newest is over."""
        if self.under_way:
            return False
        return self.ended is None or self.ended + pause(self.runs) <= now


def pause(runs: int) -> timedelta:
    """How long to wait after so many runs of the same level."""
    return min(FIRST_PAUSE * 2 ** max(runs - 1, 0), LONGEST_PAUSE)


def attempts(instance: dg.DagsterInstance, level: str) -> Attempts:
    """What was tried of a level."""
    records = instance.get_run_records(filters=dg.RunsFilter(tags={LEVEL_TAG: level}), limit=COUNTED)
    statuses = [record.dagster_run.status for record in records]
    ended = [
        datetime.fromtimestamp(record.end_time, UTC) if record.end_time else record.update_timestamp
        for record in records
        if record.dagster_run.status not in UNFINISHED
    ]
    return Attempts(
        runs=len(records),
        failed=statuses.count(dg.DagsterRunStatus.FAILURE),
        ended=max(ended, default=None),
        under_way=any(status in UNFINISHED for status in statuses),
    )


def assets_under_way(instance: dg.DagsterInstance) -> frozenset[dg.AssetKey]:
    """The assets that an unfinished run makes: those that it selects, or all of a job that selects none."""
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED))
    return frozenset(key for run in runs for key in run.asset_selection or _planned(instance, run.run_id))


def _planned(instance: dg.DagsterInstance, run_id: str) -> list[dg.AssetKey]:
    """The assets that a run planned to make when it was created."""
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED).records
    events = [record.event_log_entry.dagster_event for record in records]
    return [event.asset_key for event in events if event is not None and event.asset_key is not None]


def levels_under_way(instance: dg.DagsterInstance, job: str) -> frozenset[str]:
    """The levels of which an unfinished run of a job is."""
    runs = instance.get_runs(filters=dg.RunsFilter(job_name=job, statuses=UNFINISHED))
    return frozenset(run.tags.get(LEVEL_TAG, "") for run in runs)


def tables_under_way(instance: dg.DagsterInstance) -> frozenset[TableKey]:
    """The tables that an unfinished run makes."""
    keys = assets_under_way(instance)
    return frozenset(TableKey.parse("/".join(key.path)) for key in keys if len(key.path) == 3)
