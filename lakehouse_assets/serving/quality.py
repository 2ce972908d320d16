"""The quality of the lake by table and day: what the journals say of each day's newest verdict, without Spark."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any

from lakehouse_assets.platform.common.days import DayRange, write_days
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.contracts.rules import Action
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import LAYERS, Span, Table, TableKey
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.results.audit_log import (
    DEADLINE,
    FAILED,
    WHY,
    audit_path,
    check_results_path,
    failed_days,
)
from lakehouse_assets.platform.validation.day_result import Result
from lakehouse_assets.serving.day_state import State
from lakehouse_assets.serving.query import query
from lakehouse_assets.settings import Settings

DEFAULT_DAYS = 365


@dataclass(frozen=True)
class RuleCount:
    """One rule on one day. `rows`: those it was asked of; `passed` is false where it fails the day."""

    check: str
    rule: str
    dimension: str
    action: str
    rows: int
    failed: int
    passed: bool
    blocking: bool
    sql: str
    samples: tuple[Mapping[str, Any], ...]

    @property
    def why(self) -> str:
        """What happened, where the rule was broken."""
        if self.blocking:
            return f"{self.rule}: {self.failed} of {self.rows} rows"
        return str(self.samples[0][WHY]) if self.rule == DEADLINE and self.samples else f"{self.rule}: not met"

    @property
    def result(self) -> Result:
        """Passed, tolerated or failed."""
        return Result.of(self.failed, passed=self.passed)

    @property
    def rate(self) -> float:
        """Share of the rows that broke the rule."""
        return self.failed / self.rows if self.rows else 0.0


@dataclass(frozen=True)
class Verdict:
    """The newest judgement of a table's day. `version`: the Delta version that holds it, None if nothing was committed.

    Rows in = kept + quarantined + duplicates; `ties`: changes that lost to others of the same day and sequence. All are
    None where the run died before it wrote its audit, `ties` also in an audit of before it was counted.
    """

    run_id: str
    evaluated_at: datetime
    version: int | None
    rows_in: int | None
    kept: int | None
    quarantined: int | None
    duplicates: int | None
    ties: int | None
    code_version: str | None
    rules: tuple[RuleCount, ...]
    failed: bool

    @cached_property
    def state(self) -> State:
        """The state by this verdict alone."""
        broken = [rule for rule in self.rules if rule.failed or not rule.passed]
        if self.failed or any(rule.blocking and not rule.passed for rule in broken):
            return State.FAILED
        if any(not rule.blocking for rule in broken):
            return State.LATE
        if broken:
            warned = all(rule.action == Action.WARN.value for rule in broken)
            return State.WARNED if warned else State.QUARANTINED
        return State.EMPTY if self.rows_in == 0 and not self.kept else State.PASSED

    @property
    def nothing_left(self) -> bool:
        """Whether rows came in, and all of them broke a rule."""
        return bool(self.quarantined) and self.rows_in == (self.quarantined or 0) + (self.duplicates or 0)

    def why(self) -> list[str]:
        """For each rule that was broken, worst first, what happened."""
        broken = [rule for rule in self.rules if rule.failed or not rule.passed]
        ordered = sorted(broken, key=lambda r: (r.passed, not r.blocking, -r.failed, r.rule))
        reasons = [*([f"no row is left of {self.rows_in}"] if self.nothing_left else []), *[r.why for r in ordered]]
        if self.failed and all(rule.passed for rule in broken if rule.blocking):
            return [f"could not be judged by its rules: see run {self.run_id}", *reasons]
        return reasons


@dataclass(frozen=True)
class Quality:
    """Verdicts by table and day. `tables`: in the order of their making; `as_of`: when the newest was given, UTC."""

    days: DayRange
    tables: tuple[str, ...]
    verdicts: Mapping[tuple[str, date], Verdict]
    waiting: Mapping[tuple[str, date], str]
    repaired: frozenset[tuple[str, date]]
    as_of: datetime

    def state(self, table: str, day: date) -> State:
        """The state of a table's day."""
        verdict = self.verdicts.get((table, day))
        if verdict is not None and verdict.state is State.FAILED and (table, day) not in self.repaired:
            return State.FAILED
        if (table, day) in self.waiting:
            return State.WAITING
        return State.NONE if verdict is None or (table, day) in self.repaired else verdict.state

    def why(self, table: str, day: date) -> list[str]:
        """Why a day is not simply passed."""
        verdict = self.verdicts.get((table, day))
        if (table, day) in self.repaired:
            return ["committed again by a run that died before it recorded its checks; materialize the day once more"]
        return [
            *([self.waiting[table, day]] if (table, day) in self.waiting else []),
            *(verdict.why() if verdict else []),
        ]


def read_quality(settings: Settings, catalog: Catalog, domain: str | None, days: DayRange | None) -> Quality:
    """The newest verdict of every table and day. Default: the 365 days up to the newest judged day.

    Raises LakehouseError where nothing was judged, at all or in that domain and those days.
    """
    if not check_results_path(settings.lake).exists():
        raise LakehouseError(f"Nothing was judged yet in {settings.lake}: materialize some days first.")
    span = days or _default_days(settings, domain)
    verdicts = _verdicts(settings, domain, span)
    if not verdicts:
        raise LakehouseError(f"Nothing was judged of {domain or 'any domain'} in {span}.")
    lake = Lake(settings.lake, settings.landing)
    domains = {table.split("/")[0] for table, _ in verdicts}
    validated = {TableKey.parse(table) for table, _ in verdicts}
    declared = {table.key for table in catalog.tables if table.key.domain in domains}
    tables = sorted(validated | declared, key=_order)
    failed = {key: failed_days(lake.tables, key.domain, str(key), lake.path(key)) for key in tables}
    return Quality(
        days=span,
        tables=tuple(map(str, tables)),
        verdicts=verdicts,
        waiting=_waiting([catalog.table(key) for key in tables if key in declared], failed, span),
        repaired=frozenset(
            (table, day)
            for (table, day), verdict in verdicts.items()
            if verdict.state is State.FAILED and day not in failed[TableKey.parse(table)]
        ),
        as_of=max(verdict.evaluated_at for verdict in verdicts.values()),
    )


