"""One write of a step: every row once, in the files of its state, and what is counted from them."""

from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pyspark.sql.types as T
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse_assets.platform.contracts.contract import Contract, column, table_metadata
from lakehouse_assets.platform.contracts.rules import Action
from lakehouse_assets.platform.declare.table import ReplaceDays, Table, TableKey, day
from lakehouse_assets.platform.planning.plan import Lake, Plan
from lakehouse_assets.platform.storage.commit_metadata import InputVersion
from lakehouse_assets.platform.transform import step_write
from lakehouse_assets.platform.validation.day_result import DayCounts
from lakehouse_assets.platform.validation.schema_check import ContractMismatch
from lakehouse_assets.platform.validation.validated_rows import DUPLICATES, HASH, PASSED, QUARANTINED, ValidatedRows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FIRST = date(2023, 1, 1)
CASES = 80  # side by side, a day each
Row = tuple[int | None, str | None, str | None]  # key, hash, value


class Landed(Contract):
    """What every table here has."""

    feed_day: T.DateType = column("feed day", action=Action.FAIL)
    version: T.IntegerType = column("landing", action=Action.FAIL)
    source_file: T.StringType = column("file", action=Action.FAIL)
    row_number: T.LongType = column("row", action=Action.FAIL)
    record_hash: T.StringType = column("hash of the row as it came", nullable=True)


class OfSource(Landed):
    """The key is of the source's columns: rows of one hash have one key."""

    id: T.LongType = column("key", source=True)
    value: T.StringType = column("what it says", source=True, isin=["a", "b"])

    class Config:
        metadata = table_metadata(key=("id",))


class Counted(Landed):
    """The key is not of the source's columns."""

    id: T.LongType = column("key")
    value: T.StringType = column("what it says", isin=["a", "b"])

    class Config:
        metadata = table_metadata(key=("id",))


class Unkeyed(Landed):
    """No key."""

    id: T.LongType = column("a number", nullable=True)
    value: T.StringType = column("what it says", isin=["a", "b"])


CONTRACTS = (OfSource, Counted, Unkeyed)
keys, hashes = st.sampled_from([1, 2, 3, None]), st.sampled_from(["x", "y", "z", None])
rows_of_a_day = st.lists(st.tuples(keys, hashes, st.sampled_from(["a", "b", "?"])), max_size=6)


def frame(spark: "SparkSession", contract: type[Contract], days: list[list[Row]]) -> "DataFrame":
    """The rows of each day, as landed in their order. Of a source's rows the hash follows from what they say."""
    rows = [
        (FIRST + timedelta(days=n), 1, "a.csv", number, f"{key}{value}" if contract is OfSource else hash_, key, value)
        for n, day in enumerate(days)
        for number, (key, hash_, value) in enumerate(day)
    ]
    names = ["feed_day", "version", "source_file", "row_number", "record_hash", "id", "value"]
    types = {field.name: field.dataType for field in contract.compiled().spark_schema}
    schema = T.StructType([T.StructField(name, types[name]) for name in names])
    return spark.createDataFrame(rows, schema)


def written(frame: "DataFrame", contract: type[Contract], folder: Path, *, many: bool) -> ValidatedRows:
    """The rows written by a step that expects few rows, or many."""
    source = TableKey("t", "silver", "there")
    table = Table(TableKey("t", "silver", "here"), contract, lambda there: there, {"there": day(source)}, ReplaceDays())
    days = tuple(FIRST + timedelta(days=n) for n in range(CASES))
    plan = Plan(table, days, days, {}, None, None, {"there": InputVersion(None, "")})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(step_write, "rows_read", lambda lake, plan: step_write.MANY_ROWS + 1 if many else None)
        return step_write.write_rows(Lake(folder, folder / "landing"), plan, frame, frame.schema)


def states(rows: ValidatedRows) -> dict[str, list[str]]:
    """What is written of each state."""
    found: dict[str, list[str]] = defaultdict(list)
    for state in (PASSED, QUARANTINED, DUPLICATES):
        for file in rows.files(state):
            found[state] += map(str, pq.ParquetFile(str(file)).read().to_pylist())
    return {state: sorted(lines) for state, lines in found.items()}


