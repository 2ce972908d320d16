"""A rule of a contract: what it says, how strictly, and which rows break it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from lakehouse_assets.platform.common.errors import LakehouseError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


class ContractError(LakehouseError):
    """A contract that is written wrongly; raised where the class is defined."""


class Action(Enum):
    """What happens to a row that breaks the rule: it is kept; it leaves the table; nothing of its day is committed."""

    WARN = "warn"
    QUARANTINE = "quarantine"
    FAIL = "fail"


class Dimension(Enum):
    """The quality dimension that a rule measures."""

    SCHEMA = "schema"
    COMPLETENESS = "completeness"
    VALIDITY = "validity"
    UNIQUENESS = "uniqueness"
    INTEGRITY = "integrity"
    VOLUME = "volume"


@dataclass(frozen=True)
class Rate:
    """A day fails when more than the share `above` of its rows broke a quarantine rule.

    Rates mean nothing on a handful of rows: a day of fewer than `at_least` rows does not fail, if a row is left of it.
    """

    above: float = 0.5
    at_least: int = 100

    def exceeded(self, failed: int, rows: int) -> bool:
        """Whether `failed` of `rows` is too many."""
        return rows >= self.at_least and failed > self.above * rows


@dataclass(frozen=True)
class Rule:
    """One rule of a table. `sql` is true for a broken row; where it is NULL the row is fine.

    `passes`: of a rule of a whole day, whether its rows pass; it has no SQL. `code`: what that depends on.
    """

    name: str
    column: str | None
    dimension: Dimension
    action: Action
    tolerate: Rate
    description: str
    sql: str
    fine: "Callable[[], Column] | None" = field(default=None, compare=False, repr=False)
    expression: str | None = field(default=None, compare=False, repr=False)  # of a rule over rows: as it is written
    passes: "Callable[[DataFrame], bool] | None" = field(default=None, compare=False, repr=False)
    code: tuple[object, ...] = field(default=(), compare=False, repr=False)

    def condition(self) -> "Column":
        """TRUE for a broken row, else FALSE or NULL."""
        from pyspark.sql import functions as F

        return F.expr(self.sql) if self.fine is None else ~self.fine()

    def broken(self) -> "Column":
        """TRUE for a broken row, else FALSE; never NULL."""
        from pyspark.sql import functions as F

        return F.coalesce(self.condition(), F.lit(False))
