"""What a publication of a ledger has to look at: the entities that the new days touch, or everything.

A ledger's figures are sums over entities, and what an entity contributes follows from its own records alone. So a
publication needs the entities with records in days that are new, or that changed since the versions which the last
publication read: their contributions then and now. All others contribute what they did. The result is the same as
that of recomputing everything, which is done instead where the last publication cannot be built upon.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from lakehouse_assets.platform.common.days import DAY_COLUMN, DayRange
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import LANDING_LAYER, Ledger, ReplaceDays, Span, Table
from lakehouse_assets.platform.fingerprint.code_version import code_version
from lakehouse_assets.platform.ledger.affected_keys import Records, look_up
from lakehouse_assets.platform.ledger.ledger import News, Steps, everything, only_after, replaced
from lakehouse_assets.platform.planning.plan import Lake, Plan
from lakehouse_assets.platform.planning.reader import read_input, read_table
from lakehouse_assets.platform.storage.changed_days import changed_days, first_day, is_readable
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata
from lakehouse_assets.platform.storage.delta_table import Commit, last_commit, open_table, query_rows
from lakehouse_assets.platform.storage.delta_writer import on_days

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

MOST_TOUCHED = 0.25  # share of all days beyond which looking at everything is cheaper


@dataclass(frozen=True)
class Since:
    """The last publication: its newest day, the versions it read, and the days of each input that changed since."""

    published: date
    versions: Mapping[str, int]
    stale: Mapping[str, frozenset[date]]

    def touched(self, name: str, top: date) -> frozenset[date]:
        """Days of an input whose entities a publication up to `top` looks at."""
        new = {day for day in DayRange(self.published, top) if day > self.published}
        return self.stale[name] | new


def steps_of(plan: Plan) -> Steps:
    """The days that a ledger's plan publishes."""
    requested = plan.days or plan.requested
    return Steps(plan.published, requested[0], requested[-1])


def days_of(plan: Plan, counted: Collection[date]) -> list[date]:
    """Days a commit stands for. A ledger's also covers the days it carries forward, from the first that has figures."""
    if not isinstance(plan.table.write, Ledger):
        return list(plan.days)
    steps = steps_of(plan)
    first = min([*counted, *plan.days]) if plan.published is None else plan.published + timedelta(days=1)
    carried = (date.fromordinal(n) for n in range(first.toordinal(), steps.top.toordinal() + 1))
    return sorted({*carried, *plan.days})


def rows_before(lake: Lake, plan: Plan, days: Collection[date]) -> dict[date, int]:
    """Rows that a ledger has of each of these days already, by the day whose publication appended them."""
    asked = [day for day in days if plan.published is not None and day <= plan.published]
    if not asked or not isinstance(plan.table.write, Ledger):
        return {}
    listed = ", ".join(f"DATE '{day.isoformat()}'" for day in asked)
    query = f"SELECT {DAY_COLUMN}, count(*) AS n FROM t WHERE {DAY_COLUMN} IN ({listed}) GROUP BY {DAY_COLUMN}"  # noqa: S608
    return {row[DAY_COLUMN]: row["n"] for row in query_rows(lake.path(plan.table.key), query, plan.base)}


def news(spark: "SparkSession", lake: Lake, catalog: Catalog, plan: Plan, *, whole: bool = False) -> News:
    """The contributions to publish, as the table's function computes them. `whole`: look at all of them in any case."""
    steps, write = steps_of(plan), plan.table.write
    assert isinstance(write, Ledger), plan.table.key
    since = None if whole else since_last(lake, catalog, plan)
    now = {name: read_input(spark, lake, plan, name, catalog) for name in plan.table.reads}
    if since is None:
        return everything(plan.table(**now), write, steps)
    before = {
        name: read_table(spark, lake, catalog.table(plan.table.reads[name].table), version)
        for name, version in since.versions.items()
    }
    grouping_key = _grouping_key_of(catalog, plan.table)
    assert grouping_key is not None, "nothing is cut where it is not known"
    concerned = F.broadcast(look_up(spark, touched_records(lake, plan, since), grouping_key))

    def contributions(inputs: "Mapping[str, DataFrame]") -> "DataFrame":
        return plan.table(**{n: rows.join(concerned, [*write.grouping_key], "left_semi") for n, rows in inputs.items()})

    if not any(since.stale.values()):
        return only_after(since.published, contributions(now), write)
    then = {name: _as_published(now[name], before[name], since.stale[name], since.published) for name in now}
    return replaced(contributions(then), contributions(now), write, steps)


