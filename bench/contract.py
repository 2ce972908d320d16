"""d: what a contract of 60 row rules costs on top of writing the rows, and against `pandera.pyspark.validate`."""

import shutil
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pyspark.sql.types as T
from pyspark.sql import functions as F

from bench.harness import Bar, Result, Size, alternate, best
from bench.lab import spark_session
from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.contracts.contract import Contract, column, row_rule, table_metadata
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import ReplaceDays, Table, TableKey, day
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.storage import delta_writer
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata
from lakehouse_assets.platform.transform.materialize import materialize

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

DAY = date(2023, 1, 1)
COUNTRIES = ["BR", "MX", "CO", "AR", "CL", "PE"]


class Wide(Contract):
    """Order lines: 20 columns, 60 rules of all kinds that contracts have, five of them regular expressions."""

    feed_day: T.DateType = column("feed day", ge=date(2020, 1, 1))
    order_id: T.LongType = column("order", ge=1)
    line: T.IntegerType = column("line", ge=1, le=99)
    customer_id: T.LongType = column("customer", ge=1, lt=10_000_000)
    product_id: T.LongType = column("product", ge=0, lt=100_000)
    quantity: T.IntegerType = column("quantity", ge=1, le=1_000)
    price: Annotated[T.DecimalType, 12, 2] = column("price", ge=0, lt=100_000)
    discount: Annotated[T.DecimalType, 12, 2] = column("discount", ge=0)
    total: Annotated[T.DecimalType, 18, 2] = column("total", ge=0)
    ordered_at: T.TimestampNTZType = column("ordered")
    paid_on: T.DateType = column("paid", nullable=True, ge=date(2020, 1, 1))
    country: T.StringType = column("country", isin=COUNTRIES)
    currency: T.StringType = column("currency", isin=["BRL", "MXN", "USD"])
    channel: T.StringType = column("channel", isin=["web", "app", "store"], str_length={"min_value": 3, "max_value": 5})
    sku: T.StringType = column("sku", str_matches=r"^[A-Z]{3}-\d{4}$")
    email: T.StringType = column("e-mail", str_matches=r"^[a-z0-9.]+@[a-z]+\.[a-z]{2,3}$", pii=True)
    phone: T.StringType = column("phone", str_matches=r"^\+\d{11,13}$", pii=True)
    postal: T.StringType = column("postal code", str_matches=r"^\d{5}-\d{3}$")
    invoice: T.StringType = column("invoice", str_matches=r"^INV\d{8}$", str_length={"min_value": 11, "max_value": 11})
    note: T.StringType = column("note", nullable=True, str_length={"min_value": 0, "max_value": 80})
    weight: T.DoubleType = column("weight", gt=0, lt=1_000)

    class Config:
        metadata = table_metadata(event_time="ordered_at")


def _add_row_rules(count: int) -> type[Contract]:
    """The contract with as many rules over several columns as bring it to `count` row rules."""
    have = len(Wide.compiled().rules)
    body: dict[str, Any] = {"__module__": __name__, "__doc__": Wide.__doc__, "__annotations__": {}}
    for n in range(max(0, count - have)):

        def rule(cls: type[Contract], n: int = n) -> str:
            return f"total + {n} >= discount"

        rule.__doc__ = f"Rule {n}: no discount beyond the total."
        rule.__name__ = f"discount_{n}"
        body[rule.__name__] = row_rule()(rule)
    return type("WideWithRules", (Wide,), body)


