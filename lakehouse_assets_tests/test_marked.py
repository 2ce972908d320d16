"""Many rows of which none repeats are not sorted: what is marked is what sorting all of them marks."""

from datetime import date, timedelta
from typing import TYPE_CHECKING

import pyspark.sql.types as T
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from lakehouse_assets.platform.conform import ContractMismatch
from lakehouse_assets.platform.contract import Action, Contract, column, facts
from lakehouse_assets.platform.evaluate import DUPLICATE, kept, mark
from lakehouse_assets.platform.marked import marked

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
        metadata = facts(key=("id",))


class Counted(Landed):
    """The key is not of the source's columns."""

    id: T.LongType = column("key")
    value: T.StringType = column("what it says", isin=["a", "b"])

    class Config:
        metadata = facts(key=("id",))


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


def sides(frame: "DataFrame", contract: type[Contract]) -> tuple[list[str], list[str]]:
    """The marked rows as text: all of them sorted, and after a look whether one repeats another."""
    compiled, by = contract.compiled(), ("feed_day", "record_hash")
    with marked(frame, compiled, by, hold=False, many=True) as rows:
        quick = rows.all.collect()
    return sorted(map(str, mark(frame, compiled, duplicates_of=by).collect())), sorted(map(str, quick))


@pytest.mark.slow
@pytest.mark.parametrize("contract", CONTRACTS)
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_repeating_rows_are_marked_the_same(
    spark: "SparkSession", contract: type[Contract], data: st.DataObject
) -> None:
    days = [data.draw(rows_of_a_day) for _ in range(CASES)]
    whole, quick = sides(frame(spark, contract, days), contract)
    assert quick == whole


@pytest.mark.parametrize("contract", CONTRACTS)
def test_where_no_key_repeats_nothing_is_sorted(spark: "SparkSession", contract: type[Contract]) -> None:
    """Where the key is of the source's columns; else a hash may repeat all the same."""
    days: list[list[Row]] = [[(1, "x", "a"), (2, "y", "?"), (3, "z", "b")], [(1, "x", "a"), (None, "y", "b")]]
    there = frame(spark, contract, days)
    whole, quick = sides(there, contract)
    assert quick == whole
    with marked(there, contract.compiled(), ("feed_day", "record_hash"), hold=False, many=True) as rows:
        assert ("Window" in rows.all._explain_string()) is (contract is not OfSource)
        assert rows.all.where(DUPLICATE).count() == 0


def test_a_filter_on_the_marks_does_not_compute_the_transformation_for_each_rule(spark: "SparkSession") -> None:
    number = F.col("id").cast("string")
    there = spark.range(3).select(
        F.lit(FIRST).alias("feed_day"), F.lit(1).alias("version"), F.lit("a.csv").alias("source_file"),
        F.col("id").alias("row_number"), number.alias("record_hash"), "id", F.concat(F.lit("a"), number).alias("value"),
    )  # fmt: skip
    every = mark(there, OfSource.compiled(), duplicates_of=("feed_day", "record_hash"), none_repeats=True)
    optimized = (
        kept(every, OfSource.compiled())._explain_string(extended=True).partition("== Optimized Logical Plan ==")
    )
    assert optimized[2].partition("== Physical Plan ==")[0].count("concat(") == 1


def test_a_frame_that_does_not_fit_is_refused_before_anything_is_computed(spark: "SparkSession") -> None:
    there = spark.createDataFrame([], "feed_day date, id long")
    with (
        pytest.raises(ContractMismatch, match="record_hash is missing"),
        marked(there, OfSource.compiled(), ("feed_day", "record_hash"), hold=False, many=True),
    ):
        pytest.fail("it was marked")
