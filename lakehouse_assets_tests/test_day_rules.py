"""Checks that have no SQL are judged by Pandera, of a whole day and before the commit: they fail the day, or warn."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import pandera.pyspark as pa
import pyarrow as pa_rows
import pyspark.sql.types as T
import pytest
from deltalake import write_deltalake
from pandera.extensions import register_check_method
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse_assets.platform.common.source_days import SourceDays
from lakehouse_assets.platform.contracts.contract import Contract, column, table_metadata
from lakehouse_assets.platform.contracts.pandera_findings import findings
from lakehouse_assets.platform.contracts.rules import Action, ContractError, Dimension
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import DeclarationError, Overwrite, Table, TableKey, Write
from lakehouse_assets.platform.fingerprint.code_version import fingerprint
from lakehouse_assets.platform.orchestration.external_commits import validate
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.results.check_results import listing
from lakehouse_assets.platform.results.step_result import DayOutcome, Outcome, Status
from lakehouse_assets.platform.storage.delta_table import query_rows
from lakehouse_assets.platform.validation.row_validation import validate_rows
from lakehouse_assets.platform.validation.schema_check import ContractMismatch
from lakehouse_assets.streaming.kafka_topic import KafkaTopic
from lakehouse_assets_tests.counted import ACTION, counted
from lakehouse_assets_tests.lake_driver import LakeDriver
from lakehouse_assets_tests.written_rows import count_per_day

D1, D2, D3 = (date(2023, 2, n) for n in (1, 2, 3))
KEY = TableKey("shop", "gold", "sales")
SCHEMA = "feed_day date, sale bigint, code string, value bigint, country string, kind string"
Row = tuple[Any, ...]


@register_check_method(statistics=["most"])  # type: ignore[untyped-decorator]
def most_values(data: Any, *, most: int) -> bool:
    """There are at most so many values."""
    return bool(data.dataframe.select(data.column_name).distinct().count() <= most)


class Sale(Contract):
    """Sales, with rules that no single row keeps or breaks."""

    feed_day: T.DateType = column("day")
    sale: T.LongType = column("sale", ge=0)
    code: T.StringType = column("code of the receipt", unique=True)
    value: T.LongType = column("value")
    country: T.StringType = column("country", action=Action.WARN, most_values=2)
    kind: T.StringType = column("kind", action=Action.WARN, unique_values_eq=["x"])

    @pa.check("value", dimension=Dimension.VOLUME)
    def is_spread(cls, rows: DataFrame) -> bool:
        """values are not all the same"""
        return rows.count() < 2 or rows.select("value").distinct().count() > 1

    @pa.dataframe_check(action=Action.WARN)
    def has_rows(cls, rows: DataFrame) -> bool:
        return rows.limit(1).count() > 0


GOOD: list[Row] = [(D1, 1, "a", 1, "br", "x"), (D1, 2, "b", 2, "pt", "x")]


def table_of(rows: Callable[[], DataFrame], contract: type[Contract] = Sale, write: Write | None = None) -> Table:
    return Table(KEY, contract, rows, MappingProxyType({}), **({"write": write} if write else {}))  # type: ignore[arg-type]


def made(spark: SparkSession, folder: Path, rows: list[Row], days: list[date]) -> tuple[LakeDriver, Outcome]:
    """A step that makes days of these rows."""
    driver = LakeDriver.at(spark, folder)
    driver.catalog = Catalog((table_of(lambda: spark.createDataFrame(rows, SCHEMA)),))
    return driver, driver.make(str(KEY), days)


# --- declared ---


def test_they_are_rules_as_others_are() -> None:
    rules = {rule.name: rule for rule in Sale.compiled().of_day}
    assert {name: (rule.dimension.value, rule.action.value, rule.description) for name, rule in rules.items()} == {
        "code:unique": ("uniqueness", "fail", "code is unique within a feed day"),
        "value:is_spread": ("volume", "fail", "values are not all the same"),
        "country:most_values": ("validity", "warn", "most_values(most=2)"),
        "kind:unique_values_eq": ("validity", "warn", "unique_values_eq(['x'])"),
        "has_rows": ("validity", "warn", "has rows"),
    }
    columns = {one.name: one for one in Sale.compiled().dagster_columns().columns}
    assert columns["code"].constraints.unique
    assert "values are not all the same" in columns["value"].constraints.other
    assert {rule.name for rule in Sale.compiled().of_rows} >= {"sale:ge", "sale:not_null"}


class Special(Sale):
    """A subclass has the checks of its base."""

    @pa.check("value", name="small", raise_warning=True)
    def is_small(cls, rows: DataFrame) -> bool:
        return rows.count() < 10


class MoreSpecial(Special):
    """And of its base's base, under their names."""


def test_checks_are_inherited_by_name_and_pandera_may_be_told_to_warn() -> None:
    for contract in (Special, MoreSpecial):
        rules = {rule.name: rule.action for rule in contract.compiled().of_day}
        assert rules["value:small"] is Action.WARN
        assert rules["value:is_spread"] is Action.FAIL


