"""The sensor over the Delta logs: commits that Dagster has not heard of are checked, if need be, and reported.

It covers what a run cannot do for itself: a run killed between its commit and its events, and commits by others (a
notebook, a job elsewhere). Files that were landed are reported too, so that their days show in the UI. The cursor is
only a place to read on from: lost, the logs are read again; days of runs are not reported twice, landed files and
what streams brought are.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import date
from time import monotonic

import dagster as dg
from dagster import DagsterEventType
from dagster._core.definitions.data_version import DATA_VERSION_IS_USER_PROVIDED_TAG, DATA_VERSION_TAG
from dagster._time import get_current_datetime

from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import Table, TableKey
from lakehouse_assets.platform.ingest.landing import manifest_path, parts
from lakehouse_assets.platform.orchestration.asset_events import data_version, day_events
from lakehouse_assets.platform.orchestration.evaluations import one_at_a_time
from lakehouse_assets.platform.orchestration.external_commits import recover, validate
from lakehouse_assets.platform.orchestration.run_records import LEVEL_TAG, UNFINISHED, attempts, levels_under_way
from lakehouse_assets.platform.orchestration.staleness import Staleness
from lakehouse_assets.platform.orchestration.staleness_sensor import READING, READING_SECONDS
from lakehouse_assets.platform.planning.plan import Lake, landed_name
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.results.step_result import Outcome
from lakehouse_assets.platform.storage.commit_actions import rows_per_day
from lakehouse_assets.platform.storage.commit_log import Entry, newest_version, read_entry, unvalidated
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, Kind
from lakehouse_assets.platform.storage.location import Location

TICK_SECONDS = 5
ENTRIES_PER_TICK = 200
EXTERNAL_COMMITS_JOB = "validate_external_commits"
REPORTED = (Kind.STEP, Kind.ADOPTION)


class ExternalCommits(dg.Config):
    """Which commits of a table to report: versions of runs that could not; those of others are found in the log."""

    table: str
    versions: list[int]


def external_commits_job(catalog: Catalog) -> dg.JobDefinition:
    """The job that checks and reports a table's commits."""

    @dg.op(
        required_resource_keys={"spark"}, description="Validates and reports commits missing from Dagster's event log."
    )
    def adopt(context: dg.OpExecutionContext, config: ExternalCommits) -> None:
        from lakehouse_assets.settings import settings

        here = settings()
        lake, table = Lake(here.lake, here.landing), catalog.table(TableKey.parse(config.table))
        first, last = min(config.versions, default=0), max(config.versions, default=-1)
        missing = _unreported(context.instance, table, _steps(lake.path(table.key), first - 1, last))
        for version in config.versions:
            days = [day for day, made_by in missing.items() if made_by == version]
            _report(context, table, lake, recover(lake, table, version, days))
        if unvalidated(lake.path(table.key)):
            step = Step(context.resources.spark.spark_session, lake, catalog, context.run_id)
            _report(context, table, lake, validate(step, table))

    @dg.job(
        name=EXTERNAL_COMMITS_JOB, description="Validates and reports commits made outside Dagster or by killed runs."
    )
    def job() -> None:
        adopt()

    return job


def _report(context: dg.OpExecutionContext, table: Table, lake: Lake, outcome: Outcome | None) -> None:
    if outcome is None:
        return
    for events in day_events(context.instance, table, lake, outcome, context.run_id):
        for event in events:
            context.log_event(event)  # type: ignore[arg-type]  # takes check results as well; a test guards it
    for day in outcome.days:
        context.log.info(f"{table.key} {day.day}: {day.status.value} {'; '.join(day.reasons)}")


