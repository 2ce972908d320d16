"""The sensor over the Delta logs: commits that Dagster has not heard of are checked, if need be, and reported.

It covers what a run cannot do for itself: a run killed between its commit and its events, and commits by others (a
notebook, a job elsewhere). Files that were landed are reported too, so that their days show in the UI. The cursor is
only a place to read on from: lost, the logs are read again, and what is already reported is not reported twice.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import date

import dagster as dg
from dagster import DagsterEventType
from dagster._core.definitions.data_version import DATA_VERSION_IS_USER_PROVIDED_TAG, DATA_VERSION_TAG

from lakehouse_assets.platform.adopt import judge, recover
from lakehouse_assets.platform.catalog import Catalog
from lakehouse_assets.platform.delta import Kind
from lakehouse_assets.platform.delta_log import newest_version, read_entry, unjudged
from lakehouse_assets.platform.events import data_version, day_events
from lakehouse_assets.platform.landing import manifest_path, parts
from lakehouse_assets.platform.materialize import Step
from lakehouse_assets.platform.outcome import Outcome
from lakehouse_assets.platform.plan import Lake, landed_name
from lakehouse_assets.platform.table import Table, TableKey
from lakehouse_assets.platform.triggers import LEVEL_TAG, TRIES, UNFINISHED

TICK_SECONDS = 5
ENTRIES_PER_TICK = 200
ADOPT = "adopt_commits"


class Adoption(dg.Config):
    """Which commits of a table to report: versions of runs that could not; those of others are found in the log."""

    table: str
    versions: list[int]


def adopt_job(catalog: Catalog) -> dg.JobDefinition:
    """The job that checks and reports a table's commits."""

    @dg.op(required_resource_keys={"spark"}, description="Checks and reports commits that Dagster has not heard of.")
    def adopt(context: dg.OpExecutionContext, config: Adoption) -> None:
        from lakehouse_assets.settings import settings

        here = settings()
        lake, table = Lake(here.lake, here.landing), catalog.table(TableKey.parse(config.table))
        for version in config.versions:
            days = _unreported(context.instance, lake, table, version)
            step = Step(context.resources.spark.spark_session, lake, catalog, context.run_id)
            _report(context, table, lake, recover(step, table, version, days))
        if unjudged(lake.path(table.key)):
            step = Step(context.resources.spark.spark_session, lake, catalog, context.run_id)
            _report(context, table, lake, judge(step, table))

    @dg.job(name=ADOPT, description="Commits made outside Dagster, or by runs that were killed: checked and reported.")
    def job() -> None:
        adopt()

    return job


def _report(context: dg.OpExecutionContext, table: Table, lake: Lake, outcome: Outcome | None) -> None:
    if outcome is None:
        return
    for event in day_events(context.instance, table, lake, outcome, context.run_id):
        context.log_event(event)  # type: ignore[arg-type]  # takes check results as well; a test guards it
    for day in outcome.days:
        context.log.info(f"{table.key} {day.day}: {day.status.value} {'; '.join(day.reasons)}")


def commits_sensor(domain: str, catalog: Catalog) -> dg.SensorDefinition:
    """The sensor of a domain's commits. On by default."""
    tables = [table for table in catalog.tables if table.key.domain == domain]

    @dg.sensor(
        name=f"{domain}_commits",
        description="Finds commits that Dagster has not heard of: those of others are checked by the contract first.",
        job_name=ADOPT,
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        from lakehouse_assets.settings import settings

        here = settings()
        lake = Lake(here.lake, here.landing)
        cursor: dict[str, int] = json.loads(context.cursor or "{}")
        seen, asked, landed = dict(cursor), list[dg.RunRequest](), list[dg.AssetMaterialization]()
        for table in tables:
            versions = _read_on(context.instance, lake, table, seen)
            foreign = unjudged(lake.path(table.key), max(seen.get(str(table.key), 0), 0))
            if versions or foreign:
                asked += _request(context.instance, table.key, versions, foreign)
            if table.landing:
                landed += _landed(lake, table.landing, seen)
        said = None if asked or landed else "Every commit is known."
        return dg.SensorResult(asked, skip_reason=said, cursor=json.dumps(seen), asset_events=landed)

    return sensor


def _read_on(instance: dg.DagsterInstance, lake: Lake, table: Table, seen: dict[str, int]) -> list[int]:
    """Versions to report, among the next entries of a table's log; `seen` moves on to the first of them."""
    path, name = lake.path(table.key), str(table.key)
    start = seen.get(name, -1)
    newest = newest_version(path, max(start, 0))
    if newest is None or newest < start:
        seen.pop(name, None)  # no table, or one made anew: its log is read from the beginning
        return []
    found: list[int] = []
    for version in range(start + 1, min(newest, start + ENTRIES_PER_TICK) + 1):
        entry = read_entry(path, version)
        if entry is not None and entry.note is not None and entry.note.kind is Kind.STEP:
            if _under_way(instance, entry.note.run_id):
                break
            if _unreported(instance, lake, table, version):
                found.append(version)
        if not found:
            seen[name] = version
    return found


def _under_way(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is not None and run.status in UNFINISHED


def _unreported(instance: dg.DagsterInstance, lake: Lake, table: Table, version: int) -> set[date]:
    """Days of a commit that Dagster does not know, unless a later commit made them again."""
    path = lake.path(table.key)
    entry = read_entry(path, version)
    if entry is None or entry.note is None:
        return set()
    rows = entry.note.rows
    known = instance.event_log_storage.get_latest_tags_by_partition(
        dg.AssetKey(table.key.parts),
        DagsterEventType.ASSET_MATERIALIZATION,
        tag_keys=[DATA_VERSION_TAG],
        asset_partitions=[str(day) for day in rows],
    )
    missing = {
        day
        for day, counts in rows.items()
        if known.get(str(day), {}).get(DATA_VERSION_TAG) != data_version(version, counts.digest)
    }
    newest = newest_version(path, version) or version
    while missing and version < newest:
        version += 1
        later = read_entry(path, version)
        missing -= later.note.days if later and later.note else frozenset()
    return missing


def _request(
    instance: dg.DagsterInstance, key: TableKey, versions: list[int], foreign: Mapping[date, int]
) -> Iterator[dg.RunRequest]:
    """One run for a table, unless one is under way or the same commits were tried often enough."""
    config = Adoption(table=str(key), versions=versions)
    level = f"{key}@{sorted({*versions, *foreign.values()})}"
    tried = instance.get_runs(dg.RunsFilter(job_name=ADOPT, tags={LEVEL_TAG: level}), limit=TRIES)
    if len(tried) < TRIES and not any(run.status in UNFINISHED for run in tried):
        yield dg.RunRequest(run_config=dg.RunConfig({"adopt": config}), tags={LEVEL_TAG: level})


def _landed(lake: Lake, key: TableKey, seen: dict[str, int]) -> Iterator[dg.AssetMaterialization]:
    """An event per feed day that was landed since, of what the day now holds."""
    path = manifest_path(lake.landing, landed_name(key))
    start = seen.get(str(key), -1)
    newest = newest_version(path, max(start, 0))
    if newest is None or newest <= start:
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
