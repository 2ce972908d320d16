"""Tables of every kind that keeps a state, on one source of changes and one of snapshots: for tests only."""

from collections.abc import Callable
from datetime import date
from types import MappingProxyType
from typing import Annotated

import pyspark.sql.types as T
from pyspark.sql import DataFrame

from lakehouse_assets.platform.contracts.base_contracts import CurrentState, History, SnapshotHistory
from lakehouse_assets.platform.contracts.casting import parse
from lakehouse_assets.platform.contracts.contract import Contract, column, landed_contract, table_metadata
from lakehouse_assets.platform.contracts.rules import Rate
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.domain import Domain
from lakehouse_assets.platform.declare.scd import Scd, scd1, scd2, scd2_from_snapshots
from lakehouse_assets.platform.declare.source_files import EventFiles
from lakehouse_assets.platform.declare.table import Table, TableKey, day

ALL = Rate(1.0)


class _Change(Contract):
    op: T.StringType = column("I, U or D", source=True, isin=["I", "U", "D"], tolerate=ALL)
    modified_date: T.TimestampNTZType = column("when", source=True, tolerate=ALL)
    shop: T.LongType = column("first part of the key", source=True, tolerate=ALL)
    item: T.StringType = column("second part of the key", source=True, tolerate=ALL)
    price: Annotated[T.DecimalType, 18, 2] = column("price", source=True, nullable=True, tolerate=ALL)
    color: T.StringType = column("color", source=True, nullable=True)


class Current(_Change, CurrentState):
    """The current state of changed items."""


class Tracked(_Change, History):
    """The history of the price of changed items."""


class Snapshot(SnapshotHistory):
    """The history of items that come as snapshots."""

    shop: T.LongType = column("first part of the key", source=True, tolerate=ALL)
    item: T.StringType = column("second part of the key", source=True, tolerate=ALL)
    price: Annotated[T.DecimalType, 18, 2] = column("price", source=True, nullable=True, tolerate=ALL)
    color: T.StringType = column("color", source=True, nullable=True)

    class Config:
        metadata = table_metadata(key=("shop", "item"), key_tolerate=ALL)


LandedChange, LandedSnapshot = landed_contract("LandedChange", Current), landed_contract("LandedSnapshot", Snapshot)
KEYS = ("shop", "item")
DOMAIN = Domain("test", first_day=date(2000, 1, 1))


def _table(name: str, contract: type[Contract], bronze: Table, write: Scd) -> Table:
    def parsed(landed: DataFrame) -> DataFrame:
        return parse(landed, contract)

    function: Callable[..., DataFrame] = parsed
    key, reads = TableKey("test", "silver", name), MappingProxyType({"landed": day(bronze)})
    return Table(key, contract, function, reads, write, reconciles="landed")


def _bronze(name: str, landed: type[Contract], of: type[Contract]) -> Table:
    return DOMAIN.bronze(landed, EventFiles(of.compiled().source_columns), name=name)


changes = _bronze("changes", LandedChange, Current)
items = _bronze("items", LandedSnapshot, Snapshot)
DELETE = "op = 'D'"
current = _table("current", Current, changes, scd1(KEYS, "modified_date", DELETE, buckets=3))
prices = _table("prices", Tracked, changes, scd2(KEYS, "modified_date", DELETE, track=("price",), buckets=2))
snapshots = _table("snapshots", Snapshot, items, scd2_from_snapshots(KEYS, buckets=2))
catalog = Catalog((changes, items, current, prices, snapshots))
OF_CHANGES = ("current", "prices")
