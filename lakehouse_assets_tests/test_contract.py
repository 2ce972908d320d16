"""A contract says everything of a table once; from it come schema, rules, SQL, counts, verdicts and the two outputs."""

import json
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import duckdb
import pyspark.sql.types as T
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from lakehouse_assets.platform.contracts.casting import parse
from lakehouse_assets.platform.contracts.check_sql import DUCKDB_PRELUDE, sql_literal, sql_text
from lakehouse_assets.platform.contracts.contract import (
    Contract,
    column,
    landed_contract,
    row_rule,
    table_metadata,
)
from lakehouse_assets.platform.contracts.rules import Action, ContractError, Dimension, Rate
from lakehouse_assets.platform.validation.day_result import DayCounts, day_result
from lakehouse_assets.platform.validation.row_validation import MissingDay, passed_rows, validate_rows
from lakehouse_assets.platform.validation.schema_check import ContractMismatch
from lakehouse_assets_tests.written_rows import count_per_day, quarantined, samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame, SparkSession

D1, D2 = date(2023, 1, 30), date(2023, 1, 31)
NASTY = "it's \\d 'x' -- ${spark.app.name} \n é"


class Event(Contract):
    """What every event has."""

    feed_day: T.DateType = column("feed day", action=Action.FAIL)
    version: T.IntegerType = column("landing", action=Action.FAIL)
    record_hash: T.StringType = column("hash of the row as it came", action=Action.FAIL)


class Purchase(Event):
    """Purchases as the marketplace reports them."""

    purchase_id: T.LongType = column("purchase", source=True)
    at: T.TimestampNTZType = column("when it happened", source=True, nullable=True)
    value: T.DecimalType(18, 2) = column("total in BRL", source=True, nullable=True, ge=0)
    buyer: T.StringType = column("name of the buyer", source=True, nullable=True, pii=True, action=Action.WARN, ne="?")

    class Config:
        metadata = table_metadata(
            key=("purchase_id",), event_time="at", fresh_within=timedelta(days=1), owners=("team:gmv",)
        )

    @row_rule("no record from the future", dimension=Dimension.INTEGRITY)
    def not_from_the_future(cls) -> str:
        return "at < feed_day + INTERVAL '1' DAY"


COMPILED = Purchase.compiled()


def define(annotation: Any = T.LongType, **checks: Any) -> type[Contract]:
    """A contract of one column `c`."""
    body = {
        "__annotations__": {"c": annotation},
        "c": column("a column", nullable=True, **checks),
        "__module__": __name__,
    }
    return type("One", (Contract,), body)


def test_the_schema_carries_types_nullability_and_comments() -> None:
    assert COMPILED.spark_schema.simpleString() == (
        "struct<purchase_id:bigint,at:timestamp_ntz,value:decimal(18,2),buyer:string,"
        "feed_day:date,version:int,record_hash:string>"
    )
    assert {f.name for f in COMPILED.spark_schema if f.nullable} == {"at", "value", "buyer"}
    assert COMPILED.spark_schema["value"].metadata == {"comment": "total in BRL"}
    assert COMPILED.description == "Purchases as the marketplace reports them."
    assert COMPILED.source_columns == ("purchase_id", "at", "value", "buyer")
    assert (COMPILED.owners, COMPILED.pii, COMPILED.event_time) == (("team:gmv",), {"buyer"}, "at")


def test_rules_are_named_for_their_column_and_check() -> None:
    own = [rule for rule in COMPILED.rules if rule.column not in Event.compiled().spark_schema.names]
    assert {rule.name: (rule.dimension.value, rule.action.value, rule.sql) for rule in own} == {
        "purchase_id:parses": ("validity", "quarantine", "array_contains(_malformed, 'purchase_id')"),
        "purchase_id:not_null": ("completeness", "quarantine", "purchase_id IS NULL"),
        "at:parses": ("validity", "quarantine", "array_contains(_malformed, 'at')"),
        "value:parses": ("validity", "quarantine", "array_contains(_malformed, 'value')"),
        "value:ge": ("validity", "quarantine", "value < 0"),
        "buyer:ne": ("validity", "warn", "buyer = '?'"),
        "not_from_the_future": ("integrity", "quarantine", "NOT (at < feed_day + INTERVAL '1' DAY)"),
        "key:unique": ("uniqueness", "quarantine", "count(*) OVER (PARTITION BY feed_day, purchase_id) > 1"),
    }


def test_warn_does_not_wave_through_what_cannot_be_stored() -> None:
    class Warned(Contract):
        """Everything warns."""

        n: T.LongType = column("n", source=True, action=Action.WARN, ge=0)

    assert {r.name: r.action for r in Warned.compiled().rules} == {
        "n:parses": Action.QUARANTINE,
        "n:not_null": Action.QUARANTINE,
        "n:ge": Action.WARN,
    }


