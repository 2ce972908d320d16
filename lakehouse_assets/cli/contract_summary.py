"""What a contract says, in plain values: for commands that show it without importing pandera and PySpark."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lakehouse_assets.platform.contracts.compiled import CompiledContract


@dataclass(frozen=True)
class ColumnSummary:
    """A column. `personal`: it says whose the row is, by name or by pseudonym."""

    name: str
    type: str
    nullable: bool
    personal: bool
    description: str


@dataclass(frozen=True)
class RuleSummary:
    """A rule, and what happens to a row that breaks it. `sql` is TRUE for such a row; none of rules of whole days."""

    name: str
    dimension: str
    action: str
    description: str
    sql: str


@dataclass(frozen=True)
class ContractSummary:
    """A contract."""

    name: str
    description: str
    owners: tuple[str, ...]
    key: tuple[str, ...]
    event_time: str | None
    fresh_within: timedelta | None
    columns: tuple[ColumnSummary, ...]
    rules: tuple[RuleSummary, ...]

    @property
    def personal(self) -> frozenset[str]:
        """The columns that say whose a row is."""
        return frozenset(column.name for column in self.columns if column.personal)


def summarize(contract: "CompiledContract") -> ContractSummary:
    """What a compiled contract says."""
    return ContractSummary(
        name=contract.name,
        description=contract.description,
        owners=contract.owners,
        key=contract.key,
        event_time=contract.event_time,
        fresh_within=contract.fresh_within,
        columns=tuple(
            ColumnSummary(
                field.name,
                field.dataType.simpleString(),
                field.nullable,
                field.name in contract.personal,
                contract.comments[field.name],
            )
            for field in contract.spark_schema
        ),
        rules=tuple(
            RuleSummary(rule.name, rule.dimension.value, rule.action.value, rule.description, rule.sql)
            for rule in contract.rules
        ),
    )