def since_last(lake: Lake, catalog: Catalog, plan: Plan) -> Since | None:
    """What changed since the last publication; None where everything has to be looked at.

    That is: nothing is published yet; the code has changed; an input was made anew, or is not one whose days are
    replaced; its old versions are gone; or so many days are concerned that everything is cheaper.
    """
    table, path = plan.table, lake.path(plan.table.key)
    last = last_commit(path, plan.base) if plan.base is not None else None
    if last is None or last.metadata is None or plan.published is None:
        return None
    if last.metadata.code_version != code_version(table) or not _can_be_cut(catalog, table):
        return None
    stale: dict[str, frozenset[date]] = {}
    versions: dict[str, int] = {}
    for name in table.reads:
        changed = _changed(lake, plan, name, last, last.metadata)
        if changed is None:
            return None
        versions[name], stale[name] = changed
    since = Since(plan.published, versions, stale)
    return since if _few(lake, plan, since) else None


def _can_be_cut(catalog: Catalog, table: Table) -> bool:
    """Whether every input has the entity in every row, and commits that name the days whose rows they replace."""
    if any(r.table.layer == LANDING_LAYER or r.span is not Span.THROUGH for r in table.reads.values()):
        return False
    sources = [catalog.table(read.table) for read in table.reads.values()]
    by_day = all(isinstance(s.write, ReplaceDays) and DAY_COLUMN in s.compiled.spark_schema.names for s in sources)
    return by_day and _grouping_key_of(catalog, table) is not None


def _grouping_key_of(catalog: Catalog, table: Table) -> StructType | None:
    """The columns of an entity; None where an input lacks one, has it in another type, or may have NULL in it."""
    assert isinstance(table.write, Ledger), table.key
    found: set[tuple[StructField | None, ...]] = set()
    for read in table.reads.values():
        columns = {field.name: field for field in catalog.table(read.table).compiled.spark_schema}
        known = [columns.get(name) for name in table.write.grouping_key]
        found.add(tuple(StructField(field.name, field.dataType, field.nullable) if field else None for field in known))
    (grouping_key, *others) = found
    fields = [field for field in grouping_key if field is not None and not field.nullable]
    return StructType(fields) if not others and len(fields) == len(grouping_key) else None


def _changed(
    lake: Lake, plan: Plan, name: str, last: Commit, metadata: CommitMetadata
) -> tuple[int, frozenset[date]] | None:
    """The version of an input that the last publication read, and its days that changed since and were published."""
    path = lake.path(plan.table.reads[name].table)
    was, now = metadata.inputs.get(name), plan.input_versions[name].version
    if was is None or was.version is None or now is None or now < was.version or plan.published is None:
        return None
    source = open_table(path)
    if source is None or (source.metadata().created_time or 0) > last.timestamp:
        return None  # made anew: the old version's number is another table's
    days = changed_days(path, was.version, now)
    if days is None:
        return None
    stale = frozenset(day for day in days if day <= plan.published)
    return (was.version, stale) if not stale or is_readable(path, was.version) else None


def _few(lake: Lake, plan: Plan, since: Since) -> bool:
    top = steps_of(plan).top
    firsts = [
        first_day(lake.path(read.table), plan.input_versions[n].version or 0) for n, read in plan.table.reads.items()
    ]
    first = min((day for day in firsts if day is not None), default=top)
    concerned = set(plan.days).union(*[since.touched(name, top) for name in plan.table.reads])
    return len(concerned) <= MOST_TOUCHED * ((top - first).days + 1)


def touched_records(lake: Lake, plan: Plan, since: Since) -> list[Records]:
    """The records of touched days, as they are now and as they were when the days that changed were published."""
    found: list[Records] = []
    for name, read in plan.table.reads.items():
        path, days = lake.path(read.table), since.touched(name, steps_of(plan).top)
        sides = ((plan.input_versions[name].version, days), (since.versions[name], since.stale[name]))
        found += [Records(path, version, of_days) for version, of_days in sides if of_days and version is not None]
    return found


def _as_published(now: "DataFrame", before: "DataFrame", stale: frozenset[date], published: date) -> "DataFrame":
    """An input as the last publication read it. Days that did not change are read from the newest files."""
    unchanged = now.where((F.col(DAY_COLUMN) <= F.lit(published)) & ~on_days(DAY_COLUMN, stale))
    if not stale:
        return unchanged
    return unchanged.unionByName(before.where(on_days(DAY_COLUMN, stale)), allowMissingColumns=True)
