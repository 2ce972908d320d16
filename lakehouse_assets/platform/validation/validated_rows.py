"""The validated rows of a step, written once: passed, quarantined and duplicate rows in files of their own.

Spark writes each row with its state, the rules that it broke and a hash of its values, in one action. Counts, samples
and digests are read from these columns of the files (DuckDB, streaming), so nothing is computed or held twice. Readers
of the table do not see the extra columns: its schema does not name them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow.dataset as ds

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.contracts.compiled import CompiledContract
from lakehouse_assets.platform.storage.data_files import arrow_path, list_parquet, new_attempt, remove_folder
from lakehouse_assets.platform.storage.location import Location, answering
from lakehouse_assets.platform.storage.parquet_files import write_parquet
from lakehouse_assets.platform.storage.target import Target
from lakehouse_assets.platform.validation.day_result import DayCounts
from lakehouse_assets.platform.validation.row_digests import RUN_COLUMNS, row_hash
from lakehouse_assets.platform.validation.row_validation import (
    BROKEN,
    DUPLICATE,
    IS_QUARANTINED,
    MissingDay,
    row_json,
    shown,
)

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

STATE = "_state"  # no column of a contract begins so
PASSED, QUARANTINED, DUPLICATES = "passed", "quarantined", "duplicate"
HASH, WHOLE = "_hash", "_row"
OF_LANDING = ("_source_file", "_row_number", "_version")
SAMPLES = 20


@dataclass(frozen=True)
class ValidatedRows:
    """The files of an attempt to write a table, in a folder for each state."""

    contract: CompiledContract
    attempt: Location
    named: set[str] = field(default_factory=set)

    def remove_unnamed(self) -> None:
        """Remove the files that no commit has named (`named`: their paths below the table)."""
        if not self.named:
            remove_folder(self.attempt)
            return
        system, _ = arrow_path(self.attempt)
        beginning = len(arrow_path(self.attempt.parent)[1]) + 1
        for file, _ in list(list_parquet(self.attempt)):
            name = arrow_path(file)[1]
            if name[beginning:] not in self.named:
                system.delete_file(name)

    def files(self, state: str) -> list[Location]:
        """The files of the rows of one state."""
        return [file for file, _ in list_parquet(self.attempt / f"{STATE}={state}")]

    def count(self) -> dict[date, DayCounts]:
        """Counts and digests of each feed day that has rows. Raises MissingDay."""
        found: dict[date, dict[str, Any]] = {}
        for state in (PASSED, QUARANTINED, DUPLICATES):
            for row in self._groups(state):
                _add_group(found.setdefault(row["day"], _nothing(self.contract)), state, row)
        if None in found:
            raise MissingDay(
                f"{self.contract.name}: {found[None]['rows']} rows have no {DAY_COLUMN}; "  # type: ignore[index]
                "a transformation must set it on every row."
            )
        return {day: _day_counts(counts) for day, counts in sorted(found.items())}

    def _groups(self, state: str) -> list[dict[str, Any]]:
        event_time = self.contract.event_time
        newest = f'max(cast("{event_time}" as timestamp))' if event_time else "cast(null as timestamp)"
        return self._ask(
            [state],
            [DAY_COLUMN, BROKEN, HASH, *([event_time] if event_time else [])],
            f"select {DAY_COLUMN} as day, {BROKEN} as broken, count(*) as rows, "  # noqa: S608  (names of a contract)
            f"cast(sum(cast({HASH} as hugeint)) as varchar) as hash, {newest} as newest from found group by all",
        )

    def repeated(self, columns: Sequence[str], states: Sequence[str] = (PASSED,)) -> dict[date, int]:
        """How many rows of these states are of the same feed day and values as another, by day."""
        named = list(dict.fromkeys((DAY_COLUMN, *columns)))
        keys = ", ".join(f'"{name}"' for name in named)
        found = self._ask(
            states,
            named,
            f"with each as (select {keys}, count(*) - 1 as more from found group by {keys} having count(*) > 1) "  # noqa: S608
            f"select {DAY_COLUMN} as day, cast(sum(more) as bigint) as more from each group by all",
        )
        return {row["day"]: row["more"] for row in found}

    def samples(self, rules: Collection[str]) -> dict[tuple[date, str], list[dict[str, Any]]]:
        """Up to 20 rows per day and broken rule of `rules`, without personal data."""
        found: dict[tuple[date, str], list[dict[str, Any]]] = {}
        for row in sorted(
            (row for state in (PASSED, QUARANTINED) for row in self._broken(state, rules)),
            key=lambda row: (row["day"], row["rule"], row["rank"]),
        ):
            of = found.setdefault((row["day"], row["rule"]), [])
            if len(of) < SAMPLES:
                known = {name[1:]: row[name] for name in OF_LANDING if row[name] is not None}
                of.append({**shown(row["whole"], self.contract.personal), **known})
        return found

    def _broken(self, state: str, rules: Collection[str]) -> list[dict[str, Any]]:
        columns = ", ".join(OF_LANDING)
        order = f"{OF_LANDING[2]}, {OF_LANDING[0]}, {OF_LANDING[1]}, whole"
        return self._ask(
            [state],
            [DAY_COLUMN, BROKEN, WHOLE, *OF_LANDING],
            f"with each as (select {DAY_COLUMN} as day, unnest({BROKEN}) as rule, {WHOLE} as whole, {columns} "  # noqa: S608
            f"from found where len({BROKEN}) > 0) "
            f"select *, row_number() over (partition by day, rule order by {order}) as rank from each "
            f"where list_contains(?, rule) qualify rank <= {SAMPLES}",
            [sorted(rules)],
        )

    def _ask(
        self, states: Sequence[str], columns: Sequence[str], query: str, parameters: Sequence[object] = ()
    ) -> list[dict[str, Any]]:
        """Rows of SQL over the files of these states, called `found`; a connection for each question."""
        files = [file for state in states for file in self.files(state)]
        if not files:
            return []
        with answering(self.attempt), duckdb.connect() as connection:
            connection.register("found", _dataset(files).scanner(columns=[*columns], batch_size=65_536))
            answer = connection.execute(query, parameters)
            names = [column[0] for column in answer.description or ()]
            return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def write_validated(
    rows: "DataFrame",
    target: Target,
    contract: CompiledContract,
    columns: Sequence[str] | None = None,
    extra: "Mapping[str, Column]" = MappingProxyType({}),
) -> ValidatedRows:
    """Write marked rows (see `evaluate.mark`) in one Spark action, into a new attempt of the table.

    `columns`: those of the rows; if they are not given, Spark is asked. `extra`: further columns of the files.
    """
    attempt = new_attempt(target.path)
    marked = _with_state(rows, contract, rows.columns if columns is None else columns, extra)
    write_parquet(marked, attempt, target.parquet, [STATE])
    return ValidatedRows(contract, attempt)


def _with_state(
    rows: "DataFrame", contract: CompiledContract, columns: Sequence[str], extra: "Mapping[str, Column]"
) -> "DataFrame":
    from pyspark.sql import functions as F

    broken = F.size(BROKEN) > 0
    state = F.when(F.col(DUPLICATE), DUPLICATES).when(F.col(IS_QUARANTINED), QUARANTINED).otherwise(PASSED)
    landed = "source_file" in columns
    version = "landing" if "landing" in columns else "version"
    provenance = [
        (F.col(source) if landed and source in columns else F.lit(None)).cast(kind)
        for source, kind in (("source_file", "string"), ("row_number", "bigint"), (version, "int"))
    ]
    # The digest of quarantined rows: rules, origin, and the row without the columns that differ from run to run.
    left = [F.col(BROKEN), *provenance, row_json(columns, RUN_COLUMNS)]
    left_hash = F.xxhash64(*left, *map(F.isnull, left))
    day = [] if DAY_COLUMN in contract.spark_schema.names else [F.col(DAY_COLUMN)]
    return rows.select(
        *[F.col(field.name).cast(field.dataType).alias(field.name) for field in contract.spark_schema],
        *day,
        *[value.alias(name) for name, value in extra.items()],
        F.col(BROKEN),
        F.when(F.col(IS_QUARANTINED), left_hash).otherwise(row_hash(contract)).alias(HASH),
        F.when(broken, row_json(columns)).alias(WHOLE),
        *[F.when(broken, value).alias(name) for name, value in zip(OF_LANDING, provenance, strict=True)],
        state.alias(STATE),
    )


def _dataset(files: Sequence[Location]) -> ds.Dataset:
    system, _ = arrow_path(files[0])
    return ds.dataset([arrow_path(file)[1] for file in files], format="parquet", filesystem=system)


def _nothing(contract: CompiledContract) -> dict[str, Any]:
    return {
        "rows": 0, PASSED: 0, QUARANTINED: 0, DUPLICATES: 0, "newest": None,
        "broken": {rule.name: 0 for rule in contract.rules},
        "hash": {PASSED: 0, QUARANTINED: 0, DUPLICATES: 0},
    }  # fmt: skip


def _add_group(counts: dict[str, Any], state: str, row: Mapping[str, Any]) -> None:
    counts["rows"] += row["rows"]
    counts[state] += row["rows"]
    counts["hash"][state] += int(row["hash"])
    for rule in row["broken"] or ():
        counts["broken"][rule] += row["rows"]
    if state == PASSED and row["newest"] is not None:
        counts["newest"] = max(counts["newest"] or row["newest"], row["newest"])


def _day_counts(counts: Mapping[str, Any]) -> DayCounts:
    return DayCounts(
        rows=counts["rows"],
        duplicates=counts[DUPLICATES],
        quarantined=counts[QUARANTINED],
        kept=counts[PASSED],
        broken=counts["broken"],
        newest=counts["newest"],
        digest=_hexadecimal(counts["hash"][PASSED]),
        quarantined_digest=_hexadecimal(counts["hash"][QUARANTINED]) if counts[QUARANTINED] else "",
        duplicates_digest=_hexadecimal(counts["hash"][DUPLICATES]) if counts[DUPLICATES] else "",
    )


def _hexadecimal(hashes: int) -> str:
    return f"{hashes % 2**64:016x}"
