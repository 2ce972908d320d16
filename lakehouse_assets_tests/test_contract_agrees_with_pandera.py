"""On the same rows, our one pass and `pandera.pyspark.validate` find the same rules broken."""

import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Annotated, Any

import pyspark.sql.types as T
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lakehouse_assets.defs.gmv.contracts import Purchase
from lakehouse_assets.platform.contracts.contract import Contract, column, row_rule, table_metadata
from lakehouse_assets.platform.contracts.pandera_findings import findings
from lakehouse_assets.platform.contracts.rules import Rate
from lakehouse_assets.platform.validation.row_validation import validate_rows
from lakehouse_assets_tests.written_rows import count_per_day

if TYPE_CHECKING:
    from pyspark.sql import Column, SparkSession

DAY = date(2023, 1, 31)
COLUMNS = 8
EXAMPLES = 15  # contracts of 8 columns each: 120 random columns with up to two checks beside NOT NULL

NUMBERS = range(-3, 4)
POOLS: dict[str, tuple[Any, Sequence[Any]]] = {
    "long": (T.LongType, NUMBERS),
    "int": (T.IntegerType, NUMBERS),
    "decimal": (Annotated[T.DecimalType, 18, 2], [Decimal(n) / 100 for n in NUMBERS]),
    "double": (T.DoubleType, [-1.5, -0.0, 0.0, 0.1, 1.5, math.inf, -math.inf]),
    "date": (T.DateType, [DAY + timedelta(days=n) for n in NUMBERS]),
    "time": (T.TimestampNTZType, [datetime(2023, 1, 31) + timedelta(microseconds=n) for n in NUMBERS]),
    "text": (T.StringType, ["", "a", "ab", "b a", "A", "'", "a'b", "\\", "\\d", '"', "${x}", "$", "%", "é\n", "aaab"]),
    "truth": (T.BooleanType, [True, False]),
}
PATTERNS = ["a", "^a", "a+b", r"\\", r"\$", "a|b", "'", r"[^ab]\s?$", "", "(?i)A", "${x}x|b", "é"]
ORDERED = ["eq", "ne", "gt", "ge", "lt", "le", "in_range", "isin", "notin"]
CHECKS = {
    "text": [
        "eq",
        "ne",
        "isin",
        "notin",
        *(f"str_{c}" for c in ("matches", "contains", "startswith", "endswith", "length")),
    ]
}
CHECKS["truth"] = ["eq", "ne"]


def argument(random: Random, check: str, pool: Sequence[Any]) -> Any:
    """What a check compares with."""
    match check:
        case "isin" | "notin":
            return random.choices(pool, k=random.randint(1, 3))
        case "in_range":
            low, high = sorted(random.choices(pool, k=2))
            ends = [low == high or random.random() < 0.5 for _ in range(2)]
            return {"min_value": low, "max_value": high, "include_min": ends[0], "include_max": ends[1]}
        case "str_matches" | "str_contains":
            return random.choice(PATTERNS)
        case "str_length":
            low, high = sorted(random.choices(range(4), k=2))
            return random.choice([{"min_value": low}, {"max_value": high}, {"min_value": low, "max_value": high}])
    return random.choice(pool)


def random_contract(random: Random) -> tuple[type[Contract], list[tuple[Any, ...]]]:
    """A contract of random columns with random checks, and a few rows for it."""
    body: dict[str, Any] = {"__doc__": "A random table.", "__module__": __name__}
    annotations: dict[str, Any] = {"feed_day": T.DateType}
    body |= {"__annotations__": annotations, "feed_day": column("feed day")}
    cells: list[list[Any]] = [[DAY]]
    for name in (f"c{number}" for number in range(COLUMNS)):
        kind = random.choice(list(POOLS))
        annotations[name], values = POOLS[kind]
        pool = random.sample(
            list(values), k=2
        )  # shared by checks and cells: a rule holds about as often as it does not
        checks = random.sample(CHECKS.get(kind, ORDERED), k=random.randint(0, 2))
        nullable = random.random() < 0.5
        body[name] = column("random", nullable=nullable, **{check: argument(random, check, pool) for check in checks})
        cells.append(
            [*pool, random.choice([None, pool[0]]), random.choice([math.nan if kind == "double" else None, pool[1]])]
        )
    rows = [tuple(random.choice(choices) for choices in cells) for _ in range(random.randint(1, 3))]
    return type("Random", (Contract,), body), rows


def found(spark: "SparkSession", contract: type[Contract], rows: list[tuple[Any, ...]]) -> tuple[set[str], set[str]]:
    """Rules broken as we count them, and as pandera reports them."""
    schema = T.StructType([T.StructField(f.name, f.dataType, True) for f in contract.compiled().spark_schema])
    frame = spark.createDataFrame(rows, schema)
    compiled = contract.compiled()
    days = count_per_day(validate_rows(frame, compiled, duplicates_of=None), compiled)
    ours = {name for counts in days.values() for name, n in counts.broken.items() if n}
    validated = findings(contract, frame)
    assert not validated.unvalidated
    return ours, set(validated.broken)


@settings(
    max_examples=EXAMPLES, deadline=None, phases=[Phase.generate], derandomize=True
)  # a shrink would be a job a step
@given(st.randoms(use_true_random=True))
def test_random_contracts_on_random_rows(spark: "SparkSession", random: Random) -> None:
    contract, rows = random_contract(random)
    ours, judge = found(spark, contract, rows)
    assert ours == judge, [rule for rule in contract.compiled().rules if rule.name in ours ^ judge]


class Sale(Contract):
    """A table with a key and rules over several columns."""

    feed_day: T.DateType = column("feed day")
    sale: T.LongType = column("sale")
    sold: T.TimestampNTZType = column("when", nullable=True)
    value: T.LongType = column("value", nullable=True, tolerate=Rate(above=0.9))

    class Config:
        metadata = table_metadata(key=("sale",))

    @row_rule("no record from the future")
    def not_from_the_future(cls) -> str:
        return "sold < feed_day + INTERVAL '1' DAY"

    @row_rule("a value needs a time")
    def value_has_time(cls) -> "Column":
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


@pytest.mark.parametrize(
    ("released", "good"),
    [
        (None, True), (DAY, True), (date(2010, 1, 1), True), (DAY + timedelta(days=366), True),
        (date(1900, 1, 1), False), (date(9999, 12, 31), False),
        (date(2009, 12, 31), False), (DAY + timedelta(days=367), False),
    ],
)  # fmt: skip
def test_a_payment_is_released_on_a_day_that_gmv_can_have(
    spark: "SparkSession", released: date | None, good: bool
) -> None:
    message = {"feed_day": DAY, "transaction_datetime": NOON, "transaction_date": DAY, "purchase_id": 1}
    values = {field.name: None for field in Purchase.compiled().spark_schema} | message | {"release_date": released}
    ours, judge = found(spark, Purchase, [tuple(values.values())])
    broken = {"released_on_a_day_that_can_be"}
    assert (ours & broken, judge & broken) == ((set(), set()) if good else (broken, broken))
