"""Mistakes in declarations are told at load, in one sentence, where they are made; whatever is declared is loaded."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
import pyspark.sql.types as T
import pytest
from dagster._core.definitions.utils import DISALLOWED_NAMES
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from lakehouse_assets.platform.common.source_days import SourceDays
from lakehouse_assets.platform.contracts.contract import Contract, column, row_rule, table_metadata
from lakehouse_assets.platform.contracts.rule_sql import mistake
from lakehouse_assets.platform.contracts.rules import ContractError
from lakehouse_assets.platform.declare import table as tables
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.domain import Domain
from lakehouse_assets.platform.declare.source_files import EventFiles
from lakehouse_assets.platform.declare.table import (
    DeclarationError,
    Overwrite,
    Publish,
    Read,
    Span,
    Table,
    TableKey,
    day,
    full,
)
from lakehouse_assets.platform.orchestration.assets import build_assets
from lakehouse_assets.platform.storage.commit import WriteError
from lakehouse_assets.streaming.kafka_topic import KafkaTopic
from lakehouse_assets_tests.lake_driver import LakeDriver

SILVER = TableKey("shop", "silver", "orders")
COLUMNS = ("amount", "country", "sold_at", "feed_day", "items", "a", "b")


class Sales(Contract):
    """Sales."""

    feed_day: T.DateType = column("day")
    amount: T.LongType = column("amount")

    class Config:
        metadata = table_metadata(key=("amount",))


SHOP = Domain("shop", first_day=date(2000, 1, 1))


def declared(function: Callable[..., Any], *arguments: Any, **options: Any) -> Table:
    """The function as a table of gold."""
    function.__name__ = "sales"
    return SHOP.gold(*(arguments or (Sales,)), **options)(function)


def streamed(files: EventFiles, days: SourceDays) -> Table:
    """A table of files that has a stream of these days as well."""
    return SHOP.bronze(Sales, files, stream=KafkaTopic("sales", days))


# --- sources ---

DAYS = SourceDays(date(2000, 1, 1))
FILES = EventFiles(("amount",), days=DAYS)


def test_files_and_stream_of_a_table_have_the_same_days() -> None:
    assert streamed(FILES, DAYS).stream is not None
    ahead = replace(DAYS, zone="Pacific/Apia")
    both = streamed(replace(FILES, days=ahead), ahead)
    assert Catalog((both,)).zone("shop") == "Pacific/Apia"
    for days, message in {
        SourceDays(date(2000, 1, 1), zone="Pacific/Apia"): "its files have the zone UTC, its stream Pacific/Apia",
        SourceDays(date(1999, 1, 1)): "its files have the first day 2000-01-01, its stream 1999-01-01",
        SourceDays(date(2000, 1, 1), date(2020, 1, 1)): "its files have the last day none, its stream 2020-01-01",
    }.items():
        with pytest.raises(DeclarationError, match=message):
            streamed(FILES, days)


def test_a_person_can_be_erased_from_all_that_a_table_with_a_subject_has() -> None:
    """Not what a stream brings: so such a table has none."""
    with pytest.raises(DeclarationError, match="an erasure does not reach what its stream brings and sets aside"):
        streamed(replace(FILES, subject="amount"), DAYS)


def test_the_days_of_a_stream_are_of_the_zone_of_its_domain() -> None:
    """Also of a stream on a table that has no files: the partitions of its domain are of its days."""
    ahead = replace(streamed(FILES, DAYS), source=None, stream=KafkaTopic("t", replace(DAYS, zone="Pacific/Apia")))
    assert Catalog((ahead,)).zone("shop") == "Pacific/Apia"
    files = SHOP.bronze(Sales, FILES, name="stock")
    with pytest.raises(DeclarationError, match="Pacific/Apia, UTC"):
        Catalog((ahead, files)).zone("shop")


# --- parameters and inputs ---


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda order: order, r"the parameter 'order' of its function is no declared input; is 'orders' meant\?"),
        (lambda orders, users: orders, "the parameter 'users' of its function is no declared input; declared are"),
        (lambda: None, "its input 'orders' is no parameter of its function, which takes none"),
        (lambda orders, /: orders, "its function cannot be given 'orders' by name"),
    ],
)
def test_parameters_are_the_declared_inputs(function: Callable[..., Any], says: str) -> None:
    with pytest.raises(DeclarationError, match=f"shop/gold/sales: {says}"):
        declared(function, orders=day(SILVER))


def test_a_function_may_take_inputs_as_it_likes() -> None:
    for function in (
        lambda orders: orders,
        lambda orders, rate=1: orders,
        lambda **orders: orders,
        lambda *, orders: orders,
    ):
        assert list(declared(function, orders=day(SILVER)).reads) == ["orders"]


OPTIONS = ["write", "reconciles", "co_materialized", "sla", "parquet", "publish", "inputs"]
NAMES = st.sampled_from([*OPTIONS, *sorted(DISALLOWED_NAMES), "context", "contract", "reads", "orders", "self"])


@settings(deadline=None, max_examples=15)
@given(st.sets(NAMES, min_size=1, max_size=4))
@example({"write", "sla", "publish"})  # seen
@example({"context", "input", "type"})
def test_inputs_may_have_any_name(names: set[str]) -> None:
    keys = {name: TableKey("shop", "silver", f"of_{name}") for name in sorted(names)}
    made = declared(lambda **given: given, **{name: day(key) for name, key in keys.items()})
    assert {name: read.table for name, read in made.reads.items()} == keys
    assert (made.write, made.sla, made.publish) == (tables.ReplaceDays(), None, Publish())
    assert made(**{name: name for name in names}) == {name: name for name in names}  # type: ignore[arg-type]
    upstream = [
        Table(key, Sales, lambda: None, {})  # type: ignore[arg-type, return-value]
        for key in keys.values()
    ]
    built = build_assets(Catalog((made, *upstream)), {"shop": date(2024, 1, 1)})
    (asset,) = [one for one in built if isinstance(one, dg.AssetsDefinition) and one.key.path[1] == "gold"]
    assert set(asset.keys_by_input_name.values()) == {dg.AssetKey(key.parts) for key in keys.values()}


def test_an_input_and_an_option_of_one_name_go_together() -> None:
    made = declared(
        lambda write, sla: write,
        write=Overwrite(),
        sla=timedelta(hours=1),
        inputs={"write": full(SILVER), "sla": day(SILVER)},
    )
    assert (made.write, made.sla) == (Overwrite(), timedelta(hours=1))
    assert made.reads["write"] == Read(SILVER, Span.WHOLE)


# --- columns ---


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        (str, "Bad.country: str is no Spark type; write country: T.StringType"),
        ("str", "Bad.country: str is no Spark type; write country: T.StringType"),
        (int, "write country: T.LongType"),
        (int | None, "int is no Spark type"),
        (date, "write country: T.DateType"),
        (list[str], r"list\[str\] is no Spark type"),
        (dict, "dict is no Spark type"),
        (Annotated[T.DecimalType, 18], "Bad: .*DecimalType.* requires all positional arguments"),
        (None, r"Bad.country has no type: write country: T.StringType = column\(…\)"),
    ],
)
def test_a_column_has_a_spark_type(annotation: Any, says: str) -> None:
    annotations = {} if annotation is None else {"country": annotation}
    with pytest.raises(ContractError, match=says):
        type("Bad", (Contract,), {"__annotations__": annotations, "__doc__": "Bad.", "country": column("c")})


# --- the SQL of rules ---


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("amout > 0", "amout is no column of it; is amount meant?"),
        ("`amuont` > 0", "`amuont` is no column of it; is amount meant?"),
        ("amount > 0 AND elsewhere", "elsewhere is no column of it"),
        ("lenght(country) = 2", "lenght is no function; is length meant?"),
        ("coalesc(amount, 0) > 0", "coalesc is no function; is coalesce meant?"),
        ("amount > 0 ADN a > 0", "0 ADN is no expression"),
        ("amount 0", "amount 0 is no expression"),
        ("(amount > 0", "a ( is never closed"),
        ("amount > 0)", "a ) closes nothing"),
        ("amount > 0) OR (a > 0", "a ) closes nothing"),
        ("items[0 = 1", "a [ is never closed"),
        ("country = 'BR", "it has an open '"),
        ("amount >", "something is missing after >"),
        ("(amount > 0 AND) OR a = 1", "something is missing after AND"),
        ("", "it is empty"),
        ("size(CAST(items AS ARRAY<INT>)) >", "something is missing after >"),
        ("CAST(items AS ARRAY<INT>) IS NULL AND amout > 0", "amout is no column of it; is amount meant?"),
        ("(array < 3 AND a >)", "something is missing after >"),
        ("amout COLLATE UTF8_LCASE = 'x'", "amout is no column of it; is amount meant?"),
    ],
)
def test_a_mistake_in_the_sql_of_a_rule_is_found_without_spark(sql: str, says: str) -> None:
    assert mistake(sql, COLUMNS) == says


READABLE = [
    "amount > 0 OR NOT (a = 0)",
    "Amount > 0 AND COUNTRY IS NOT NULL",
    "country RLIKE '^[A-Z]{2}$' AND country NOT LIKE 'X%' ESCAPE '!'",
    "country IN ('BR', \"PT\", 'it''s', 'a\\'b')",
    "sold_at < feed_day + INTERVAL 1 DAY AND sold_at >= feed_day - INTERVAL '2' HOURS",
    "feed_day BETWEEN DATE'2020-01-01' AND DATE '2099-01-01' AND sold_at > TIMESTAMP_NTZ '2020-01-01 00:00:00'",
    "exists(items, x -> x > 1) AND aggregate(items, 0, (total, x) -> total + x) = 3",
    "items[0] = 1L AND a <=> 1.5D AND b = .5 AND a = 1e3 AND b == 2BD AND ! (a > b)",
    "CASE WHEN a = 1 THEN b = 2 WHEN a IS DISTINCT FROM b THEN false ELSE true END",
    "CAST(country AS STRING) = country::string || '' AND TRY_CAST(country AS DECIMAL(10, 2)) IS NULL",
    "coalesce(size(from_json(country, 'array<map<string,string>>')), 0) >= 0 -- a comment",
    "extract(YEAR FROM sold_at) >= 2020 AND trim(BOTH ' ' FROM country) = country /* another */",
    "a % 2 = 0 AND (a & 1) = 0 AND a DIV 2 > -1 AND `amount` IS NULL AND X'1F' IS NOT NULL",
    "length(country) = 2 AND if(a > b, true, false) AND row_number > 0 AND source_file IS NOT NULL",
    "len(country) = 2 AND mod(a, 2) = 0 AND timestampdiff(DAY, sold_at, feed_day) < 3 AND chr(65) = 'A'",
    "size(CAST(items AS ARRAY<STRING>)) > 0 AND (size(items::array<int>)) > 0",
    "(CAST(NULL AS MAP<STRING, INT>)) IS NULL",
    "(CAST(NULL AS MAP<STRING, ARRAY<ARRAY<DECIMAL(10, 2)>>>) IS NULL) AND (CAST(NULL AS STRUCT<>)) IS NULL",
    "(CAST(named_struct('x', a) AS STRUCT<x: STRING>)).x = '1' AND CAST(named_struct('x', a) AS STRUCT<y INT>).y = 1",
    "items::array<bigint> = items::array<bigint> AND country::character(3) = 'BR'",
    "country COLLATE UTF8_LCASE = 'br' AND CAST(country AS STRING COLLATE UNICODE_CI) = 'br'",
    "transform(items, (x, i) -> x + i)[0] > 1 AND exists(items, `x` -> `x` > 1) AND (a) IN (1, 2) AND b NOT IN (3)",
    "feed_day + INTERVAL '1-2' YEAR TO MONTH > feed_day AND sold_at + INTERVAL 1 DAY 2 HOURS > sold_at",
    "country LIKE ANY ('B%', 'P%') AND a NOT BETWEEN 1 AND 2 AND a IS NOT DISTINCT FROM b AND (a = b) IS NOT UNKNOWN",
    "mask(country, lowerChar => 'q') = 'XX' AND CASE country WHEN 'BR' THEN -1 ELSE +1 END < 0 AND a !< b",
    "rank() OVER (PARTITION BY country ORDER BY a DESC NULLS LAST) = 1",
    "extract(DOY FROM sold_at) < extract(Y FROM sold_at)",
    "sum(a) OVER (ORDER BY b ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) > 0",
    "country != r'\\' AND X '1F' IS NOT NULL AND struct(a x).x = 1 AND array(named_struct('then', a))[0].then = (a)",
    "map('a', named_struct('b', a))['a'].b = a /* one /* in */ another */ AND a > 1",
    "named_struct('x', a).x = a AND current_date() >= feed_day AND r'\\d' = '\\\\d' AND startswith(country, 'B')",
]


@pytest.mark.parametrize("sql", READABLE)
def test_no_rule_that_spark_reads_is_called_a_mistake(sql: str) -> None:
    assert mistake(sql, (*COLUMNS, "row_number", "source_file")) is None


def test_an_aggregate_and_a_column_called_as_a_word_are_no_mistakes() -> None:
    assert (
        mistake("count(*) FILTER (WHERE a > 1) > 0 AND listagg(country) WITHIN GROUP (ORDER BY a) = 'x'", COLUMNS)
        is None
    )
    assert mistake("(a = then) AND a > like", (*COLUMNS, "then", "like")) is None
    assert mistake("array < size(filter(items, x -> x > 1))", (*COLUMNS, "array")) is None


def test_spark_agrees_and_knows_no_function_that_is_called_a_mistake(spark: SparkSession) -> None:
    types = "amount bigint, country string, sold_at timestamp_ntz, feed_day date, items array<int>, a bigint, b bigint"
    rows = spark.createDataFrame([], f"{types}, row_number bigint, source_file string")
    assert rows.selectExpr(*[f"NOT ({sql}\n) AS c{number}" for number, sql in enumerate(READABLE)]).columns
    names = [row[0] for row in spark.sql("SHOW FUNCTIONS").collect() if row[0].isidentifier()]
    assert len(names) > 400
    assert {name: message for name in names if (message := mistake(f"{name}(amount) IS NULL", COLUMNS))} == {}


def typo(sql: str) -> type[Contract]:
    """A contract with a rule of this SQL."""

    class Typo(Sales):
        """Sales."""

        class Config:
            metadata = table_metadata(key=("amount",))

        @row_rule("as it is written")
        def sold(cls) -> str:
            return sql

    return Typo


def test_the_rule_is_named_at_load() -> None:
    says = (
        "shop/gold/sales: the SQL of the rule sold of Typo, amuont > 0, is wrong: amuont is no column of it; is amount"
    )
    with pytest.raises(DeclarationError, match=says):
        declared(lambda orders: orders, typo("amuont > 0"), orders=day(SILVER)).key  # noqa: B018


def test_what_only_spark_finds_names_the_rule_at_the_first_step(spark: SparkSession, tmp_path: Path) -> None:
    def rows() -> DataFrame:
        return spark.createDataFrame([(date(2024, 1, 2), 1)], "feed_day date, amount bigint")

    made = declared(rows, typo("frobnicate(amount) > 0"))
    driver = LakeDriver(spark, LakeDriver.at(spark, tmp_path).lake, Catalog((made,)))
    with pytest.raises(WriteError, match=r"cannot read the SQL of the rule sold, frobnicate\(amount\) > 0: .*frobn"):
        driver.make("shop/gold/sales", [date(2024, 1, 2)])
