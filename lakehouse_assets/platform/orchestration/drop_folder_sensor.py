"""What is landed against what lies in the drop folder: a sensor per domain, which holds no run while it waits.

A file is taken when it has not changed for a while. A day whose files are all there is landed as one run; a file that
stays alone is landed alone after some patience. What is landed says the manifest; what was refused, the run that
refused it. So nothing is remembered of what was asked for, but how often in vain: a file that could not be landed for
a passing reason is asked for again, after pauses that grow. The cursor holds the files that wait, and no others.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import monotonic

import dagster as dg

from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import LANDING_LAYER, TableKey
from lakehouse_assets.platform.ingest.landing_status import FileState, LandedFiles, SeenFiles
from lakehouse_assets.platform.orchestration.drop_folder import (
    FILES_TAG,
    REFUSED_TAG,
    Dropped,
    SetAside,
    Sources,
    dropped_sources,
    files_in,
    job_name,
    refusal,
)
from lakehouse_assets.platform.orchestration.evaluations import one_at_a_time
from lakehouse_assets.platform.orchestration.run_records import DAYS_TAG, UNFINISHED
from lakehouse_assets.platform.planning.plan import landed_name
from lakehouse_assets.platform.storage.location import Location

TICK_SECONDS = 5
READING_SECONDS = 2.0
"""How long a tick compares contents with what is landed; it goes on with the next one."""
LONGEST_WAIT = timedelta(seconds=60)
LONGEST_PAUSE = timedelta(minutes=15)


@dataclass(frozen=True)
class Waiting:
    """A file that is not landed: as it is since when, and how often and when it was last asked for in vain."""

    state: FileState
    since: datetime
    asked: int = 0
    last: datetime | None = None

    def is_due(self, now: datetime) -> bool:
        """Whether to ask for it (again)."""
        pause = min(LONGEST_PAUSE, timedelta(seconds=TICK_SECONDS) * 2 ** min(self.asked, 12))
        return self.last is None or now >= self.last + pause


@dataclass
class DropFolder:
    """The drop folder of a domain, as a process knows it. `told`: what was set aside and said."""

    domain: str
    sources: Sources
    seen: SeenFiles = field(default_factory=SeenFiles)
    told: set[Path] = field(default_factory=set)

    def unlanded(
        self, instance: dg.DagsterInstance, landing: Location, files: Iterable[Dropped], ripe: Collection[Path]
    ) -> tuple[list[Dropped], list[Dropped]]:
        """The files that are neither landed nor refused as they are now, and those that there was no time to compare.

        Contents are read of new and changed files. One that was never landed is read when it is `ripe`, as it may
        still grow; until then it counts as unlanded.
        """
        deadline = monotonic() + READING_SECONDS
        left: list[Dropped] = []
        later: list[Dropped] = []
        landed: dict[str, LandedFiles] = {}
        for file in sorted(files, key=lambda file: file.day, reverse=True):
            if self.seen.is_settled(file.path, file.state):
                continue
            if file.table not in landed:
                name = landed_name(TableKey(self.domain, LANDING_LAYER, file.table))
                landed[file.table] = self.seen.landed(landing, name)
            compared = file.path in ripe or landed[file.table].knows(file.name)
            if compared and monotonic() > deadline:
                later.append(file)
            elif not compared or not self._is_settled_now(instance, landed[file.table], file):
                left.append(file)
        return left, later

    def _is_settled_now(self, instance: dg.DagsterInstance, landed: LandedFiles, file: Dropped) -> bool:
        try:
            sha256 = self.seen.sha256(file.path, file.state)
        except OSError:
            return False  # the job says why it cannot be read
        source = self.sources[file.table]
        tags = {f"{REFUSED_TAG}{file.table}": refusal(source, file, sha256, landed)}
        held = landed.holds(file.name, sha256, file.day)
        refused = not held and bool(instance.get_runs_count(dg.RunsFilter(tags=tags)))
        if held or (refused and source.most_missing is None):  # a snapshot's refusal ends with what it is compared with
            self.seen.settle(file.path, file.state)
        return held or refused

    def newly_aside(self, aside: Collection[SetAside]) -> list[SetAside]:
        """Those that were not told yet; what is gone is forgotten."""
        new = [one for one in aside if one.path not in self.told]
        self.told = {one.path for one in aside}
        return new


def ready(
    files: Iterable[Dropped], waiting: Mapping[Path, Waiting], tables: Iterable[str], now: datetime, settled: timedelta
) -> dict[date, list[Dropped]]:
    """What of the `waiting` files may be landed now, by day: those of a day that is whole and quiet; or alone."""
    complete = set(tables)
    by_day: dict[date, list[Dropped]] = {}
    for file in files:
        by_day.setdefault(file.day, []).append(file)
    found = {}
    for day, dropped in by_day.items():
        age = {file: now - waiting[file.path].since for file in dropped if file.path in waiting}
        whole = {file.table for file in dropped} == complete and all(one >= settled for one in age.values())
        taken = [file for file, one in age.items() if whole or one >= max(settled, LONGEST_WAIT)]
        if taken:
            found[day] = taken
    return found


def drop_sensor(domain: str, catalog: Catalog, job: dg.JobDefinition) -> dg.SensorDefinition:
    """Watches the drop folder of a domain. On by default; a tick without anything to land says what it waits for."""
    folders: dict[tuple[Path, Location], DropFolder] = {}

    @dg.sensor(
        name=f"{domain}_drop",
        description="Requests the landing of dropped files: a complete day, or an incomplete one after a minute.",
        job=job,
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    @one_at_a_time
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        from lakehouse_assets.settings import settings

        here, now = settings(), datetime.now(UTC)
        sources, folder = dropped_sources(catalog, domain), here.drop_folder / domain
        known = folders.setdefault((folder, here.landing), DropFolder(domain, sources))
        under_way = _days_under_way(context.instance, domain)  # first: what ends from here on is seen as landed
        found = list(files_in(folder, sources, now))
        files = [one for one in found if isinstance(one, Dropped)]
        aside = [one for one in found if isinstance(one, SetAside)]
        for one in known.newly_aside(aside):
            context.log.warning(f"Set aside: {one}")
        known.seen.forget_others({file.path for file in files})
        before = _read_cursor(context.cursor)
        waiting = {
            file.path: was if (was := before.get(file.path)) and was.state == file.state else Waiting(file.state, now)
            for file in files
            if not known.seen.is_settled(file.path, file.state)
        }
        settled = timedelta(seconds=here.debounce_seconds)
        ripe = {file.path for taken in ready(files, waiting, sources, now, settled).values() for file in taken}
        left, later = known.unlanded(context.instance, here.landing, files, ripe)
        waiting = {file.path: waiting[file.path] for file in (*left, *later)}
        taken = {
            day: chosen
            for day, dropped in ready(files, waiting, sources, now, settled).items()
            if str(day) not in under_way
            and (chosen := [f for f in dropped if f in left and waiting[f.path].is_due(now)])
        }
        for file in (file for dropped in taken.values() for file in dropped):
            waiting[file.path] = replace(waiting[file.path], asked=waiting[file.path].asked + 1, last=now)
        if taken:
            requests = [_request(day, dropped) for day, dropped in taken.items()]
            return dg.SensorResult(run_requests=requests, cursor=cursor_of(waiting))
        context.update_cursor(cursor_of(waiting))
        yesterday = max(source.days.today(now) for source in sources.values()) - timedelta(days=1)
        return dg.SkipReason(_why(folder, files, [*left, *later], aside, yesterday))

    return sensor


def _days_under_way(instance: dg.DagsterInstance, domain: str) -> set[str]:
    runs = instance.get_runs(filters=dg.RunsFilter(job_name=job_name(domain), statuses=UNFINISHED))
    return {run.tags.get("dagster/partition", "") for run in runs}


def _request(day: date, files: list[Dropped]) -> dg.RunRequest:
    tags = {DAYS_TAG: str(day), FILES_TAG: ",".join(file.table for file in files)}
    return dg.RunRequest(partition_key=str(day), tags=tags)


def cursor_of(waiting: Mapping[Path, Waiting]) -> str:
    """Files that wait: their states and times."""
    return json.dumps(
        {
            str(path): (one.state, one.since.isoformat(), one.asked, one.last.isoformat() if one.last else None)
            for path, one in waiting.items()
        }
    )


def _read_cursor(cursor: str | None) -> dict[Path, Waiting]:
    """What `cursor_of` wrote. One of a version before says nothing: what it knew is asked of the manifest."""
    found = {}
    for path, message in json.loads(cursor or "{}").items():
        if isinstance(message, list) and len(message) == 4:
            (inode, size, written, changed), since, asked, last = message
            state = (inode, size, written, changed)
            ended = datetime.fromisoformat(last) if last else None
            found[Path(path)] = Waiting(state, datetime.fromisoformat(since), asked, ended)
    return found


def _why(folder: Path, files: list[Dropped], left: list[Dropped], aside: list[SetAside], yesterday: date) -> str:
    also = f" Set aside: {'; '.join(map(str, aside[:4]))}{f' and {len(aside) - 4} more' if aside[4:] else ''}"
    also = also if aside else ""
    if left:
        return f"Waiting for {', '.join(file.name for file in left[:4])} to be complete.{also}"
    if not any(file.day == yesterday for file in files):
        return f"Nothing new in {folder}; there are no files of {yesterday}.{also}"
    return f"Nothing new in {folder}.{also}"