def test_the_landed_contract_is_the_source_as_text() -> None:
    landed = landed_contract("LandedPurchase", Purchase).compiled()
    assert landed.spark_schema.simpleString() == (
        "struct<purchase_id:string,at:string,value:string,buyer:string,"
        "source_file:string,row_number:bigint,feed_day:date,landing:int>"
    )
    assert {r.name: (r.dimension, r.action) for r in landed.rules} == {
        f"{name}:not_null": (Dimension.SCHEMA, Action.FAIL)
        for name in ("source_file", "row_number", "feed_day", "landing")
    }
    assert landed.comments["value"] == "total in BRL"
    assert landed.pii == {"buyer"}


def test_dagster_sees_columns_with_descriptions_and_constraints() -> None:
    table = COMPILED.dagster_columns()
    value = next(c for c in table.columns if c.name == "value")
    assert (value.type, value.description, value.constraints.nullable) == ("decimal(18,2)", "total in BRL", True)
    assert "value: greater_than_or_equal_to(0)" in value.constraints.other
    assert "no record from the future" in table.constraints.other


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: define(between=(1, 2)), "'between' is no check"),
        (lambda: define(ge="1"), "ge compares bigint with '1', a str"),
        (lambda: define(eq=True), "eq compares bigint with True"),
        (lambda: define(isin=[]), "isin of no values"),
        (lambda: define(in_range=(2, 1)), "empty interval"),
        (lambda: define(isin=[1, None]), "isin compares bigint with None"),
        (lambda: define(ge=2**63), "cannot be compared"),
        (lambda: define(T.StringType, ge="a"), "ge does not apply to string"),
        (lambda: define(T.TimestampType, ge=datetime(2023, 1, 1)), "ge does not apply to timestamp"),
        (lambda: define(T.DateType, ge=datetime(2023, 1, 1)), "ge compares date with"),
        (lambda: define(Annotated[T.DecimalType, 9, 2], ge=Decimal("NaN")), "cannot be compared"),
        (
            lambda: type("Bad", (Contract,), {"__annotations__": {"a b": T.LongType}, "a b": column("x")}),
            "a column name is",
        ),
        (lambda: row_rule("unsaid")(lambda cls: "true"), "say what it returns"),
        (lambda: define(T.DecimalType), r"says no precision, .* write c: Annotated\[T.DecimalType, 18, 2\]"),
        (lambda: column(" "), "needs a description"),
        (lambda: landed_contract("Nothing", define()), "nothing to land"),
    ],
)
def test_a_mistake_is_an_error_where_it_is_written(wrong: "Callable[[], Any]", says: str) -> None:
    with pytest.raises(ContractError, match=says):
        wrong()


def test_facts_may_name_only_columns_that_can_be_a_key() -> None:
    for table, says in [
        (table_metadata(key=("d",)), "names d"),
        (table_metadata(key=("c",)), "may be NULL"),
        (table_metadata(event_time="c"), "must be"),
    ]:
        body = {
            "__annotations__": {"c": T.LongType},
            "c": column("c", nullable=True),
            "Config": type("Config", (), {"metadata": table}),
        }
        with pytest.raises(ContractError, match=says):
            type("Bad", (Contract,), body)


def test_spark_and_duckdb_read_the_same_literals(spark: "SparkSession") -> None:
    texts = [NASTY, "", "'", "\\", "\\\\", "${x}", "$", "{", "%_", "a\tb", "';drop table t;--"]
    values = [*texts, 0, -5, 2**63 - 1, -(2**63), 0.1, 1e-30, Decimal("0.10"), Decimal("1E+5"), date(2023, 1, 2), True]
    literals = [sql_literal(value) for value in values]
    assert (
        list(spark.range(1).select(*[F.expr(sql).alias(f"c{i}") for i, sql in enumerate(literals)]).first()) == values
    )
    assert list(duckdb.sql(f"select {', '.join(literals)}").fetchall()[0]) == values
    assert sql_text("O'Brien") == "('O' || chr(39) || 'Brien')"


