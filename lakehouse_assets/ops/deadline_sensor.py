"""The sensor of a domain's deadlines and failed days: red in the UI, in the journals, and told once to the hooks.

A tick compares what is late or failed with the alerts that are open. What is new is raised, what is over is resolved;
then what was not yet told is told. A row of the journal is written right after a hook took an alert: only a tick that
is killed between the two tells it twice, with the same id. A hook that refuses is asked again while the alert is open.

The check is reported by a small run: Dagster keeps one evaluation of a check and partition outside runs, for ever.
"""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import dagster as dg
import pyarrow as pa
from dagster import AssetCheckEvaluation
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord
from dagster._time import get_current_datetime

from lakehouse_assets.ops.alerts import Alert, Event, Row, Subject, Trouble, read_alerts, record
from lakehouse_assets.ops.hooks import HookError, hooks
from lakehouse_assets.platform.common.days import parse_day
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import Table, TableKey
from lakehouse_assets.platform.ingest.landing_status import SeenFiles
from lakehouse_assets.platform.orchestration.asset_events import standing
from lakehouse_assets.platform.orchestration.drop_folder import dropped_sources
from lakehouse_assets.platform.orchestration.drop_folder_stuck import stuck_files
from lakehouse_assets.platform.orchestration.evaluations import one_at_a_time
from lakehouse_assets.platform.orchestration.run_records import LEVEL_TAG, TRIES, attempts, levels_under_way
from lakehouse_assets.platform.orchestration.sla import deadline, late_days, made_of
from lakehouse_assets.platform.orchestration.staleness import Staleness
from lakehouse_assets.platform.orchestration.staleness_sensor import READING, READING_SECONDS, stuck
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.results.audit_log import CHECK_RESULTS, DEADLINE, WHY, append, check_results_path
from lakehouse_assets.platform.results.check_results import FRESHNESS
from lakehouse_assets.platform.storage.location import Location
from lakehouse_assets.settings import Settings

TICK_SECONDS = 60
NOTHING = "Nothing is late, failed or stuck."
TELLING_SECONDS = 20  # of a tick; what is left waits for the next one
REPORT = "report_deadlines"
REMEMBERED = timedelta(days=1)  # for so long a tick sees to it that a day that came late is not red


class Judged(dg.Config):
    """A table's day that is late, or is not any more."""

    table: str
    day: str
    passed: bool
    message: str


class Report(dg.Config):
    """What the checks are to say."""

    days: list[Judged]


def report_job() -> dg.JobDefinition:
    """The job that reports deadlines as checks: no Spark, no table."""

    @dg.op(description="Says of days that their data are late, or came late.")
    def report(context: dg.OpExecutionContext, config: Report) -> None:
        for one in config.days:
            key = dg.AssetKey(TableKey.parse(one.table).parts)
            evaluation = AssetCheckEvaluation(
                asset_key=key,
                check_name=FRESHNESS,
                passed=one.passed,
                severity=dg.AssetCheckSeverity.ERROR,
                description=one.message,
                metadata={DEADLINE: "met late" if one.passed else "missed"},
                blocking=False,
                partition=one.day,
                target_materialization_data=standing(context.instance, key, parse_day(one.day)),
            )
            context.log_event(evaluation)  # type: ignore[arg-type]  # takes check results as well; a test guards it

    @dg.job(name=REPORT, description="Reports missed deadlines and late data as check results.")
    def job() -> None:
        report()

    return job


