"""What fires what: a sensor per domain that compares levels, and a schedule that makes yesterday for every source.

A tick reads the Delta logs on, finds what is behind (`levels.py`) and asks for it: together with everything downstream,
as one run per contiguous range of days. It asks for nothing while a run that concerns the table is under way, and for
the same level at most three times: then for each half of the range, so that a day that stops a run does not keep the
others waiting. What keeps failing waits for a person, or for its inputs to change.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from time import monotonic, sleep

import dagster as dg
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES

from lakehouse_assets.platform.catalog import Catalog
from lakehouse_assets.platform.days import DayRange, ranges
from lakehouse_assets.platform.levels import Levels
from lakehouse_assets.platform.plan import Lake
from lakehouse_assets.platform.table import LANDING_LAYER, Span, Table, TableKey

TICK_SECONDS = 5
TRIES = 3
SPLITS = 3  # of a failed range, each into halves: as soon as a part is made, what is left is split on
READING_SECONDS = 0.8
READING = "Reading the Delta logs for the first time; going on with the next tick."
ZERO = timedelta(0)
PATIENCE = timedelta(seconds=30)
LEVEL_TAG = "lakehouse/level"
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
Waiting = Mapping[TableKey, Mapping[date, datetime]]
UNFINISHED = [*IN_PROGRESS_RUN_STATUSES, dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED]


@dataclass(frozen=True)
class Request:
    """Tables to make together for one range of days."""

    tables: tuple[TableKey, ...]
    days: DayRange

    def run_request(self, level: str) -> dg.RunRequest:
        """As Dagster takes it. `level` names what the inputs are now."""
        return dg.RunRequest(
            asset_selection=[dg.AssetKey(key.parts) for key in self.tables],
            tags={RANGE_START: str(self.days.first), RANGE_END: str(self.days.last), LEVEL_TAG: level},
        )


def requests(tables: Iterable[Table], behind: Mapping[TableKey, frozenset[date]]) -> Iterator[Request]:
    """Runs to ask for, from the days that are behind, upstream first.

    A table that reads exactly what is made anyway joins the run of its inputs; where inputs are behind on other days
    than each other, it waits for them: it will be behind when they are made.
    """
    planned: dict[TableKey, frozenset[date]] = {}
    groups: dict[frozenset[date], list[TableKey]] = {}
    for table in _upstream_first(tables):
        upstream = {days for read in table.reads.values() if (days := planned.get(read.table))}
        wanted = behind.get(table.key, frozenset()).union(*upstream)
        if not wanted or len(upstream) > 1 or (upstream and wanted not in upstream):
            continue
        planned[table.key] = wanted
        groups.setdefault(wanted, []).append(table.key)
        for companion in table.companions:
            groups[wanted].append(companion.key)
    for days, keys in groups.items():
        for part in ranges(days):
            yield Request(tuple(keys), part)


def _upstream_first(tables: Iterable[Table]) -> list[Table]:
    left, done = {table.key: table for table in tables}, list[Table]()
    while left:
        ready = [t for t in left.values() if not any(r.table in left and r.table != t.key for r in t.reads.values())]
        done += sorted(ready, key=lambda table: table.key)
        for table in ready:
            del left[table.key]
    return done


def level_sensor(domain: str, catalog: Catalog) -> dg.SensorDefinition:
    """The sensor of a domain's tables. On by default; a tick that finds nothing behind says so."""
    tables = [table for table in catalog.tables if table.key.domain == domain]
    companions = {companion.key for table in tables for companion in table.companions}
    own = [table for table in tables if table.key not in companions]
    levels: dict[Lake, Levels] = {}
    unquiet: dict[Lake, datetime] = {}  # since when a tick has waited for a series of changes to end

    @dg.sensor(
        name=f"{domain}_levels",
        description="Compares what every day was built from with what its inputs are now, and asks for what is behind.",
        target=dg.AssetSelection.assets(*[dg.AssetKey(table.key.parts) for table in tables]),
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        from lakehouse_assets.settings import settings

        here = settings()
        lake = Lake(here.lake, here.landing)
        known = levels.setdefault(lake, Levels(lake, Catalog(tuple(own))))
        if not known.read_on(monotonic() + READING_SECONDS):
            return dg.SkipReason(READING)
        quiet = timedelta(seconds=here.quiet_seconds)
        waiting = _waiting(known, own, context.instance)
        if (left := _unquiet(waiting, quiet)) > ZERO:
            sleep(min(left.total_seconds(), TICK_SECONDS))  # rather than until the next tick
            if not known.read_on(monotonic() + READING_SECONDS):
                return dg.SkipReason(READING)
            waiting = _waiting(known, own, context.instance)
        now = datetime.now(UTC)
        if _unquiet(waiting, quiet) > ZERO and now - unquiet.setdefault(lake, now) < PATIENCE:
            return dg.SkipReason("Inputs are changing right now: waiting for them to be quiet.")
        unquiet.pop(lake, None)
        today = now.date()  # a record from the future waits for its day
        behind = {key: frozenset(day for day in days if day <= today) for key, days in waiting.items()}
        found = list(requests([table for table in own if table.key in behind], behind))
        new = [asked for request in found for asked in _untried(request, known, catalog, context.instance)]
        if new:
            return dg.SensorResult(run_requests=new)
        return dg.SkipReason(f"{len(found)} ranges failed {TRIES} times" if found else "Nothing is behind.")

    return sensor


def yesterday_schedule(domain: str, catalog: Catalog) -> dg.ScheduleDefinition:
    """Make yesterday of every table of a domain, also where nothing was landed: then the day is empty, visibly."""
    made = [dg.AssetKey(table.key.parts) for table in catalog.tables if table.key.domain == domain]

    @dg.schedule(
        name=f"{domain}_yesterday",
        description="D-1: materializes yesterday of every table; a day without files is an empty day.",
        cron_schedule="15 3 * * *",
        execution_timezone="UTC",
        target=dg.AssetSelection.assets(*made),
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        day = context.scheduled_execution_time.date() - timedelta(days=1)
        # The selection is said, so that the sensors see what the run makes.
        return dg.RunRequest(run_key=str(day), partition_key=str(day), asset_selection=made)

    return schedule


def _waiting(levels: Levels, tables: Iterable[Table], instance: dg.DagsterInstance) -> Waiting:
    """Per table the days that are behind, and since when; nothing of a table that a run under way concerns."""
    busy = _busy(instance)
    return {table.key: levels.behind(table) for table in tables if not _concerned(table, busy)}


def _unquiet(waiting: Waiting, quiet: timedelta) -> timedelta:
    """How long it takes until the newest change is `quiet` old."""
    newest = max((at for days in waiting.values() for at in days.values()), default=None)
    return quiet - (datetime.now(UTC) - newest) if newest else ZERO


def _busy(instance: dg.DagsterInstance) -> set[TableKey]:
    """Tables that an unfinished run makes."""
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED))
    keys = (key for run in runs for key in run.asset_selection or ())
    return {TableKey.parse("/".join(key.path)) for key in keys if len(key.path) == 3}


