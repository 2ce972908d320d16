"""What a step did, day by day: the record from which events, audit and check results are written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum
from typing import Any

from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.storage.commit_metadata import DayRows, InputVersion
from lakehouse_assets.platform.validation.day_result import RuleResult


class Status(Enum):
    """A day is committed; or its contract failed and nothing of it was committed; or an input's check blocks it."""

    COMMITTED = "committed"
    FAILED = "failed"
    BLOCKED = "blocked"


@dataclass(frozen=True)
class DayOutcome:
    """One day of a step. `unchanged`: it was made, and its rows are what they were."""

    day: date
    status: Status
    rows: DayRows
    rules: tuple[RuleResult, ...] = ()
    reasons: tuple[str, ...] = ()
    samples: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    unchanged: bool = False

    @property
    def reconciled(self) -> bool:
        """Nothing lost: every row that came in is in the table, in quarantine or an exact duplicate."""
        return self.rows.rows_in == self.rows.kept + self.rows.quarantined + self.rows.duplicates


@dataclass(frozen=True)
class Outcome:
    """A step: what it read, what it wrote, and its days."""

    table: TableKey
    run_id: str
    code_version: str
    input_versions: Mapping[str, InputVersion]
    base: int | None
    version: int | None
    days: tuple[DayOutcome, ...]
    started: datetime
    finished: datetime
    restates: bool = False

    def with_status(self, status: Status) -> tuple[DayOutcome, ...]:
        """The days of one status."""
        return tuple(day for day in self.days if day.status is status)
