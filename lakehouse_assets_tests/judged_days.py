"""Journals as steps write them, without the steps: verdicts of declared tables on made-up counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from lakehouse_assets import defs as domains
from lakehouse_assets.platform.contracts.rules import Action
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.results.audit_rows import write_records
from lakehouse_assets.platform.results.step_result import DayOutcome, Outcome, Status
from lakehouse_assets.platform.storage.commit_metadata import DayRows
from lakehouse_assets.platform.validation.day_result import DayCounts, day_result
from lakehouse_assets.settings import Settings


@dataclass
class Judge:
    """Judges days of declared tables and writes the journals of one lake."""

    settings: Settings
    catalog: Catalog
    runs: int = 0

    @classmethod
    def of(cls, settings: Settings) -> "Judge":
        return cls(settings, discover(domains))

    def day(
        self,
        table: str,
        day: date,
        broken: Mapping[str, int] | None = None,
        samples: Mapping[str, list[dict[str, Any]]] | None = None,
        rows: int = 200,
        duplicates: int = 0,
    ) -> DayOutcome:
        """A day of `rows` rows of which some broke rules, judged as a step does."""
        contract = self.catalog.table(TableKey.parse(table)).compiled
        counts = {rule.name: (broken or {}).get(rule.name, 0) for rule in contract.rules}
        aside = sum(counts[rule.name] for rule in contract.rules if rule.action is Action.QUARANTINE)
        newest = datetime.combine(day, datetime.min.time()) + timedelta(hours=23)
        found = day_result(DayCounts(rows, duplicates, aside, rows - aside - duplicates, counts, newest), contract)
        return DayOutcome(
            day=day,
            status=Status.FAILED if found.failed else Status.COMMITTED,
            rows=DayRows(rows, rows - aside - duplicates, aside, duplicates, "0" * 16, newest),
            rules=found.rules,
            reasons=found.reasons,
            samples=samples or {},
        )

    def write(self, table: str, days: Sequence[DayOutcome]) -> str:
        """A run that judged these days. Its id."""
        self.runs += 1
        key, when = TableKey.parse(table), datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=self.runs)
        outcome = Outcome(
            table=key,
            run_id=f"run-{self.runs}",
            code_version="c0de",
            input_versions={},
            base=None,
            version=0,
            days=tuple(days),
            started=when,
            finished=when,
        )
        write_records(self.settings.lake, self.catalog.table(key).compiled, outcome)
        return outcome.run_id
