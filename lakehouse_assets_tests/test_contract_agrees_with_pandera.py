"""On the same rows, our one pass and `pandera.pyspark.validate` find the same rules broken."""

import math
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import pyspark.sql.types as T
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from lakehouse_assets.platform.contract import Contract, Rate, column, facts, row_rule
from lakehouse_assets.platform.evaluate import count_per_day, mark

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAY = date(2023, 1, 31)
COLUMNS = 8
EXAMPLES = 15  # contracts of 8 columns each: 120 random columns with up to three checks

small = st.integers(-3, 3)
dates = small.map(lambda n: DAY + timedelta(days=n))
times = small.map(lambda n: datetime(2023, 1, 31, 23, 59, 59, 999_999) + timedelta(microseconds=n))
decimals = small.map(lambda n: Decimal(n) / 100)
doubles = st.sampled_from([-1.5, -0.0, 0.0, 0.1, 1.5, math.inf, -math.inf])
texts = st.text("ab'\\\"$ {%é\n", max_size=3)
patterns = st.sampled_from(["a", "^a", "a+b", r"\\", r"\$", "a|b", "'", r"[^ab]\s?$", "", r"(?i)A", "${a}x|b", "é"])

ORDERED = ("eq", "ne", "gt", "ge", "lt", "le", "in_range", "isin", "notin")
KINDS: dict[Any, tuple[Any, st.SearchStrategy[Any], tuple[str, ...]]] = {
    "long": (T.LongType, small, ORDERED),
    "int": (T.IntegerType, small, ORDERED),
    "decimal": (Annotated[T.DecimalType, 18, 2], decimals, ORDERED),
    "double": (T.DoubleType, doubles, ORDERED),
    "date": (T.DateType, dates, ORDERED),
    "time": (T.TimestampNTZType, times, ORDERED),
    "text": (
        T.StringType,
        texts,
        ("eq", "ne", "isin", "notin", "str_matches", "str_contains", "str_startswith", "str_endswith", "str_length"),
    ),
    "truth": (T.BooleanType, st.booleans(), ("eq", "ne")),
}


@st.composite
def argument(draw: st.DrawFn, check: str, values: st.SearchStrategy[Any]) -> Any:
    """What a check compares with."""
    match check:
        case "isin" | "notin":
            return draw(st.lists(values, min_size=1, max_size=3))
        case "in_range":
            low, high = sorted([draw(values), draw(values)])
            return {"min_value": low, "max_value": high, "include_min": draw(st.booleans()), "include_max": draw(st.booleans())}
        case "str_matches" | "str_contains":
            return draw(patterns)
        case "str_length":
            low, high = sorted([draw(st.integers(0, 3)), draw(st.integers(0, 3))])
            return draw(st.sampled_from([{"min_value": low}, {"max_value": high}, {"min_value": low, "max_value": high}]))
    return draw(values)


@st.composite
def contracts(draw: st.DrawFn) -> tuple[type[Contract], list[tuple[Any, ...]]]:
    """A contract of random columns with random checks, and rows for it."""
    body: dict[str, Any] = {"__doc__": "A random table.", "__module__": __name__, "__annotations__": {}}
    body["__annotations__"]["feed_day"] = T.DateType
    body["feed_day"] = column("feed day")
    cells = [st.just(DAY)]
    for number in range(COLUMNS):
        annotation, values, checks = KINDS[draw(st.sampled_from(sorted(KINDS)))]
        chosen = draw(st.lists(st.sampled_from(checks), unique=True, max_size=3))
        nullable = draw(st.booleans())
        body["__annotations__"][f"c{number}"] = annotation
        body[f"c{number}"] = column(
            "random", nullable=nullable, **{check: draw(argument(check, values)) for check in chosen}
        )
        missing = draw(st.sampled_from([(), (st.none(),)]))
        odd = (st.just(math.nan),) if values is doubles else ()
        # A few distinct values only, so that a rule holds on all rows about as often as it does not.
        few = st.sampled_from(draw(st.lists(st.one_of(values, *missing, *odd), min_size=1, max_size=2)))
        cells.append(few)
    return type("Random", (Contract,), body), draw(st.lists(st.tuples(*cells), max_size=4))


def judged(contract: type[Contract], errors: dict[str, Any]) -> Iterator[str]:
    """Names of the rules that pandera reports, in our spelling."""
    described = {rule.description: rule.name for rule in contract.compiled().rules}
    for kind, reports in [*errors.get("SCHEMA", {}).items(), *errors.get("DATA", {}).items()]:
        for report in reports:
            match kind:
                case "SERIES_CONTAINS_NULLS":
                    yield f"{report['column']}:not_null"
                case "DATAFRAME_CHECK":
                    yield described.get(f"{report['column']}: {report['check']}", report["check"])
                case "DUPLICATES":
                    yield "key:unique"
                case _:
                    pytest.fail(f"pandera could not judge: {kind} {report}")


def found(spark: "SparkSession", contract: type[Contract], rows: list[tuple[Any, ...]]) -> tuple[set[str], set[str]]:
    """Rules broken as we count them, and as pandera reports them."""
    schema = T.StructType([T.StructField(f.name, f.dataType, True) for f in contract.compiled().spark_schema])
    frame = spark.createDataFrame(rows, schema)
    compiled = contract.compiled()
    days = count_per_day(mark(frame, compiled, duplicates_of=None), compiled)
    ours = {name for counts in days.values() for name, n in counts.broken.items() if n}
    return ours, set(judged(contract, contract.validate(frame).pandera.errors))


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.generate],  # shrinking costs a Spark job per step
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=True,
)
@seed(31)
@given(contracts())
def test_random_contracts_on_random_rows(spark: "SparkSession", drawn: tuple[type[Contract], list[tuple[Any, ...]]]) -> None:
    ours, judge = found(spark, *drawn)
    assert ours == judge, [rule for rule in drawn[0].compiled().rules if rule.name in ours ^ judge]


class Sale(Contract):
    """A table with a key and rules over several columns."""

    feed_day: T.DateType = column("feed day")
    sale: T.LongType = column("sale")
    sold: T.TimestampNTZType = column("when", nullable=True)
    value: T.LongType = column("value", nullable=True, tolerate=Rate(above=0.9))

    class Config:
        metadata = facts(key=("sale",))

    @row_rule("no record from the future")
    def not_from_the_future(cls) -> str:
        return "sold < feed_day + INTERVAL '1' DAY"

    @row_rule("a value needs a time")
    def value_has_time(cls) -> "Column":  # noqa: F821
        from pyspark.sql import functions as F

        return F.col("value").isNull() | F.col("sold").isNotNull()


NOON = datetime(2023, 1, 31, 12)


@pytest.mark.parametrize(
    ("rows", "broken"),
    [
        ([], set()),
        ([(DAY, 1, NOON, 5), (DAY, 2, None, None)], set()),
        ([(DAY, 1, NOON, 5), (DAY, 1, NOON, 6)], {"key:unique"}),
        ([(DAY, 1, NOON + timedelta(hours=12), 5)], {"not_from_the_future"}),
        ([(DAY, 1, None, 5), (DAY, None, NOON, 5)], {"value_has_time", "sale:not_null"}),
    ],
)
def test_row_rules_and_keys(spark: "SparkSession", rows: list[tuple[Any, ...]], broken: set[str]) -> None:
    assert found(spark, Sale, rows) == (broken, broken)
