"""Replay: read again the versions that made a day, run the code, and prove that the same rows come out.

What cannot be replayed is answered by name, before anything is computed: erased on request, vacuumed, a landed file
that is gone or altered, written outside Dagster. That the code is another one today is said, and the rows compared
all the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from deltalake.exceptions import DeltaError
from pyspark.sql import functions as F

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.declare.scd import Scd
from lakehouse_assets.platform.declare.table import LANDING_LAYER, Ledger, ReplaceDays, Table, TableKey
from lakehouse_assets.platform.fingerprint.code_version import code_version, differing
from lakehouse_assets.platform.ingest.file_readers import LandingError
from lakehouse_assets.platform.ingest.landing import verify
from lakehouse_assets.platform.lineage.provenance import made_by
from lakehouse_assets.platform.planning.plan import Plan
from lakehouse_assets.platform.planning.reader import landed_parts, read_table
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.scd.scd_table import CHANGES, ScdTable
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, InputVersion, Kind
from lakehouse_assets.platform.storage.delta_table import commits, last_metadata, open_table
from lakehouse_assets.platform.storage.location import Location, files_of, missing
from lakehouse_assets.platform.storage.statistics_properties import CHANNEL
from lakehouse_assets.platform.transform.materialize import stamped, transformed
from lakehouse_assets.platform.transform.step_write import duplicates_of
from lakehouse_assets.platform.validation import row_validation
from lakehouse_assets.platform.validation.row_digests import RUN_COLUMNS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class Answer(Enum):
    """What a replay found."""

    SAME = "same"
    DIFFERENT = "different"
    CHANGED_CODE = "changed code"
    UNKNOWN_CODE = "unknown code"
    ERASED = "erased"
    VACUUMED = "vacuumed"
    LANDED_FILE = "landed file"
    OUTSIDE = "outside Dagster"
    STREAM = "stream"


@dataclass(frozen=True)
class Replay:
    """A day's replay: the version that made it, and how the rows compare.

    `missing` rows were made then and are not made now, `extra` the other way round; None where nothing was computed.
    """

    table: str
    day: date
    version: int
    answer: Answer
    message: str
    rows: int | None = None
    missing: int | None = None
    extra: int | None = None

    @property
    def identical(self) -> bool:
        """Whether the same rows were proved, by whatever code."""
        return self.missing == 0 and self.extra == 0

    def as_json(self) -> dict[str, Any]:
        """The fields, as JSON has them."""
        return {name: getattr(self, name) for name in ("table", "version", "message", "rows", "missing", "extra")} | {
            "day": str(self.day),
            "answer": self.answer.value,
        }


def replay(step: Step, key: TableKey, day: date, version: int | None = None) -> Replay:
    """Replay the newest commit (at or before `version`) that made a day. Raises LineageError when none did."""
    commit, metadata = made_by(step.lake, key, day, version)
    table = step.catalog.table(key)
    why_not = next(_obstacles(step, table, metadata, day, commit.version), None)
    if why_not:
        return Replay(str(key), day, commit.version, *why_not)
    differs = differing(metadata.code_version, code_version(table))
    plan = _plan(step, table, metadata, day)
    then = _then(step, table, plan, commit.version)
    now = _now(step, plan)
    recorded = metadata.rows[day]
    rows, missing, extra = _compare(then, now, table)
    same = missing == 0 and extra == 0 and (not isinstance(table.write, ReplaceDays) or rows == recorded.kept)
    outcome = (
        f"{rows} rows, all the same" if same else f"{missing} of {rows} rows are not made any more, {extra} are new"
    )
    if differs is None:
        message = f"whether the code is the same is unknown, version {commit.version} has no fingerprint: {outcome}"
        return Replay(str(key), day, commit.version, Answer.UNKNOWN_CODE, message, rows, missing, extra)
    if differs:
        message = f"the code is another one now ({', '.join(differs)}): {outcome}"
        return Replay(str(key), day, commit.version, Answer.CHANGED_CODE, message, rows, missing, extra)
    answer = Answer.SAME if same else Answer.DIFFERENT
    return Replay(str(key), day, commit.version, answer, outcome, rows, missing, extra)


def _obstacles(
    step: Step, table: Table, metadata: CommitMetadata, day: date, version: int
) -> Iterator[tuple[Answer, str]]:
    """Why the day cannot be replayed, the first reason first. Logs and file names alone are read."""
    path = step.lake.path(table.key)
    if metadata.kind is Kind.STREAM:
        yield (
            Answer.STREAM,
            f"version {version} was appended by a stream, up to {dict(metadata.position or {})}: see its source",
        )
        return
    if metadata.kind is not Kind.STEP:
        yield Answer.OUTSIDE, f"version {version} was written {Answer.OUTSIDE.value}: nothing says how. Its rows stand."
        return
    # What was erased of other days matters to a table that is one whole, not to one whose days stand alone.
    yield from _erased(path, table.key, version, day if isinstance(table.write, ReplaceDays) else None, day)
    for name, input_version in metadata.inputs.items():
        read = table.reads.get(name)
        if name.startswith(CHANGES):
            if input_version.version is not None:
                yield from _vacuumed(step.lake.changes(table.key), table.key, input_version.version)
        elif read is None:
            yield (
                Answer.CHANGED_CODE,
                f"the code was {metadata.code_version} and read {name}, which the table no longer reads",
            )
        elif input_version.version is not None and read.table.layer == LANDING_LAYER:
            yield from _landed(step, table, input_version, day)
        elif input_version.version is not None:
            first, last = read.bounds(day, max(day, metadata.published or day))
            yield from _erased(step.lake.path(read.table), read.table, input_version.version, first, last)
            yield from _vacuumed(step.lake.path(read.table), read.table, input_version.version)
    yield from _vacuumed(path, table.key, version)
    if isinstance(table.write, Ledger) and metadata.base is not None:
        yield from _vacuumed(path, table.key, metadata.base)


def _erased(
    path: Location, key: TableKey, version: int, first: date | None, last: date
) -> Iterator[tuple[Answer, str]]:
    for commit in commits(path, after=version):
        if commit.metadata and commit.metadata.kind is Kind.ERASURE:
            days = [day for day in commit.metadata.days if (first is None or day >= first) and day <= last]
            if days:
                yield Answer.ERASED, f"rows of {key} of {min(days)} were erased on request by version {commit.version}"


def _vacuumed(path: Location, key: TableKey, version: int) -> Iterator[tuple[Answer, str]]:
    kept = "Its figures, hashes and landed files remain."
    try:
        table = open_table(path, version)
    except DeltaError:
        table = None
    if table is None:
        yield Answer.VACUUMED, f"version {version} of {key} is older than the table's log. {kept}"
        return
    files = files_of(path, table)
    gone = missing(files)
    if gone:
        yield Answer.VACUUMED, f"{len(gone)} of {len(files)} files of version {version} of {key} were vacuumed. {kept}"


def _landed(step: Step, table: Table, input_version: InputVersion, day: date) -> Iterator[tuple[Answer, str]]:
    for part in landed_parts(step.lake, table.key, (day,), input_version.version):
        try:
            verify(part)
        except LandingError as error:
            yield Answer.LANDED_FILE, str(error)


def _plan(step: Step, table: Table, metadata: CommitMetadata, day: date) -> Plan:
    """The plan that the step had. Of a table whose days are replaced, the one day is enough."""
    days = (day,) if isinstance(table.write, ReplaceDays | Scd) else tuple(sorted(metadata.requested))
    before = last_metadata(step.lake.path(table.key), metadata.base) if metadata.base is not None else None
    return Plan(
        table=table,
        requested=days,
        days=days,
        blocked={},
        base=metadata.base,
        published=before.published if before else None,
        input_versions=metadata.inputs,
    )


def _now(step: Step, plan: Plan) -> "DataFrame":
    rows, schema = stamped(step, plan, transformed(step, plan, whole=True), datetime.now(UTC))
    marked = row_validation.validate_rows(rows, plan.table.compiled, duplicates_of=duplicates_of(plan), schema=schema)
    kept = row_validation.passed_rows(marked, plan.table.compiled)
    spec = plan.table.write
    return ScdTable(step.spark, step.lake, plan.table, spec).log.as_validated(kept) if isinstance(spec, Scd) else kept


def _then(step: Step, table: Table, plan: Plan, version: int) -> "DataFrame":
    """What the commit wrote: its day, the rows it appended, the changes it was made of, or the whole state."""
    if isinstance(table.write, Scd):
        return ScdTable(step.spark, step.lake, table, table.write).validated_then(plan, plan.days[0])
    stored = read_table(step.spark, step.lake, table, version)
    match table.write:
        case ReplaceDays(channel=channel):
            of_day = stored.where(F.col(DAY_COLUMN) == F.lit(plan.days[0]))
            return of_day if channel is None else of_day.where(F.col(CHANNEL) == F.lit(channel))
        case Ledger():
            keys = table.compiled.key
            before = read_table(step.spark, step.lake, table, plan.base).select(*keys)
            return stored.join(before, list(keys), "left_anti")
    return stored


def _compare(then: "DataFrame", now: "DataFrame", table: Table) -> tuple[int, int, int]:
    """Rows then, rows missing now, rows extra now; run times apart, in one pass."""
    columns = [
        F.to_json(field.name).alias(field.name) if field.dataType.typeName() == "map" else F.col(field.name)
        for field in table.compiled.spark_schema
        if field.name not in RUN_COLUMNS
    ]
    sides = then.select(*columns, F.lit(1).alias("_side")).unionAll(now.select(*columns, F.lit(-1).alias("_side")))
    per_row = sides.groupBy(*[name for name in sides.columns if name != "_side"]).agg(
        F.sum("_side").alias("_left"), F.count_if(F.col("_side") == 1).alias("_then")
    )
    (found,) = per_row.agg(
        F.coalesce(F.sum("_then"), F.lit(0)),
        F.coalesce(F.sum(F.greatest("_left", F.lit(0))), F.lit(0)),
        F.coalesce(F.sum(F.greatest(-F.col("_left"), F.lit(0))), F.lit(0)),
    ).collect()
    return found[0], found[1], found[2]