def _concerned(table: Table, busy: set[TableKey]) -> bool:
    """Whether a run under way makes this table or something that it reads."""
    return table.key in busy or any(read.table in busy for read in table.reads.values())


def _level(request: Request, levels: Levels, catalog: Catalog) -> str:
    """A name for what is asked and for the versions of its inputs, so that the same failure is not tried for ever."""
    inputs = sorted(
        (str(read.table), levels.of(read.table).newest_change(*read.bounds(request.days.first, request.days.last)))
        for key in request.tables
        for read in catalog.table(key).reads.values()
        if read.span is not Span.WHOLE and (read.table.layer == LANDING_LAYER or read.table not in request.tables)
    )
    return hashlib.sha256(repr((request, inputs)).encode()).hexdigest()[:16]


def _untried(
    request: Request, levels: Levels, catalog: Catalog, instance: dg.DagsterInstance, splits: int = SPLITS
) -> Iterator[dg.RunRequest]:
    """The request; where it was tried often enough, its halves."""
    asked = request.run_request(_level(request, levels, catalog))
    if not _tried_enough(instance, asked.tags[LEVEL_TAG]):
        yield asked
    elif splits:
        for half in request.days.halves():
            yield from _untried(replace(request, days=half), levels, catalog, instance, splits - 1)


def _tried_enough(instance: dg.DagsterInstance, level: str) -> bool:
    return len(instance.get_run_records(filters=dg.RunsFilter(tags={LEVEL_TAG: level}), limit=TRIES)) >= TRIES
