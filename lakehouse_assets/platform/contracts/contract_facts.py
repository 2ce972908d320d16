"""What a contract says beyond what Pandera knows: in Pandera's metadata of columns and tables, and on methods."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from lakehouse_assets.platform.contracts.rules import Action, Dimension, Rate

METADATA = "lakehouse"
"""Our entry in Pandera's metadata, of a column and of a table."""


@dataclass(frozen=True)
class ColumnMetadata:
    """What a column says beyond what pandera knows. `of_day`: the action of its rules of whole days, if said."""

    action: Action
    tolerate: Rate
    dimension: Dimension | None
    pii: bool
    source: bool
    decimal_mark: Literal[".", ","] | None
    derived_from: tuple[str, ...] = ()
    pseudonym: bool = False
    parsed: bool = False
    of_day: Action | None = None
    unique: bool = False
    coerce: bool = False


@dataclass(frozen=True)
class TableMetadata:
    """What a table says beyond its columns."""

    key: tuple[str, ...] = ()
    event_time: str | None = None
    fresh_within: timedelta | None = None
    owners: tuple[str, ...] = ()
    key_action: Action = Action.QUARANTINE
    key_tolerate: Rate = field(default_factory=Rate)
    may_be_empty: bool = False
    documents: bool = False


@dataclass(frozen=True)
class RowRule:
    """A rule over several columns. `fine` takes the contract's class and gives SQL or a Column, TRUE for a good row."""

    fine: Callable[..., Any]
    is_sql: bool
    dimension: Dimension
    action: Action
    tolerate: Rate
    description: str
