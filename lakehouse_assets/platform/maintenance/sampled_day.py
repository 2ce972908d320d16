"""A sampled day of a table, validated by Pandera and compared with what the platform said of it when it was made.

The platform judges all rules of a day in one pass before the commit; Pandera is the judge of that pass. Rows of a table
break no rule that quarantines them or fails their day. Of a rule that warns, the commit's note says whether any does.
"""

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.contracts.pandera_findings import Findings, findings
from lakehouse_assets.platform.contracts.rules import Action
from lakehouse_assets.platform.declare.table import Ledger, Overwrite, ReplaceDays, Table
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.planning.reader import read_table
from lakehouse_assets.platform.results.audit_log import failed_days
from lakehouse_assets.platform.storage.commit_log import unvalidated
from lakehouse_assets.platform.storage.delta_table import last_metadata, query_rows
from lakehouse_assets.platform.storage.location import Location
from lakehouse_assets.platform.storage.log_statistics import files
from lakehouse_assets.platform.transform.unchanged import standing

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakehouse_assets.platform.contracts.compiled import CompiledContract


@dataclass(frozen=True)
class Sample:
    """A day of a version of a table; of a table that is one state, the newest day it was made for and all its rows."""

    table: Table
    version: int
    day: date

    @property
    def is_whole(self) -> bool:
        """Whether all rows of the table belong to it: they have no feed day."""
        return DAY_COLUMN not in self.table.compiled.spark_schema.names


@dataclass(frozen=True)
class Claim:
    """What the commits of a sample's rows say: how many there are, and how many broke each rule that warns.

    `broken`: None where the newest note does not say it of all these rows. `left`: rows of the day that are in
    quarantine, whose warnings are counted as well.
    """

    rows: int
    broken: dict[str, int] | None
    left: int


@dataclass(frozen=True)
class Agreement:
    """A sample's rows, what Pandera found on them, and where that is not what the platform said."""

    sample: Sample
    rows: int
    findings: Findings
    differences: tuple[str, ...]


def draw(lake: Lake, table: Table, on: date) -> Sample | None:
    """The day of a table to validate on a date: the same for the same date, key and days of the table.

    None where nothing can be compared: no rows, or only days that wait for a verdict or failed.
    """
    path, version = lake.path(table.key), lake.version(table.key)
    if version is None:
        return None
    if DAY_COLUMN not in table.compiled.spark_schema.names:
        metadata = last_metadata(path, version)
        return (
            Sample(table, version, max(metadata.made)) if metadata and metadata.made and not unvalidated(path) else None
        )
    failed = failed_days(lake.tables, table.key.domain, str(table.key), path)
    days = sorted(_held_days(path, version) - failed - unvalidated(path).keys())
    if not days:
        return None
    number = int.from_bytes(hashlib.sha256(f"{on} {table.key}".encode()).digest()[:8])
    return Sample(table, version, days[number % len(days)])


def validate(spark: "SparkSession", lake: Lake, sample: Sample) -> Agreement:
    """Validate a sample by Pandera and compare. Raises StoreError, UnknownFeature."""
    rows = _rows(spark, lake, sample).persist()
    try:
        count = rows.count()
        found = findings(sample.table.contract, rows)
    finally:
        rows.unpersist()
    differ = tuple(differences(sample.table.compiled, found, count, _claim(lake, sample)))
    return Agreement(sample, count, found, differ)


def _held_days(path: Location, version: int) -> frozenset[date]:
    """The feed days of a version: by the statistics of its files, or where one holds several, by its rows."""
    found = files(path, version)
    unknown = [None] * len(found.get("path", ()))
    lows, highs = (found.get(f"{bound}.{DAY_COLUMN}", unknown) for bound in ("min", "max"))
    if all(low is not None and low == high for low, high in zip(lows, highs, strict=True)):
        return frozenset(lows)
    query = f"SELECT DISTINCT {DAY_COLUMN} FROM t"  # noqa: S608  (a constant)
    return frozenset(row[DAY_COLUMN] for row in query_rows(path, query, version)) - {None}


def _rows(spark: "SparkSession", lake: Lake, sample: Sample) -> "DataFrame":
    if sample.is_whole:
        return read_table(spark, lake, sample.table, sample.version)
    day = sample.day
    read = read_table(spark, lake, sample.table, sample.version, lambda file: file.may_hold(DAY_COLUMN, day, day))
    return read.where(F.col(DAY_COLUMN) == F.lit(day))


def _claim(lake: Lake, sample: Sample) -> Claim | None:
    """None where the notes are of other rows than the table's (changes of keys, what streams add), or others wrote."""
    path, version = lake.path(sample.table.key), sample.version
    match sample.table.write:
        case Overwrite():
            metadata = last_metadata(path, version)
            return _claim_of(path, version, metadata.rows if metadata else ())
        case Ledger():
            return _claim_of(path, version, [sample.day])
        case ReplaceDays(channel=None, refresh=None):
            return _claim_of(path, version, [sample.day])
    return None


def _claim_of(path: Location, version: int, days: Collection[date]) -> Claim | None:
    found = standing(path, version, days)
    if not days or set(found) != set(days):
        return None
    of_days = [of.rows for of in found.values()]
    broken: dict[str, int] = {}
    for rows in of_days:
        for rule, count in rows.broken.items():
            broken[rule] = broken.get(rule, 0) + count
    added_to = any(rows.before for rows in of_days)  # earlier commits counted their warnings in their own notes
    kept = sum(rows.of_the_day().kept for rows in of_days)
    return Claim(kept, None if added_to else broken, sum(rows.quarantined for rows in of_days))


def differences(contract: "CompiledContract", found: Findings, rows: int, claim: Claim | None) -> Iterator[str]:
    """Where what Pandera finds on the rows of a table is not what the platform says of them."""
    for reason in found.unvalidated:
        yield f"Pandera could not judge: {reason}"
    actions = {rule.name: rule.action for rule in contract.rules}
    of_day = {rule.name for rule in contract.of_day}
    for name, reason in found.broken.items():
        if name in of_day and (claim is None or claim.broken is None):
            continue  # it was judged of other rows together
        if actions.get(name) is not Action.WARN:
            yield f"{name}: rows of the table break it, says Pandera ({reason}); the platform let them pass"
        elif claim and claim.broken is not None and not claim.broken.get(name):
            yield f"{name}: rows of the table break it, says Pandera ({reason}); the platform counted none"
    if claim is None:
        return
    if claim.rows != rows:
        yield f"the table has {rows} rows, and its commits say {claim.rows}"
    for name, count in (claim.broken or {}).items():
        if actions.get(name) is Action.WARN and (name in of_day or not claim.left) and name not in found.broken:
            yield f"{name}: the platform counted {count} rows that break it, Pandera finds none"
