"""What fires what: a sensor per domain that compares levels, and a schedule that makes yesterday for every source.

A tick looks which runs are under way, reads the Delta logs on, finds what is behind (`staleness.py`) and asks for it:
together with everything downstream, as one run per contiguous range of days. It asks for nothing while a run that
concerns the table is under way, and for what failed after growing pauses (`run_records.py`), after three tries for each
half of the range, so that a day that stops a run does not keep the others waiting.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from time import monotonic, sleep
from typing import Self
from zoneinfo import ZoneInfo

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._time import get_current_datetime

from lakehouse_assets.platform.common.days import ONE_DAY, DayRange, ranges, write_days
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import LANDING_LAYER, Table, TableKey
from lakehouse_assets.platform.fingerprint.code_version import code_version
from lakehouse_assets.platform.orchestration.evaluations import one_at_a_time
from lakehouse_assets.platform.orchestration.run_records import (
    DAYS_TAG,
    LEVEL_TAG,
    TRIES,
    Attempts,
    attempts,
    tables_under_way,
)
from lakehouse_assets.platform.orchestration.staleness import Staleness
from lakehouse_assets.platform.planning.plan import Lake

TICK_SECONDS = 5
YESTERDAY_HOUR = 3  # of the clock of the domain
SPLITS = 3  # of a failed range, each into halves: as soon as a part is made, what is left is split on
READING_SECONDS = 0.8
NOTHING = "Nothing is behind."
OUTSIDE = (
    "before the first partition, so nothing makes these days. Reload the code location: then they are partitions. If "
    "they lie in a bucket, set LAKEHOUSE_FIRST_DAYS to the first of them as well."
)
READING = "Reading the Delta logs for the first time; going on with the next tick."
ZERO = timedelta(0)
LONGEST_WAIT = timedelta(seconds=30)
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
Waiting = Mapping[TableKey, Mapping[date, datetime]]


@dataclass(frozen=True)
class Request:
    """Tables to make together for one range of days."""

    tables: tuple[TableKey, ...]
    days: DayRange

    @classmethod
    def of(cls, asked: dg.RunRequest) -> Self:
        """What `run_request` asked for."""
        tables = tuple(TableKey.parse("/".join(key.path)) for key in asked.asset_selection or ())
        return cls(tables, DayRange.parse(f"{asked.tags[RANGE_START]}..{asked.tags[RANGE_END]}"))

    def run_request(self, level: str) -> dg.RunRequest:
        """As Dagster takes it. `level` names what the inputs are now."""
        return dg.RunRequest(
            asset_selection=[dg.AssetKey(key.parts) for key in self.tables],
            tags={
                DAYS_TAG: str(self.days),
                RANGE_START: str(self.days.first),
                RANGE_END: str(self.days.last),
                LEVEL_TAG: level,
            },
        )


def requests(tables: Iterable[Table], stale_days: Mapping[TableKey, frozenset[date]]) -> Iterator[Request]:
    """Runs to ask for, from the days that are behind, upstream first.

    A table that reads exactly what is made anyway joins the run of its inputs; where inputs are behind on other days
    than each other, it waits for them: it will be behind when they are made.
    """
    planned: dict[TableKey, frozenset[date]] = {}
    groups: dict[frozenset[date], list[TableKey]] = {}
    for table in _upstream_first(tables):
        upstream = {days for read in table.reads.values() if (days := planned.get(read.table))}
        wanted = stale_days.get(table.key, frozenset()).union(*upstream)
        if not wanted or len(upstream) > 1 or (upstream and wanted not in upstream):
            continue
        planned[table.key] = wanted
        groups.setdefault(wanted, []).append(table.key)
        for companion in table.co_materialized:
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


def made_of_their_own(domain: str, catalog: Catalog) -> list[Table]:
    """The tables of a domain that have a step of their own: companions are made with theirs."""
    tables = [table for table in catalog.tables if table.key.domain == domain]
    co_materialized = {companion.key for table in tables for companion in table.co_materialized}
    return [table for table in tables if table.key not in co_materialized]


def staleness_sensor(
    domain: str, catalog: Catalog, job: UnresolvedAssetJobDefinition, first: date = date.min
) -> dg.SensorDefinition:
    """The sensor of a domain's tables, whose partitions begin on `first`. On by default; an idle tick says why."""
    own = made_of_their_own(domain, catalog)
    staleness: dict[Lake, Staleness] = {}
    unsettled_since: dict[Lake, datetime] = {}  # since when a tick has waited for a series of changes to end

    @dg.sensor(
        name=f"{domain}_staleness",
        description="Requests runs for partitions whose upstream tables changed after they were last materialized.",
        job=job,
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    @one_at_a_time
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        from lakehouse_assets.settings import settings

        here = settings()
        lake = Lake(here.lake, here.landing)
        known = staleness.setdefault(lake, Staleness(lake, Catalog(tuple(own))))
        settled = timedelta(seconds=here.debounce_seconds)
        waiting = _waiting(known, own, context.instance)
        if waiting is not None and (left := _not_debounced(waiting, settled)) > ZERO:
            sleep(min(left.total_seconds(), TICK_SECONDS))  # rather than until the next tick
            waiting = _waiting(known, own, context.instance)
        if waiting is None:
            return dg.SkipReason(READING)
        now = datetime.now(UTC)
        if _not_debounced(waiting, settled) > ZERO and now - unsettled_since.setdefault(lake, now) < LONGEST_WAIT:
            return dg.SkipReason("Inputs are changing right now: waiting for them to be quiet.")
        unsettled_since.pop(lake, None)
        outside = {day for days in waiting.values() for day in days if day < first}
        inside = {key: {day: at for day, at in days.items() if day >= first} for key, days in waiting.items()}
        tried = _tried(known, own, catalog, inside, context.instance)
        due = [asked for asked, before in tried if before.due(get_current_datetime())]
        if due:
            return dg.SensorResult(run_requests=due)
        if tried:
            return dg.SkipReason(f"{len(tried)} ranges were tried and wait to be tried again.")
        return dg.SkipReason(f"{write_days(outside)}: {OUTSIDE}" if outside else NOTHING)

    return sensor


def yesterday_schedule(domain: str, catalog: Catalog, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Make what is stale or absent of yesterday, also where nothing was landed: then the day is empty, visibly.

    It runs by the clock of the time zone of the domain's days: soon after a day has ended there.
    """
    own = made_of_their_own(domain, catalog)
    staleness: dict[Lake, Staleness] = {}

    @dg.schedule(
        name=f"{domain}_yesterday",
        description="D-1: makes yesterday of every table that has not got it; a day without files is an empty day.",
        cron_schedule=f"15 {YESTERDAY_HOUR}-23 * * *",  # the first does it, the others make up for one that failed
        execution_timezone=catalog.zone(domain),
        job=job,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    @one_at_a_time
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        from lakehouse_assets.settings import settings

        here = settings()
        lake = Lake(here.lake, here.landing)
        day = catalog.today(domain, context.scheduled_execution_time) - ONE_DAY
        ended = datetime.combine(day + ONE_DAY, time.min, ZoneInfo(catalog.zone(domain)))
        known = staleness.setdefault(lake, Staleness(lake, Catalog(tuple(own))))
        busy = tables_under_way(context.instance)
        known.refresh()
        missing = [*_without(known, own, day)]
        missing += [t for t in own if t.stream and t not in missing and not _drained(known, t, day, ended)]
        if not missing:
            return dg.SkipReason(f"Every table has {day}.")
        if any(_concerned(table, busy) for table in missing):
            return dg.SkipReason("A run is under way. What it does not make is made by the next evaluation.")
        # The selection is said, so that the sensors see what the run makes.
        made = [dg.AssetKey(key.parts) for table in missing for key in _with_co_materialized(table)]
        return dg.RunRequest(partition_key=str(day), asset_selection=made, tags={DAYS_TAG: str(day)})

    return schedule


def stuck(
    staleness: Staleness, domain: str, catalog: Catalog, instance: dg.DagsterInstance
) -> tuple[dict[TableKey, frozenset[date]], list[Request]]:
    """What is behind of a domain, and what of it was asked for and failed three times or more, the first first.

    Also while one more is under way.
    """
    own = made_of_their_own(domain, catalog)
    waiting = {table.key: staleness.stale_days(table) for table in own}
    tried = _tried(staleness, own, catalog, waiting, instance)
    failing = [Request.of(asked) for asked, before in tried if before.failed >= TRIES]
    return {key: frozenset(days) for key, days in waiting.items()}, failing


def _without(staleness: Staleness, tables: Collection[Table], day: date) -> list[Table]:
    """Tables that have not got the day, or an old one, and what reads them; not what cannot be made now."""
    found: dict[TableKey, Table] = {}
    for table in _upstream_first(tables):
        stale = staleness.stale(table).get(day, {})
        has_it = staleness.of(table.key).made(table, day) and not any(r.table in found for r in table.reads.values())
        if (stale or not has_it) and staleness.to_make(table, {day: stale}):
            found[table.key] = table
    return list(found.values())


def _drained(staleness: Staleness, table: Table, day: date, ended: datetime) -> bool:
    """Whether a step made the day of a stream's table, good or bad, after its end: it drained the stream first."""
    built, failure = staleness.of(table.key).built.get(day), staleness.failures(table.key).get(day)
    return any(one is not None and one.at >= ended for one in (built, failure))


def _with_co_materialized(table: Table) -> list[TableKey]:
    return [table.key, *(companion.key for companion in table.co_materialized)]


def _waiting(staleness: Staleness, tables: Iterable[Table], instance: dg.DagsterInstance) -> Waiting | None:
    """Per table the days that are behind, and since when; nothing of a table that a run under way concerns.

    None: the logs are not all read yet. The runs come first: what one that ends meanwhile has made is seen then.
    """
    busy = tables_under_way(instance)
    if not staleness.refresh(monotonic() + READING_SECONDS):
        return None
    busy |= tables_under_way(instance)  # also what began meanwhile
    return {table.key: staleness.stale_days(table) for table in tables if not _concerned(table, busy)}


def _not_debounced(waiting: Waiting, settled: timedelta) -> timedelta:
    """How long it takes until the newest change is `settled` old."""
    newest = max((at for days in waiting.values() for at in days.values()), default=None)
    return settled - (datetime.now(UTC) - newest) if newest else ZERO


def _concerned(table: Table, busy: Collection[TableKey]) -> bool:
    """Whether a run under way makes this table or something that it reads."""
    return table.key in busy or any(read.table in busy for read in table.reads.values())


def _staleness_of(request: Request, staleness: Staleness, catalog: Catalog) -> str:
    """A name for what is asked, for the code that makes it and for what its inputs are."""
    inputs = sorted(
        (str(read.table), change.version, change.at.isoformat())
        for key in request.tables
        for read in catalog.table(key).reads.values()
        if read.table.layer == LANDING_LAYER or read.table not in request.tables
        if (change := staleness.of(read.table).newest_change(*read.bounds(request.days.first, request.days.last)))
    )
    code = [code_version(catalog.table(key)) for key in request.tables]
    return hashlib.sha256(repr((request, code, inputs)).encode()).hexdigest()[:16]


def _tried(
    staleness: Staleness, tables: Iterable[Table], catalog: Catalog, waiting: Waiting, instance: dg.DagsterInstance
) -> list[tuple[dg.RunRequest, Attempts]]:
    """The runs that would make what is behind, and what was tried of each."""
    now = datetime.now(UTC)  # a record from the future waits for its day, in the time zone of its domain
    today = {domain: catalog.today(domain, now) for domain in {key.domain for key in waiting}}
    stale_days = {key: frozenset(day for day in days if day <= today[key.domain]) for key, days in waiting.items()}
    found = requests([table for table in tables if table.key in stale_days], stale_days)
    return [tried for request in found for tried in _in_parts(request, staleness, catalog, instance)]


def _in_parts(
    request: Request, staleness: Staleness, catalog: Catalog, instance: dg.DagsterInstance, splits: int = SPLITS
) -> Iterator[tuple[dg.RunRequest, Attempts]]:
    """The request; where it was tried often enough, its halves."""
    asked = request.run_request(_staleness_of(request, staleness, catalog))
    before = attempts(instance, asked.tags[LEVEL_TAG])
    halves = request.days.halves() if splits and before.runs >= TRIES else ()
    if not halves:
        yield asked, before
    for half in halves:
        yield from _in_parts(replace(request, days=half), staleness, catalog, instance, splits - 1)