class Everything(Contract):
    """Every check that there is."""

    n: T.LongType = column("n", ge=-1, le=9, gt=-2, lt=10, eq=1, ne=5, in_range=(0, 8), isin=[1, 2], notin=[3])
    x: T.DoubleType = column("x", nullable=True, gt=0.1)
    m: Annotated[T.DecimalType, 9, 2] = column("m", nullable=True, isin=[Decimal("0.10")])
    t: T.TimestampNTZType = column("t", nullable=True, ge=datetime(2023, 1, 1), isin=[datetime(2023, 1, 1, 0, 0, 0, 1)])
    d: T.DateType = column("d", nullable=True, in_range={"min_value": D1, "max_value": D2, "include_max": False})
    b: T.BooleanType = column("b", nullable=True, eq=True)
    s: T.StringType = column(
        "s", nullable=True, eq=NASTY, str_startswith="it's \\", str_endswith="\n é", str_matches=r".*\\d",
        str_contains="\\$", str_length={"min_value": 2, "max_value": 40},
    )  # fmt: skip

    @row_rule("the number is not greater than the ratio")
    def n_below_x(cls) -> str:
        return "n <= x"


def test_the_sql_of_a_rule_lists_the_same_rows_in_duckdb(spark: "SparkSession") -> None:
    """DuckDB is what `lakehouse sql` runs on."""
    schema = Everything.compiled().spark_schema
    schema = T.StructType([T.StructField(f.name, f.dataType, True) for f in schema])
    rows = [
        (1, 1.5, Decimal("0.10"), datetime(2023, 1, 1, 0, 0, 0, 1), D1, True, NASTY),
        (3, float("nan"), Decimal("0.11"), datetime(2022, 12, 31), D2, False, "it's"),
        (9, 0.1, None, datetime(2023, 1, 1), date(2023, 2, 1), None, ""),
        (-3, None, None, None, None, None, None),
        (5, None, None, None, None, None, None),
        (10, None, None, None, None, None, None),
        (None, float("inf"), Decimal(0), None, None, None, "é" * 41),
    ]
    frame = spark.createDataFrame(rows, schema)
    rules = Everything.compiled().rules
    in_spark = frame.select(*[rule.broken().alias(rule.name) for rule in rules]).toPandas()
    table = frame.toArrow()
    connection = duckdb.connect()
    connection.register("t", table)
    connection.execute(DUCKDB_PRELUDE)
    for rule in rules:
        in_duckdb = [row[0] for row in connection.table("t").project(f"coalesce({rule.sql}, false)").fetchall()]
        assert in_duckdb == in_spark[rule.name].tolist(), rule
    assert in_spark.any().all(), "every rule is broken by some row"
    assert not in_spark.iloc[0].any(), "the first row is good"


def landed(spark: "SparkSession", rows: list[tuple[Any, ...]]) -> "DataFrame":
    """Purchases parsed from (purchase_id, at, value, buyer, source_file, row_number, feed_day, landing)."""
    return parse(
        spark.createDataFrame(rows, landed_contract("LandedPurchase", Purchase).compiled().spark_schema), Purchase
    )


SILVER = ("feed_day", "record_hash")
ROWS: list[tuple[Any, ...]] = [
    ("1", "2023-01-30 10:00:00", "50,00", "Ana", "a.csv", 1, D1, 1),
    ("1", "2023-01-30 10:00:00", "50,00", "Ana", "b.csv", 1, D1, 2),  # the same row, landed again
    ("1", "2023-01-30 11:00:00", "51,00", "Ana", "b.csv", 2, D1, 2),  # another row of the same key
    ("2", "2023-01-30 12:00:00", "-1,00", "Bia", "b.csv", 3, D1, 2),  # a bad row...
    ("2", "2023-01-30 12:00:00", "1,00", "?", "b.csv", 4, D1, 2),  # ...expels no good one; `?` only warns
    ("x", "2023-01-31 00:00:00", "1.234", "Caio", "b.csv", 5, D1, 2),  # three rules at once
    ("1", "2023-01-30 10:00:00", "50,00", "Ana", "c.csv", 1, D2, 1),  # re-sent on another day
]


@pytest.fixture(scope="module")
def marked(spark: "SparkSession") -> "DataFrame":
    return validate_rows(landed(spark, ROWS), COMPILED, duplicates_of=SILVER).persist()


def test_every_row_is_kept_quarantined_or_a_duplicate(marked: "DataFrame") -> None:
    counts = count_per_day(marked, COMPILED)
    first, second = counts[D1], counts[D2]
    assert (first.rows, first.kept, first.quarantined, first.duplicates) == (6, 2, 3, 1)
    assert {name: n for name, n in first.broken.items() if n} == {
        "key:unique": 2, "value:ge": 1, "buyer:ne": 1, "purchase_id:parses": 1, "purchase_id:not_null": 1,
        "value:parses": 1, "not_from_the_future": 1,
    }  # fmt: skip
    assert first.newest == datetime(2023, 1, 30, 12), "of the rows kept: the one from the future makes nothing fresh"
    assert (second.rows, second.kept, second.newest) == (1, 1, datetime(2023, 1, 30, 10))
    assert list(counts) == [D1, D2]