def _order(key: TableKey) -> tuple[str, int, str]:
    return key.domain, LAYERS.index(key.layer) if key.layer in LAYERS else len(LAYERS), key.name


def _default_days(settings: Settings, domain: str | None) -> DayRange:
    found = query(
        settings,
        """SELECT min(feed_day), max(feed_day) FROM ops.check_results
           WHERE coalesce(split_part("table", '/', 1) = ?, true)""",
        [domain],
    ).rows[0]
    if found[1] is None:
        raise LakehouseError(f"Nothing was judged yet of {domain or 'any domain'}.")
    return DayRange(max(found[0], found[1] - timedelta(days=DEFAULT_DAYS - 1)), found[1])


def _verdicts(settings: Settings, domain: str | None, days: DayRange) -> dict[tuple[str, date], Verdict]:
    results = query(
        settings,
        """SELECT * REPLACE (epoch_us(evaluated_at) AS evaluated_at) FROM ops.check_results
           WHERE feed_day BETWEEN ? AND ? AND coalesce(split_part("table", '/', 1) = ?, true)
           QUALIFY dense_rank() OVER (PARTITION BY "table", feed_day, rule = ? ORDER BY evaluated_at DESC, run_id) = 1
           ORDER BY "table", feed_day, "check", rule""",
        [days.first, days.last, domain, DEADLINE],
    )
    rules: dict[tuple[str, date], list[RuleCount]] = {}
    runs: dict[tuple[str, date], tuple[str, int]] = {}
    for values in results.rows:
        row = dict(zip(results.columns, values, strict=True))
        cell = row["table"], row["feed_day"]
        if row["rule"] != DEADLINE or cell not in runs:  # deadlines are judged apart from runs
            runs[cell] = row["run_id"], row["evaluated_at"]
        rules.setdefault(cell, []).append(
            RuleCount(
                check=row["check"],
                rule=row["rule"],
                dimension=row["dimension"],
                action=row["action"],
                rows=row["rows"],
                failed=row["failed"],
                passed=row["passed"],
                blocking=row["blocking"],
                sql=row["sql"],
                samples=_samples(row.get("samples")),
            )
        )
    domains = sorted({table.split("/")[0] for table, _ in rules})
    audits = {name: _audits(settings, name, days) for name in domains if audit_path(settings.lake, name).exists()}
    return {
        cell: _verdict(*runs[cell], audits.get(cell[0].split("/")[0], {}).get((*cell, *runs[cell]), {}), found)
        for cell, found in rules.items()
    }


def _samples(text: str | None) -> tuple[Mapping[str, Any], ...]:
    """Of nearly every rule of a year there are none, which need not be parsed."""
    return () if text in (None, "[]") else tuple(json.loads(text))


def _verdict(run_id: str, validated: int, audit: Mapping[str, Any], rules: list[RuleCount]) -> Verdict:
    return Verdict(
        run_id,
        datetime.fromtimestamp(validated / 1e6, UTC),
        audit.get("output_version"),
        audit.get("rows_in"),
        audit.get("kept"),
        audit.get("quarantined"),
        audit.get("duplicates"),
        audit.get("ties"),
        audit.get("code_version"),
        tuple(rules),
        failed=audit.get("status") == FAILED,
    )


def _audits(settings: Settings, domain: str, days: DayRange) -> dict[tuple[str, date, str, int], Mapping[str, Any]]:
    """What became of the rows, by table, day, run and when: columns of the audit, of which an older one has less."""
    found = query(
        settings,
        f"""SELECT "table", feed_day, run_id, epoch_us(finished), * EXCLUDE (input_versions, started, finished)
            FROM {domain}.audit WHERE feed_day BETWEEN ? AND ?""",  # noqa: S608  (a folder of the lake)
        [days.first, days.last],
    )
    return {row[:4]: dict(zip(found.columns[4:], row[4:], strict=True)) for row in found.rows}


def _waiting(
    tables: list[Table], failed: Mapping[TableKey, frozenset[date]], span: DayRange
) -> dict[tuple[str, date], str]:
    """Days that an input's failed day holds back, and what they wait for. What waits holds back what reads it."""
    held = dict(failed)
    waiting: dict[tuple[str, date], str] = {}
    found = True
    while found:
        found = False
        for table in tables:
            for read in table.reads.values():
                for day in span if held.get(read.table) and read.span is not Span.WHOLE else ():
                    first, last = read.bounds(day, day)
                    causes = {d for d in held[read.table] if (first is None or first <= d) and d <= last}
                    if causes and (str(table.key), day) not in waiting:
                        waiting[str(table.key), day] = f"waits for {read.table} of {write_days(causes)}"
                        held[table.key] = held[table.key] | {day}
                        found = True
    for table in tables:
        for companion in table.co_materialized:
            made_with = {(str(companion.key), day): why for (of, day), why in waiting.items() if of == str(table.key)}
            waiting |= made_with
    return waiting