def rows(spark: "SparkSession", count: int) -> "DataFrame":
    """Rows that keep every rule, made of their number alone."""
    n = F.col("id")

    def digits(width: int, factor: int) -> Any:
        return F.lpad((n * factor % 10**width).cast("string"), width, "0")

    def one_of(values: list[str]) -> Any:
        return F.element_at(F.array(*map(F.lit, values)), (n % len(values) + 1).cast("int"))

    price = (n % 9_999 / 7).cast("decimal(12,2)")
    return spark.range(1, count + 1).select(
        F.lit(DAY).alias("feed_day"),
        n.alias("order_id"),
        (n % 99 + 1).cast("int").alias("line"),
        (n * 7919 % 999_983 + 1).alias("customer_id"),
        (n * 31 % 9_973).alias("product_id"),
        (n % 9 + 1).cast("int").alias("quantity"),
        price.alias("price"),
        F.lit(0).cast("decimal(12,2)").alias("discount"),
        (price * (n % 9 + 1)).cast("decimal(18,2)").alias("total"),
        F.timestamp_seconds(F.lit(1_672_531_200) + n % 86_400).cast("timestamp_ntz").alias("ordered_at"),
        F.when(n % 3 > 0, F.lit(DAY)).alias("paid_on"),
        one_of(COUNTRIES).alias("country"),
        one_of(["BRL", "MXN", "USD"]).alias("currency"),
        one_of(["web", "app", "store"]).alias("channel"),
        F.concat(F.lit("SKU-"), digits(4, 7)).alias("sku"),
        F.concat(F.lit("user."), digits(7, 13), F.lit("@mail.com")).alias("email"),
        F.concat(F.lit("+55"), digits(10, 17)).alias("phone"),
        F.concat(digits(5, 3), F.lit("-"), digits(3, 11)).alias("postal"),
        F.concat(F.lit("INV"), digits(8, 1)).alias("invoice"),
        F.when(n % 5 == 0, F.concat(F.lit("note of "), digits(6, 19))).alias("note"),
        (n % 999 + 0.5).cast("double").alias("weight"),
    )


def _table(key: TableKey, contract: type[Contract], source: Table | None = None) -> Table:
    def same(source: "DataFrame") -> "DataFrame":
        return source

    def written_by_hand() -> "DataFrame":
        raise NotImplementedError("the measure writes this table itself")

    return (
        Table(key, contract, same, {"source": day(source)}, ReplaceDays())
        if source
        else Table(key, contract, written_by_hand, {}, ReplaceDays())
    )


def measure(size: Size, folder: Path) -> Result:
    """Three sides on the same rows of the same file: bare write, our step (judged, counted, written), pandera."""
    spark = spark_session()
    contract = _add_row_rules(60)
    lake = Lake(folder / "lake", folder / "landing")
    source = _table(TableKey("bench", "bronze", "wide"), Wide)
    table = _table(TableKey("bench", "silver", "wide"), contract, source)
    catalog = Catalog((source, table))
    names = [f.name for f in table.compiled.spark_schema]
    metadata = CommitMetadata(str(source.key), "bench", "bench#1", frozenset([DAY]), "bench", {})
    target = delta_writer.Target(lake.path(source.key), str(source.key), source.compiled.spark_schema)
    delta_writer.replace_days(rows(spark, size.rows).repartition(4), target, metadata, None, DAY_COLUMN, [DAY])

    def read() -> "DataFrame":
        return spark.read.format("delta").load(str(target.path)).select(*names)

    def bare() -> None:
        shutil.rmtree(folder / "bare", ignore_errors=True)
        read().write.format("delta").save(str(folder / "bare"))

    def ours() -> None:
        shutil.rmtree(lake.path(table.key), ignore_errors=True)
        shutil.rmtree(folder / "lake" / "bench" / "audit", ignore_errors=True)
        outcome = materialize(Step(spark, lake, catalog, "bench"), table, [DAY])
        assert outcome.days[0].rows.kept == size.rows, outcome.days[0].reasons

    def pandera() -> None:
        found: Any = contract.validate(read())  # type: ignore[arg-type]
        assert not found.pandera.errors, found.pandera.errors

    bare()
    ours()
    took = alternate(size.repeats, bare=bare, ours=ours)
    took |= alternate(1, pandera=pandera)
    contract_seconds = best(took["ours"]) - best(took["bare"])
    return Result(
        "d",
        f"{len(table.compiled.rules)} rules on {size.rows} rows of {len(names)} columns",
        {
            "bare write, s": best(took["bare"]),
            "our step: judged and written, s": best(took["ours"]),
            "pandera.pyspark.validate, s": best(took["pandera"]),
            "on top of the bare write": contract_seconds / best(took["bare"]),
            "times faster than pandera": best(took["pandera"]) / max(contract_seconds, 0.001),
        },
        (Bar("on top of the bare write", 0.5), Bar("times faster than pandera", 5, at_least=True)),
        took,
    )