def declare(name: str = "c", **message: Any) -> type[Contract]:
    body = {"__annotations__": {name: T.LongType}, name: column("a column", **message), "__module__": __name__}
    return type("One", (Contract,), body)


def checked(**message: Any) -> type[Contract]:
    class Checked(Contract):
        """A table."""

        c: T.LongType = column("c", ge=0)

        @pa.check("c", **message)
        def holds(cls, rows: DataFrame) -> bool:
            return True

    return Checked


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: declare(unique=True, action=Action.QUARANTINE), "c:unique is judged of a whole day and cannot set"),
        (lambda: declare(most_values=1, action=Action.QUARANTINE), "c:most_values is judged of a whole day"),
        (lambda: checked(action=Action.QUARANTINE), "c:holds is judged of a whole day and cannot set single rows"),
        (lambda: checked(name="ge"), "two rules are called c:ge"),
        (lambda: declare(never_registered=1), "'never_registered' is no check of a column; there are .*most_values"),
    ],
)
def test_a_mistake_is_an_error_where_it_is_written(wrong: Callable[[], Any], says: str) -> None:
    with pytest.raises(ContractError, match=says):
        wrong()


def test_what_is_unique_is_said_in_one_way() -> None:
    config = type("Config", (), {"unique": ["c"], "metadata": table_metadata()})
    with pytest.raises(ContractError, match="say what is unique by table_metadata"):
        type("Bad", (Contract,), {"__annotations__": {"c": T.LongType}, "c": column("c"), "Config": config})


def test_a_stream_commits_parts_of_days_so_its_table_has_no_rule_of_a_day() -> None:
    with pytest.raises(DeclarationError, match="commits parts of days, but code:unique is a rule of a whole day"):
        Table(KEY, Sale, lambda: None, {}, stream=KafkaTopic("t", SourceDays(D1)))  # type: ignore[arg-type, return-value]


def test_another_check_is_another_version_of_the_code() -> None:
    def version(contract: type[Contract]) -> str:
        return fingerprint(table_of(lambda: None, contract)).contract  # type: ignore[arg-type, return-value]

    def with_rows(at_least: int) -> type[Contract]:
        class Checked(Contract):
            """A table."""

            c: T.LongType = column("c", most_values=at_least)

            @pa.check("c")
            def holds(cls, rows: DataFrame) -> bool:
                return rows.count() >= 7

        return Checked

    class Other(Contract):
        """A table."""

        c: T.LongType = column("c", most_values=1)

        @pa.check("c")
        def holds(cls, rows: DataFrame) -> bool:
            return rows.count() >= 8

    assert version(with_rows(1)) == version(with_rows(1))
    assert len({version(with_rows(1)), version(with_rows(2)), version(Other)}) == 3


# --- judged ---


def rules_of(day: DayOutcome) -> dict[str, tuple[int, int, bool]]:
    of_day = {rule.name for rule in Sale.compiled().of_day}
    return {rule.rule: (rule.rows, rule.failed, rule.passed) for rule in day.rules if rule.rule in of_day}


CASES: list[tuple[list[Row], set[str]]] = [
    (GOOD, set()),
    ([*GOOD, (D1, 3, "a", 3, "br", "x")], {"code:unique"}),
    ([(D1, 1, "a", 1, "br", "x"), (D1, 2, "b", 1, "pt", "x")], {"value:is_spread"}),
    ([*GOOD, (D1, 3, "c", 3, "us", "x")], {"country:most_values"}),
    ([*GOOD, (D1, 3, "c", 3, "br", "y")], {"kind:unique_values_eq"}),
    ([], {"has_rows", "kind:unique_values_eq"}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "broken"), CASES)
def test_the_verdict_of_a_day_is_panderas(
    spark: SparkSession, tmp_path: Path, rows: list[Row], broken: set[str]
) -> None:
    driver, outcome = made(spark, tmp_path, rows, [D1])
    (day,) = outcome.days
    fails = broken & {"code:unique", "value:is_spread"}
    assert day.status is (Status.FAILED if fails else Status.COMMITTED)
    told = rules_of(day)
    assert told == {name: (1, int(name in broken), name not in fails) for name in told}
    assert len(told) == 5
    assert all(f"{name} (" in day.reasons[0] and "the rows of the day break it" in day.reasons[0] for name in fails)
    frame = spark.createDataFrame(rows, SCHEMA)
    found = findings(Sale, frame)
    assert (set(found.broken), found.unvalidated) == (broken, ())
    assert driver.lake.version(KEY) == (None if fails else 0)