def expected(contract: type[Contract], days: list[list[Row]]) -> dict[date, tuple[int, int, int]]:
    """Passed, quarantined and duplicate rows of each day, by a plain reading of the rules."""
    found: dict[date, tuple[int, int, int]] = {}
    for n, rows in enumerate(days):
        seen: set[object] = set()
        first: dict[object, list[bool]] = defaultdict(list)
        passed = quarantined = duplicates = 0
        for key, hash_, value in rows:
            sha = f"{key}{value}" if contract is OfSource else hash_
            if sha in seen:
                duplicates += 1
                continue
            seen.add(sha)
            bad = value == "?" or (key is None and contract is not Unkeyed)
            first[key].append(bad)
        for key, broken in first.items():
            keyed = contract is not Unkeyed and key is not None
            good = broken.count(False)
            stays = min(good, 1) if keyed else good
            passed += stays
            quarantined += len(broken) - stays
        if rows:
            found[FIRST + timedelta(days=n)] = (passed, quarantined, duplicates)
    return found


def totals(counts: dict[date, DayCounts]) -> dict[date, tuple[int, int, int]]:
    return {day: (of.kept, of.quarantined, of.duplicates) for day, of in counts.items()}


@pytest.mark.slow
@pytest.mark.parametrize("contract", CONTRACTS)
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_rows_go_to_the_files_of_their_state_however_many_come(
    spark: "SparkSession", contract: type[Contract], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    days = [data.draw(rows_of_a_day) for _ in range(CASES)]
    there, folder = frame(spark, contract, days), tmp_path_factory.mktemp("written")
    few, many = (written(there, contract, folder, many=many) for many in (False, True))
    assert states(few) == states(many)
    assert totals(few.count()) == expected(contract, days)
    assert few.count() == many.count()


def test_where_no_key_repeats_the_rows_are_written_once_and_not_sorted(
    spark: "SparkSession", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[bool] = []
    mark = step_write.validate_rows

    def noted(*arguments: object, none_repeats: bool, **options: object) -> "DataFrame":
        writes.append(none_repeats)
        return mark(*arguments, none_repeats=none_repeats, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(step_write, "validate_rows", noted)
    once: list[list[Row]] = [[(1, "x", "a"), (2, "y", "?"), (3, "z", "b")], [(1, "x", "a"), (None, "y", "b")]]
    rows = written(frame(spark, OfSource, once), OfSource, tmp_path, many=True)
    assert (writes, totals(rows.count())) == ([True], expected(OfSource, once))
    assert len(list(tmp_path.glob("t/silver/here/attempt-*"))) == 1
    written(frame(spark, OfSource, [[(1, "x", "a"), (1, "x", "a")]]), OfSource, tmp_path, many=True)
    assert writes == [True, True, False], "again, with a look at every row"
    written(frame(spark, Counted, once), Counted, tmp_path, many=True)
    assert writes[3:] == [False], "a hash may repeat where no key does"


def test_what_is_written_beside_the_columns_is_not_of_the_table(spark: "SparkSession", tmp_path: Path) -> None:
    rows = written(frame(spark, OfSource, [[(1, "x", "a"), (2, "y", "?")]]), OfSource, tmp_path, many=False)
    (file,) = rows.files(PASSED)
    names = pq.ParquetFile(str(file)).schema_arrow.names
    assert names[: len(OfSource.compiled().spark_schema)] == OfSource.compiled().spark_schema.names
    assert HASH in names
    (sample,) = rows.samples(["value:isin"])[FIRST, "value:isin"]
    assert (sample["id"], sample["value"], sample["row_number"]) == (2, "?", 1)


def test_a_frame_that_does_not_fit_is_refused_before_anything_is_computed(
    spark: "SparkSession", tmp_path: Path
) -> None:
    there = spark.createDataFrame([], "feed_day date, id long")
    with pytest.raises(ContractMismatch, match="record_hash is missing"):
        written(there, OfSource, tmp_path, many=False)
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize("day", [[(1, "x", "?"), (1, "x", "?")], [(1, "x", "a"), (1, "y", "?")]], ids=["twice", "key"])
def test_of_many_rows_those_that_leave_are_told_apart_as_of_few(
    spark: "SparkSession", tmp_path: Path, day: list[Row]
) -> None:
    few, many = (
        written(frame(spark, OfSource, [day]), OfSource, tmp_path / str(large), many=large) for large in (False, True)
    )
    assert states(few) == states(many)
    assert few.count() == many.count()