def deadline_sensor(domain: str, catalog: Catalog) -> dg.SensorDefinition:
    """The sensor of a domain. On by default; it needs no Spark."""
    tables = [table for table in catalog.tables if table.key.domain == domain]
    staleness: dict[Lake, Staleness] = {}
    dropped, seen = dropped_sources(catalog, domain), SeenFiles()

    @dg.sensor(
        name=f"{domain}_deadlines",
        description="Raises one alert for each day that is late, whose checks failed, or whose runs fail repeatedly.",
        job_name=REPORT,
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    @one_at_a_time
    def sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        from lakehouse_assets.settings import settings

        here, now = settings(), datetime.now(UTC)
        lake = Lake(here.lake, here.landing)
        under_way = levels_under_way(context.instance, REPORT)  # first: what a run that ends meanwhile says is seen
        known = staleness.setdefault(lake, Staleness(lake, Catalog(tuple(tables))))
        if not known.refresh(monotonic() + READING_SECONDS):
            return dg.SkipReason(READING)
        before = _open(read_alerts(lake.tables, domain))
        found = _troubles(known, catalog, tables, before, now)
        found |= _stuck(known, domain, catalog, context.instance, before)
        places = here.drop_folder / domain, lake.landing
        for (key, day), message in stuck_files(domain, dropped, context.instance, places, seen, now).items():
            found[Subject(str(key), day, Trouble.STUCK)] = message
        _keep(lake.tables, found, before, now)
        alerts = read_alerts(lake.tables, domain)
        told = _tell(here, _open(alerts))
        if told:
            context.log.warning(told)
        wrong = len(_open(alerts))
        message = f"{wrong} days are late, failed or stuck. {told}".strip() if wrong else NOTHING
        asked = None if under_way else _request(context.instance, domain, alerts, now)
        return asked or dg.SkipReason(message)

    return sensor


def _open(alerts: list[Alert]) -> list[Alert]:
    return [alert for alert in alerts if not alert.resolved]


def _troubles(
    staleness: Staleness, catalog: Catalog, tables: list[Table], before: list[Alert], now: datetime
) -> dict[Subject, str]:
    """What is late or failed now, and why."""
    found = {}
    for table in tables:
        name = str(table.key)
        known = [a.subject.day for a in before if a.subject.table == name and a.subject.trouble is Trouble.LATE]
        for day, why in late_days(staleness, catalog, table, now, known).items():
            found[Subject(name, day, Trouble.LATE)] = f"{why} Due {deadline(table, day):%Y-%m-%d %H:%M} UTC."
        for day in staleness.failures(table.key):
            how = f"Nothing of it was committed. See: lakehouse quality --domain {table.key.domain} --days {day}"
            found[Subject(name, day, Trouble.FAILED)] = how
    return found


def _stuck(
    staleness: Staleness, domain: str, catalog: Catalog, instance: dg.DagsterInstance, before: list[Alert]
) -> dict[Subject, str]:
    """Runs that fail one after the other: an alert of the first table of each, until what it was raised for is made.

    Of what is made of a table that is told nothing more is told.
    """
    stale_days, failing = stuck(staleness, domain, catalog, instance)
    found = {
        alert.subject: alert.message
        for alert in before
        if alert.subject.trouble is Trouble.STUCK
        and alert.subject.day in stale_days.get(TableKey.parse(alert.subject.table), ())
    }
    told = {TableKey.parse(subject.table) for subject in found}
    firsts = {request.tables[0] for request in failing}
    for request in failing:
        first = request.tables[0]
        upstream = made_of(catalog.table(first), catalog).keys() - {first}
        if first in told or upstream & (told | firsts):
            continue
        message = (
            f"{TRIES} runs of {request.days} failed. It is tried again after growing pauses, half an hour at most: if "
            "what failed is away (Spark, a bucket), nothing needs to be done. What the runs say: Dagster's UI, Runs."
        )
        found[Subject(str(first), request.days.first, Trouble.STUCK)] = message
        told.add(first)
    return found


def _keep(lake: Location, found: dict[Subject, str], before: list[Alert], now: datetime) -> None:
    """Journal what is new and what is over. Check results first: a tick that is killed does both again."""
    known = {alert.subject for alert in before}
    rows = [Row(subject, Event.RAISED, now, message=why) for subject, why in found.items() if subject not in known]
    rows += [Row(subject, Event.RESOLVED, now) for subject in known if subject not in found]
    verdicts = [_verdict(row) for row in rows if row.subject.trouble is Trouble.LATE]
    if verdicts:
        append(check_results_path(lake), pa.Table.from_pylist(verdicts, schema=CHECK_RESULTS))
    record(lake, rows)


def _verdict(row: Row) -> dict[str, Any]:
    """A deadline that passed, or was met after all, as a row of the check results."""
    late = row.event is Event.RAISED
    return {
        "table": row.subject.table,
        "feed_day": row.subject.day,
        "run_id": DEADLINE,
        "check": FRESHNESS,
        "rule": DEADLINE,
        "dimension": "timeliness",
        "action": "warn",
        "rows": 0,
        "failed": int(late),
        "passed": not late,
        "blocking": False,
        "table_version": None,
        "sql": "",
        "samples": json.dumps([{WHY: row.message}] if late else [], ensure_ascii=False),
        "evaluated_at": row.at,
    }


def _tell(settings: Settings, alerts: list[Alert]) -> str:
    """Deliver what is due. A hook that refuses one alert is left alone until the next tick. Says what went wrong."""
    wrong = []
    until = monotonic() + TELLING_SECONDS
    for hook, deliver in hooks(settings).items():
        for alert in alerts:
            if monotonic() > until or not alert.due(hook, datetime.now(UTC)):
                continue
            try:
                deliver(alert)
            except HookError as error:
                record(settings.lake, [Row(alert.subject, Event.REFUSED, datetime.now(UTC), hook, str(error))])
                wrong.append(str(error))
                break
            record(settings.lake, [Row(alert.subject, Event.SENT, datetime.now(UTC), hook)])
    return " ".join(wrong)


def _request(instance: dg.DagsterInstance, domain: str, alerts: list[Alert], now: datetime) -> dg.RunRequest | None:
    """A run that makes the checks say what the alerts say, if they do not and none is under way."""
    late = {alert.subject: alert for alert in alerts if alert.subject.trouble is Trouble.LATE}  # of several, the newest
    validated, seen = list[Judged](), list[int | None]()
    for subject, alert in late.items():
        if alert.resolved and alert.resolved < now - REMEMBERED:
            continue
        newest = _newest(instance, subject)
        if not _says(newest, alert):
            message = "The data came late." if alert.resolved else alert.message
            validated.append(
                Judged(table=subject.table, day=str(subject.day), passed=bool(alert.resolved), message=message)
            )
            seen.append(newest.id if newest else None)
    level = hashlib.sha256(repr((domain, validated, seen)).encode()).hexdigest()[:16]
    if not validated or not attempts(instance, level).due(get_current_datetime()):
        return None
    return dg.RunRequest(run_config=dg.RunConfig({"report": Report(days=validated)}), tags={LEVEL_TAG: level})


def _says(newest: AssetCheckExecutionRecord | None, alert: Alert) -> bool:
    """Whether the check is red while the day is late, also where a run said otherwise since; and afterwards not."""
    found = newest.evaluation if newest else None  # of a run under way, or killed: what it planned
    missed = isinstance(found, dg.AssetCheckEvaluation) and not found.passed and DEADLINE in found.metadata
    return missed is (alert.resolved is None)


def _newest(instance: dg.DagsterInstance, subject: Subject) -> AssetCheckExecutionRecord | None:
    key = dg.AssetCheckKey(dg.AssetKey(TableKey.parse(subject.table).parts), FRESHNESS)
    of_day = PartitionKeyFilter(key=str(subject.day))
    return instance.event_log_storage.get_latest_asset_check_execution_by_key([key], of_day).get(key)