@pytest.mark.slow
def test_a_day_that_fails_is_alone_and_rows_that_leave_are_not_asked(spark: SparkSession, tmp_path: Path) -> None:
    others = [(D2, 1, "a", 1), (D2, 2, "a", 2), (D3, 1, "a", 1), (D3, -1, "a", 2)]
    rows: list[Row] = [*GOOD, *[(*row, "br", "x") for row in others]]
    driver, outcome = made(spark, tmp_path, rows, [D1, D2, D3])
    assert [day.status for day in outcome.days] == [Status.COMMITTED, Status.FAILED, Status.COMMITTED]
    assert [day.rows.quarantined for day in outcome.days] == [0, 0, 1]
    assert driver.rows(str(KEY), "feed_day", "sale") == [(D1, 1), (D1, 2), (D3, 1)]
    rule = next(rule for rule in Sale.compiled().of_day if rule.name == "has_rows")
    shown = listing(KEY, rule, outcome.days[0])
    assert shown == "SELECT * FROM shop.gold.sales WHERE feed_day = '2023-02-01'"


@pytest.mark.slow
def test_a_table_written_anew_is_judged_too_though_its_rows_have_no_feed_day(
    spark: SparkSession, tmp_path: Path
) -> None:
    class State(Contract):
        """A state."""

        code: T.StringType = column("code", unique=True)

    for codes, status in ((["a", "b"], Status.COMMITTED), (["a", "a"], Status.FAILED)):
        rows = [(code,) for code in codes]
        driver = LakeDriver.at(spark, tmp_path)
        table = table_of(lambda rows=rows: spark.createDataFrame(rows, "code string"), State, Overwrite())  # type: ignore[misc]
        driver.catalog = Catalog((table,))
        assert [day.status for day in driver.make(str(KEY), [D1]).days] == [status]
    assert driver.rows(str(KEY), "code") == [("a",), ("b",)]


@pytest.mark.slow
def test_each_check_costs_its_own_actions_and_only_where_there_is_one(spark: SparkSession, tmp_path: Path) -> None:
    class Plain(Contract):
        """Without rules of a day."""

        feed_day: T.DateType = column("day")
        code: T.StringType = column("code")

    class Unique(Plain):
        """With one."""

        code: T.StringType = column("code", unique=True)

    for contract, actions in ((Plain, 1), (Unique, 2)):
        driver = LakeDriver.at(spark, tmp_path / contract.__name__)
        rows = spark.range(3).select(F.lit(D1).alias("feed_day"), F.col("id").cast("string").alias("code"))
        driver.catalog = Catalog((table_of(lambda rows=rows: rows, contract),))  # type: ignore[misc]
        with counted() as counts:
            driver.make(str(KEY), [D1])
        assert counts[ACTION] == actions, contract


@pytest.mark.slow
def test_what_others_commit_is_judged_by_them_too(spark: SparkSession, tmp_path: Path) -> None:
    driver, _ = made(spark, tmp_path, GOOD, [D1])
    path = driver.lake.path(KEY)
    again = pa_rows.Table.from_pylist(query_rows(path, "SELECT * FROM t WHERE sale = 1"))
    write_deltalake(str(path), again.set_column(1, "sale", pa_rows.array([9], pa_rows.int64())), mode="append")
    outcome = validate(Step(spark, driver.lake, driver.catalog, "adopting"), driver.catalog.table(KEY))
    assert outcome is not None
    (day,) = outcome.days
    assert day.status is Status.FAILED
    assert day.reasons == ("code:unique (code is unique within a feed day): the rows of the day break it",)


# --- coerced ---


class Amounts(Contract):
    """Amounts of narrower types are taken."""

    feed_day: T.DateType = column("day")
    amount: Annotated[T.DecimalType, 18, 2] = column("amount", nullable=True)
    number: T.LongType = column("number", coerce=True, ge=1)


class AllCoerced(Amounts):
    """Every column."""

    class Config:
        coerce = True


@pytest.mark.slow
def test_coerced_is_what_loses_nothing(spark: SparkSession) -> None:
    narrower = spark.sql("SELECT DATE '2023-02-01' AS feed_day, CAST(5 AS DECIMAL(18, 2)) AS amount, 7 AS number")
    assert findings(Amounts, narrower).unvalidated == ()
    compiled = Amounts.compiled()
    assert count_per_day(validate_rows(narrower, compiled, duplicates_of=None), compiled)[D1].kept == 1
    assert set(findings(Amounts, narrower.selectExpr("feed_day", "amount", "0 AS number")).broken) == {"number:ge"}
    for loses in ("'5' AS number", "5.5 AS number", "5e0 AS number"):
        frame = narrower.selectExpr("feed_day", "amount", loses)
        assert any(message.startswith("WRONG_DATATYPE") for message in findings(Amounts, frame).unvalidated)
        with pytest.raises(ContractMismatch, match=r"number is .*, declared bigint"):
            validate_rows(frame, compiled, duplicates_of=None)

    both = narrower.selectExpr("feed_day", "CAST(5 AS DECIMAL(9, 1)) AS amount", "number")
    (message,) = findings(Amounts, both).unvalidated
    assert "amount" in message
    assert findings(AllCoerced, both).unvalidated == ()
