"""Erase a person from a domain: from the landed files, from every table made of them, and from old versions of these.

Killed at any point, the same command again finishes: the list of the erased comes first, and what is already without
the person is left as it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from lakehouse_assets.platform import erasure, writer
from lakehouse_assets.platform.catalog import Catalog
from lakehouse_assets.platform.code_version import code_version
from lakehouse_assets.platform.days import write_days
from lakehouse_assets.platform.delta import Kind, Note, open_table
from lakehouse_assets.platform.delta_log import unjudged
from lakehouse_assets.platform.errors import LakehouseError
from lakehouse_assets.platform.history import target_of
from lakehouse_assets.platform.landing import manifest_path
from lakehouse_assets.platform.materialize import Step, materialize
from lakehouse_assets.platform.outcome import Status
from lakehouse_assets.platform.plan import Lake, landed_name, make_plan
from lakehouse_assets.platform.reader import read_inputs
from lakehouse_assets.platform.s3 import S3Path
from lakehouse_assets.platform.store import Location
from lakehouse_assets.platform.table import Table, TableKey

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class NoSubject(LakehouseError):
    """The table's files do not say whose their rows are."""


@dataclass(frozen=True)
class Forgotten:
    """What was done to a table."""

    table: str
    days: int
    rows_removed: int
    old_files_removed: int


def forget(spark: "SparkSession", lake: Lake, catalog: Catalog, name: str, subject: str) -> list[Forgotten]:
    """Erase `subject` (the source's identifier) from the whole domain of `name` (`loyalty/clientes`).

    Raises NoSubject, NoKey, and what materializing raises.
    """
    domain = name.split("/")[0]
    sources = [t for t in catalog.tables if t.key.domain == domain and t.source and t.source.subject]
    if name not in {landed_name(table.key) for table in sources}:
        having = ", ".join(landed_name(table.key) for table in sources) or "none in this domain"
        raise NoSubject(f"The files of {name} do not say whose their rows are. These do: {having}")
    erasure.remember(lake.landing, domain, subject)
    days: dict[TableKey, set[date]] = {}
    removed: dict[TableKey, int] = {}
    for table in sources:
        folder = manifest_path(lake.landing, landed_name(table.key)).parent
        column = table.source.subject if table.source else None
        parts = erasure.rewrite_parts(folder, column, subject) if column else []
        removed[table.key] = sum(part.rows_removed for part in parts)
        days[table.key] = erasure.erased_days(folder)
    step = Step(spark, lake, catalog, f"forget-{domain}")
    done = []
    for table in _downstream(catalog, sources):
        asked = days.setdefault(table.key, set()).union(*[days.get(r.table, set()) for r in table.reads.values()])
        days[table.key] = asked
        if asked and lake.version(table.key) is not None:
            plan = make_plan(lake, table, asked)
            outcome = materialize(step, plan, table(**read_inputs(spark, lake, plan, catalog)))
            rebuilt = {day.day for day in outcome.with_status(Status.COMMITTED)}
            _say_erased(step, table, rebuilt)
            if left := asked - rebuilt:
                raise LakehouseError(
                    f"{table.key} of {write_days(left)} could not be made without the person: an input failed a check, "
                    "or is not checked yet. Repair those days, then forget again."
                )
        done.append(Forgotten(str(table.key), len(asked), removed.get(table.key, 0), _remove_old(spark, lake, table)))
    return done


def _downstream(catalog: Catalog, sources: list[Table]) -> Iterator[Table]:
    """The sources and every table made of them, upstream first."""
    reached = {table.key for table in sources}
    yield from sources
    own = [table for table in catalog.tables if table.key.domain == sources[0].key.domain]
    left = [table for table in own if table.key not in reached]
    while ready := [
        table
        for table in left
        if any(read.table in reached for read in table.reads.values())
        and not any(read.table in {other.key for other in left if other is not table} for read in table.reads.values())
    ]:
        yield from ready
        reached |= {table.key for table in ready}
        left = [table for table in left if table.key not in reached]


def _say_erased(step: Step, table: Table, days: set[date]) -> None:
    """A commit of no rows whose note says so: a replay of these days then answers that they were erased."""
    target, base = target_of(step.lake, table), step.lake.version(table.key)
    attempt = f"{step.run_id}/{table.key}@{base}"
    note = Note(
        table=str(table.key),
        run_id=step.run_id,
        attempt=attempt,
        days=frozenset(days),
        code_version=code_version(table),
        inputs={},
        base=base,
        unjudged=frozenset(unjudged(target.path)),
        kind=Kind.ERASURE,
    )
    writer.append(step.spark.createDataFrame([], target.schema), target, note, base)


def _remove_old(spark: "SparkSession", lake: Lake, table: Table) -> int:
    """Remove the files that only old versions of a table need: they hold the person still."""
    found = 0
    for path in (lake.path(table.key), lake.changes(table.key), lake.quarantine(table.key)):
        found += len(_vacuum(spark, path))
    return found


def _vacuum(spark: "SparkSession", path: Location) -> list[str]:
    """delta-rs commits that it vacuumed. In a bucket only Spark may commit to a data table, so there it does it."""
    table = open_table(path)
    if table is None:
        return []
    in_bucket = isinstance(path, S3Path)
    removed = table.vacuum(retention_hours=0, dry_run=in_bucket, enforce_retention_duration=False)
    if in_bucket:
        spark.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", "false")
        spark.sql(f"VACUUM delta.`{path}` RETAIN 0 HOURS").collect()
    return removed