def test_the_table_gets_the_contracts_columns(marked: "DataFrame") -> None:
    frame = passed_rows(marked, COMPILED)
    assert [(f.name, f.dataType) for f in frame.schema] == [(f.name, f.dataType) for f in COMPILED.spark_schema]
    found = sorted((row["feed_day"], row["purchase_id"], row["value"], row["version"]) for row in frame.collect())
    assert found == [(D1, 1, Decimal("50.00"), 1), (D1, 2, Decimal("1.00"), 2), (D2, 1, Decimal("50.00"), 1)]


def test_quarantine_gets_the_row_whole_and_why(marked: "DataFrame") -> None:
    by_row = {row["row_number"]: row for row in quarantined(marked, COMPILED)}
    assert {number: row["rules"] for number, row in by_row.items()} == {
        2: ["key:unique"],
        3: ["value:ge", "key:unique"],
        5: ["purchase_id:parses", "purchase_id:not_null", "value:parses", "not_from_the_future"],
    }
    bad = by_row[5]
    assert (bad["feed_day"], bad["source_file"], bad["version"]) == (D1, "b.csv", 2)
    assert json.loads(bad["row"]) == {
        "purchase_id": "x",
        "at": "2023-01-31 00:00:00",
        "value": "1.234",
        "buyer": "Caio",
    }


def test_samples_show_the_rows_without_personal_data(marked: "DataFrame") -> None:
    found = samples(marked, COMPILED, ["value:ge", "value:parses", "at:parses"])
    assert found == {
        (D1, "value:ge"): [{"purchase_id": "2", "at": "2023-01-30 12:00:00", "value": "-1,00", "version": 2}
                           | {"source_file": "b.csv", "row_number": 3}],
        (D1, "value:parses"): [{"purchase_id": "x", "at": "2023-01-31 00:00:00", "value": "1.234", "version": 2}
                               | {"source_file": "b.csv", "row_number": 5}],
    }  # fmt: skip


def test_several_days_at_once_count_as_each_alone(spark: "SparkSession", marked: "DataFrame") -> None:
    together = count_per_day(marked, COMPILED)
    for day in (D1, D2):
        alone = validate_rows(landed(spark, [row for row in ROWS if row[6] == day]), COMPILED, duplicates_of=SILVER)
        assert count_per_day(alone, COMPILED) == {day: together[day]}


def test_the_digest_is_of_the_rows_whatever_their_order(spark: "SparkSession", marked: "DataFrame") -> None:
    before = count_per_day(marked, COMPILED)[D1].digest

    def digest(rows: list[tuple[Any, ...]]) -> str:
        return count_per_day(validate_rows(landed(spark, rows), COMPILED, duplicates_of=SILVER), COMPILED)[D1].digest

    assert digest(ROWS[::-1]) == before
    assert digest([*ROWS[:4], ("2", "2023-01-30 12:00:00", None, "?", "b.csv", 4, D1, 2), *ROWS[5:]]) != before
    swapped = [("3", None, "1", None, "a.csv", 1, D1, 1)], [("3", None, None, "1", "a.csv", 1, D1, 1)]
    assert digest(swapped[0]) != digest(swapped[1])


class Figure(Contract):
    """A gold table: nothing of a landed file in it."""

    feed_day: T.DateType = column("feed day")
    name: T.StringType = column("name", pii=True)
    total: T.DecimalType(28, 2) = column("total", nullable=True, ge=0)
    run_id: T.StringType = column("run")

    class Config:
        metadata = table_metadata(key=("name",))


def figures(spark: "SparkSession", *rows: tuple[Any, ...]) -> "DataFrame":
    return spark.createDataFrame(
        list(rows), "feed_day date, name string, total decimal(18,2), run_id string, extra int"
    )


def test_a_table_without_source_files_works_the_same(spark: "SparkSession") -> None:
    contract = Figure.compiled()
    rows = [
        (D1, "a", Decimal(-1), "r", 1),
        (D1, "b", Decimal(2), "r", 2),
        (D1, "b", Decimal(3), "r", 3),
        (D2, "a", None, "r", 4),
    ]
    frame = validate_rows(figures(spark, *rows), contract, duplicates_of=None)
    assert count_per_day(frame, contract)[D1].quarantined == 2
    assert sorted((r["feed_day"], r["name"], r["total"]) for r in passed_rows(frame, contract).collect()) == [
        (D1, "b", Decimal(2)),
        (D2, "a", None),
    ]
    out = {tuple(r["rules"]): r for r in quarantined(frame, contract)}
    assert set(out) == {("total:ge",), ("key:unique",)}
    bad = out["total:ge",]
    assert (bad["source_file"], bad["row_number"], bad["version"]) == (None, None, None)
    assert json.loads(bad["row"]) == {"feed_day": "2023-01-30", "name": "a", "total": -1.00, "run_id": "r", "extra": 1}
    shown = samples(frame, contract, ["total:ge"])
    assert shown == {(D1, "total:ge"): [{"feed_day": "2023-01-30", "total": -1.00, "run_id": "r", "extra": 1}]}


