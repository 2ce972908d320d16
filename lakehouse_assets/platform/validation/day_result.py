"""What the counts of a day mean: which rules it passed, and whether it fails."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Self

from lakehouse_assets.platform.contracts.rules import Action, Dimension, Rule

if TYPE_CHECKING:
    from lakehouse_assets.platform.contracts.compiled import CompiledContract

EMPTY_DIGEST = "0" * 16


@dataclass(frozen=True)
class DayCounts:
    """Rows of one feed day: rows = duplicates + quarantined + kept.

    `broken`: rows that broke each rule, duplicates apart; 1 for a rule of the whole day. `newest`: greatest event time
    of the rows kept. `digest`: 16 hexadecimal digits of the rows kept, whatever their order, run times left out; the
    other two of the rows in quarantine and of the duplicates, "" where there are none.
    """

    rows: int
    duplicates: int
    quarantined: int
    kept: int
    broken: Mapping[str, int] = field(default_factory=dict)
    newest: datetime | None = None
    digest: str = EMPTY_DIGEST
    quarantined_digest: str = ""
    duplicates_digest: str = ""

    @classmethod
    def empty(cls, contract: "CompiledContract") -> Self:
        """A day without a row."""
        return cls(0, 0, 0, 0, {rule.name: 0 for rule in contract.rules})


class Result(Enum):
    """What a rule says of a day: no row broke it; rows did, and the day is committed; or it fails the day."""

    PASSED = "passed"
    TOLERATED = "tolerated"
    FAILED = "failed"

    @classmethod
    def of(cls, failed: int, *, passed: bool) -> Self:
        """By the rows that broke the rule, and whether the day may be committed."""
        return cls(("tolerated" if failed else "passed") if passed else "failed")


def percent(part: int, whole: int) -> str:
    """A share as people read it; never 0 % where there is one, never 100 % where one is missing."""
    if not part:
        return "0%"
    rounded = f"{part / whole:.2%}"
    if rounded == "0.00%":
        return "<0.01%"
    return ">99.99%" if part < whole and rounded == "100.00%" else rounded


@dataclass(frozen=True)
class RuleResult:
    """One rule on one day. `rows` are those it was asked of; `passed` is false where it fails the day.

    A rule of the whole day is asked once, as if the day were one row.
    """

    rule: str
    dimension: Dimension
    action: Action
    rows: int
    failed: int
    passed: bool

    @property
    def rate(self) -> float:
        """Share of the rows that broke the rule."""
        return self.failed / self.rows if self.rows else 0.0

    @property
    def result(self) -> Result:
        """Passed, tolerated or failed."""
        return Result.of(self.failed, passed=self.passed)


@dataclass(frozen=True)
class DayResult:
    """Every rule's result, and why the day fails, if it does."""

    rules: tuple[RuleResult, ...]
    reasons: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Nothing of the day may be committed."""
        return bool(self.reasons)


def day_result(counts: DayCounts, contract: "CompiledContract") -> DayResult:
    """Judge a day: a broken `fail` rule fails it, a `quarantine` rule broken beyond its rate does, `warn` never.

    A day all of whose rows leave for quarantine fails by each rule that they broke, however few they are.
    """
    asked = counts.rows - counts.duplicates
    empty_snapshots = bool(counts.quarantined) and not counts.kept and not contract.may_be_empty
    results, reasons = [], []
    for rule in contract.rules:
        failed = counts.broken.get(rule.name, 0)
        reason = _reason(rule, failed, asked, empty_snapshots)
        rows = asked if rule.passes is None else 1  # a rule of the whole day is asked once
        results.append(RuleResult(rule.name, rule.dimension, rule.action, rows, failed, reason is None))
        if reason is not None:
            reasons.append(reason)
    return DayResult(tuple(results), tuple(reasons))


def _reason(rule: Rule, failed: int, rows: int, empty_snapshots: bool) -> str | None:
    message = f"{rule.name} ({rule.description}): {failed} of {rows} rows broke it"
    if rule.passes is not None:
        fails = failed and rule.action is Action.FAIL
        return f"{rule.name} ({rule.description}): the rows of the day break it" if fails else None
    if rule.action is Action.FAIL and failed:
        return f"{message}, and none may"
    if rule.action is Action.QUARANTINE and rule.tolerate.exceeded(failed, rows):
        return f"{message}, more than the tolerated {rule.tolerate.above:.0%}"
    if rule.action is Action.QUARANTINE and failed and empty_snapshots:
        return f"{message}, and no row of the day is left"
    return None
