"""What the warehouse holds about quality: check results, and how much is in quarantine, declared as other tables are.

Nobody makes these from inputs: the journal is written by the platform, and the counts are taken where rows lie.
"""

from types import MappingProxyType
from typing import TYPE_CHECKING

import pyspark.sql.types as T

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.contracts.contract import Contract, column, table_metadata
from lakehouse_assets.platform.contracts.rules import Action
from lakehouse_assets.platform.declare.table import Overwrite, Table, TableKey

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

OWNERS = ("team:platform",)


class CheckResult(Contract):
    """Every rule of every table, by day: how many rows broke it, in each run that validated the day."""

    table: T.StringType = column("table that was judged, as domain/layer/name", action=Action.FAIL)
    feed_day: T.DateType = column("day that was judged", action=Action.FAIL)
    run_id: T.StringType = column("run that judged it", action=Action.FAIL)
    check: T.StringType = column("check in Dagster: contract, conservation, freshness", action=Action.FAIL)
    rule: T.StringType = column("rule within the check", action=Action.FAIL)
    dimension: T.StringType = column("dimension of quality that the rule belongs to", action=Action.FAIL)
    action: T.StringType = column("what becomes of a row that breaks it: warn, quarantine, fail", action=Action.FAIL)
    rows: T.LongType = column("rows that were asked", nullable=True, ge=0)
    failed: T.LongType = column("rows that broke it", ge=0, action=Action.FAIL)
    passed: T.BooleanType = column("false where it fails the day, or makes it late", action=Action.FAIL)
    blocking: T.BooleanType = column("whether the day is not committed where it is not passed", action=Action.FAIL)
    table_version: T.LongType = column("Delta version that holds the day; none: not committed", nullable=True)
    sql: T.StringType = column("query that lists the rows that broke it", nullable=True)
    evaluated_at: T.TimestampType = column("when it was judged", action=Action.FAIL)

    class Config:
        metadata = table_metadata(owners=OWNERS)


class Quarantined(Contract):
    """Rows in quarantine by table, day and the rules that they broke. Each row counts once."""

    table: T.StringType = column("table whose quarantine it is, as domain/layer/name", action=Action.FAIL)
    feed_day: T.DateType = column("day that the rows came on", action=Action.FAIL)
    rules: T.StringType = column("rules that they broke, in alphabetical order, with commas", action=Action.FAIL)
    rows: T.LongType = column("rows in quarantine", ge=1, action=Action.FAIL)

    class Config:
        metadata = table_metadata(owners=OWNERS, key=("table", "feed_day", "rules"), key_action=Action.FAIL)


def _not_made(**_: "DataFrame") -> "DataFrame":
    raise LakehouseError("Nothing computes this table: the platform publishes what its journals hold.")


def _table(name: str, contract: type[Contract]) -> Table:
    return Table(TableKey("ops", "gold", name), contract, _not_made, MappingProxyType({}), Overwrite())


CHECK_RESULTS = _table("check_results", CheckResult)
QUARANTINE = _table("quarantine", Quarantined)
QUALITY_TABLES = (CHECK_RESULTS, QUARANTINE)
"""In the warehouse `ops.check_results` and `ops.quarantine`."""