def test_run_times_are_no_part_of_the_digest(spark: "SparkSession") -> None:
    contract = Figure.compiled()
    one, other = (
        count_per_day(
            validate_rows(figures(spark, (D1, "a", Decimal(1), run, 1)), contract, duplicates_of=None), contract
        )[D1].digest
        for run in ("r1", "r2")
    )
    assert one == other != DayCounts.empty(contract).digest


def test_a_frame_that_does_not_fit_is_refused_with_every_difference(spark: "SparkSession") -> None:
    frame = spark.createDataFrame([], "feed_day timestamp, name string, total decimal(30,2)")
    with pytest.raises(ContractMismatch) as error:
        validate_rows(frame, Figure.compiled(), duplicates_of=None)
    for message in ("Figure", "feed_day is timestamp, declared date", "total is decimal(30,2)", "run_id is missing"):
        assert message in str(error.value)


def test_a_row_without_a_feed_day_is_refused(spark: "SparkSession") -> None:
    frame = validate_rows(figures(spark, (None, "a", None, "r", 1)), Figure.compiled(), duplicates_of=None)
    with pytest.raises(MissingDay, match="1 rows have no feed_day"):
        count_per_day(frame, Figure.compiled())


def counts(rows: int, duplicates: int = 0, **broken: int) -> DayCounts:
    names = {"value_ge": "value:ge", "buyer_ne": "buyer:ne", "day": "feed_day:not_null"}
    return DayCounts(rows, duplicates, 0, rows - duplicates, {names[name]: n for name, n in broken.items()})


@pytest.mark.parametrize(
    ("counted", "reasons"),
    [
        (counts(0), []),
        (counts(100, value_ge=50), []),
        (
            counts(100, value_ge=51),
            ["value:ge (value: greater_than_or_equal_to(0)): 51 of 100 rows broke it, more than"],
        ),
        (counts(99, value_ge=99), []),
        (counts(200, duplicates=100, value_ge=51), ["value:ge (value: greater_than_or_equal_to(0)): 51 of 100 rows"]),
        (counts(199, duplicates=100, value_ge=99), []),
        (counts(100, buyer_ne=100), []),
        (counts(1, day=1), ["feed_day:not_null (feed_day is not null): 1 of 1 rows broke it, and none may"]),
    ],
)
def test_a_day_fails_beyond_a_rate_or_at_the_first_row_of_a_fail_rule(counted: DayCounts, reasons: list[str]) -> None:
    validated = day_result(counted, COMPILED)
    assert validated.failed is bool(reasons)
    assert len(validated.reasons) == len(reasons)
    assert all(reason.startswith(message) for reason, message in zip(validated.reasons, reasons, strict=True))
    assert [r.rule for r in validated.rules] == [r.name for r in COMPILED.rules]
    assert sum(not r.passed for r in validated.rules) == len(reasons)


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 200), st.booleans())
@example(60, 0, 0, False)
def test_a_day_fails_of_which_nothing_is_left_however_small_unless_it_may_be_empty(
    left: int, duplicates: int, passed_rows: int, may_be_empty: bool
) -> None:
    tolerant = replace(define(ge=0, tolerate=Rate(above=1.0)).compiled(), may_be_empty=may_be_empty)
    validated = day_result(
        DayCounts(left + duplicates + passed_rows, duplicates, left, passed_rows, {"c:ge": left}), tolerant
    )
    assert validated.failed is (left > 0 and passed_rows == 0 and not may_be_empty)
    assert [rule.passed for rule in validated.rules if rule.rule == "c:ge"] == [not validated.failed]
    if validated.failed:
        assert validated.reasons[0].endswith(f"{left} of {left} rows broke it, and no row of the day is left")


def test_a_rate_is_the_columns_own() -> None:
    strict = define(ge=0, tolerate=Rate(above=0.0, at_least=1)).compiled()
    validated = day_result(DayCounts(10, 0, 1, 9, {"c:ge": 1}), strict)
    assert (validated.failed, validated.rules[0].rate) == (True, 0.1)