def unreported_commits_sensor(domain: str, catalog: Catalog) -> dg.SensorDefinition:
    """The sensor of a domain's commits. On by default."""
    tables = [table for table in catalog.tables if table.key.domain == domain]
    staleness: dict[Lake, Staleness] = {}

    @dg.sensor(
        name=f"{domain}_unreported_commits",
        description="Detects Delta commits missing from Dagster's event log. Commits made outside the platform are "
        "validated before they count.",
        job_name=EXTERNAL_COMMITS_JOB,
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    @one_at_a_time
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        from lakehouse_assets.settings import settings

        here = settings()
        lake = Lake(here.lake, here.landing)
        known = staleness.setdefault(lake, Staleness(lake, Catalog(tuple(tables))))
        # First, so that what a run that ends meanwhile did is seen.
        judging = {level.partition("@")[0] for level in levels_under_way(context.instance, EXTERNAL_COMMITS_JOB)}
        until = monotonic() + READING_SECONDS
        is_read = all(known.of(table.key).refresh(until) for table in tables)
        cursor: dict[str, int] = json.loads(context.cursor or "{}")
        seen, asked = dict(cursor), list[dg.RunRequest]()
        landed: list[dg.AssetMaterialization | dg.AssetObservation] = []
        for table in tables:
            versions = _read_on(context.instance, lake, table, seen)
            foreign = known.of(table.key).unvalidated if is_read else {}
            if (versions or foreign) and str(table.key) not in judging:
                asked += _request(context.instance, table.key, versions, foreign)
            if table.stream is not None:
                landed += _streamed(lake, table, cursor.get(str(table.key), -1), seen.get(str(table.key), -1))
            if table.landing:
                landed += _landed(lake, table.landing, seen)
        message = None if asked or landed else ("Every commit is known." if is_read else READING)
        return dg.SensorResult(asked, skip_reason=message, cursor=json.dumps(seen), asset_events=landed)

    return sensor


def _read_on(instance: dg.DagsterInstance, lake: Lake, table: Table, seen: dict[str, int]) -> list[int]:
    """Versions to report, among the next entries of a table's log; `seen` moves on to the first of them."""
    path, name = lake.path(table.key), str(table.key)
    start = seen.get(name, -1)
    newest = newest_version(path, max(start, 0))
    if newest is None or newest < start:
        seen.pop(name, None)  # no table, or one made anew: its log is read from the beginning
        return []
    until = min(newest, start + ENTRIES_PER_TICK)
    steps = _steps(path, start, until)
    busy = _under_way(instance, {metadata.run_id for _, metadata in steps}) if steps else set[str]()
    until = min([until, *[entry.version - 1 for entry, metadata in steps if metadata.run_id in busy]])
    ended = [(entry, metadata) for entry, metadata in steps if entry.version <= until]
    found = sorted(set(_unreported(instance, table, ended).values())) if ended else []
    seen[name] = found[0] - 1 if found else until
    return found


def _steps(path: Location, after: int, until: int) -> list[tuple[Entry, CommitMetadata]]:
    """The commits of steps among a table's versions."""
    entries = (read_entry(path, version) for version in range(after + 1, until + 1))
    return [
        (entry, entry.metadata) for entry in entries if entry and entry.metadata and entry.metadata.kind in REPORTED
    ]


def _under_way(instance: dg.DagsterInstance, run_ids: Collection[str]) -> set[str]:
    """Those of the runs that have not ended: they may still report for themselves."""
    return {run.run_id for run in instance.get_runs(dg.RunsFilter(run_ids=list(run_ids), statuses=UNFINISHED))}


def _unreported(
    instance: dg.DagsterInstance, table: Table, steps: list[tuple[Entry, CommitMetadata]]
) -> dict[date, int]:
    """Days that Dagster knows of no commit, or only of an older one, with the newest version that made each."""
    made = {day: (entry.version, rows.digest) for entry, metadata in steps for day, rows in metadata.rows.items()}
    known = instance.event_log_storage.get_latest_tags_by_partition(
        dg.AssetKey(table.key.parts),
        DagsterEventType.ASSET_MATERIALIZATION,
        tag_keys=[DATA_VERSION_TAG],
        asset_partitions=[str(day) for day in made],
    )

    def is_known(day: date, version: int, digest: str) -> bool:
        told = known.get(str(day), {}).get(DATA_VERSION_TAG, "")
        newer = told.partition(":")[0]
        return told == data_version(version, digest) or (newer.isdigit() and int(newer) > version)

    return {day: version for day, (version, digest) in made.items() if not is_known(day, version, digest)}


def _request(
    instance: dg.DagsterInstance, key: TableKey, versions: list[int], foreign: Mapping[date, int]
) -> Iterator[dg.RunRequest]:
    """One run for a table; of commits that a run has just left as they were, after a pause."""
    config = ExternalCommits(table=str(key), versions=versions)
    level = f"{key}@{sorted({*versions, *foreign.values()})}"
    if attempts(instance, level).due(get_current_datetime()):
        yield dg.RunRequest(run_config=dg.RunConfig({"adopt": config}), tags={LEVEL_TAG: level})


def _streamed(lake: Lake, table: Table, after: int, until: int) -> Iterator[dg.AssetObservation]:
    """An observation per feed day of each append of a stream: it needs no run, and was exactly once by itself."""
    path = lake.path(table.key)
    for version in range(after + 1, until + 1):
        entry = read_entry(path, version)
        if entry is None or entry.metadata is None or entry.metadata.kind is not Kind.STREAM:
            continue
        for day, rows in rows_per_day(path, version).items():
            yield dg.AssetObservation(
                asset_key=dg.AssetKey(table.key.parts),
                partition=str(day),
                metadata={
                    "delta_version": version,
                    **({} if rows is None else {"records": rows}),
                    "position": dg.MetadataValue.json(dict(entry.metadata.position or {})),
                    "committed": dg.MetadataValue.timestamp(entry.at),
                },
                tags={DATA_VERSION_TAG: str(version), DATA_VERSION_IS_USER_PROVIDED_TAG: "true"},
            )


def _landed(lake: Lake, key: TableKey, seen: dict[str, int]) -> Iterator[dg.AssetMaterialization]:
    """An event per feed day that was landed since, of what the day now holds."""
    path = manifest_path(lake.landing, landed_name(key))
    start = seen.get(str(key), -1)
    newest = newest_version(path, max(start, 0))
    if newest is None or newest < start:
        seen.pop(str(key), None)  # nothing landed, or a manifest made anew
        return
    if newest == start:
        return
    entries = (read_entry(path, n) for n in range(start + 1, min(newest, start + ENTRIES_PER_TICK) + 1))
    days = {day for entry in entries if entry for day in entry.touched}
    version = min(newest, start + ENTRIES_PER_TICK)
    held = parts(lake.landing, landed_name(key), days=days, version=version)
    for day in sorted(days):
        files = [part for part in held if part.feed_day == day]
        yield dg.AssetMaterialization(
            asset_key=dg.AssetKey(key.parts),
            partition=str(day),
            metadata={
                "dagster/partition_row_count": sum(part.rows for part in files),
                "manifest_version": version,
                "files": dg.MetadataValue.json(
                    [{"name": part.name, "rows": part.rows, "sha256": part.source_sha256} for part in files]
                ),
            },
            tags={DATA_VERSION_TAG: str(version), DATA_VERSION_IS_USER_PROVIDED_TAG: "true"},
        )
    seen[str(key)] = version
