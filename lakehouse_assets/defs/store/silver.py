"""Silver of the store: parsed, typed, exact duplicates removed. Each table is judged alone."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse_assets.defs.store import bronze, contracts
from lakehouse_assets.platform.contracts.casting import parse
from lakehouse_assets.platform.declare.table import Publish, day, table


@table(contracts.Users, landed=day(bronze.users), reconciles="landed")
def users(landed: DataFrame) -> DataFrame:
    """Users, typed."""
    return parse(landed, contracts.Users)


@table(contracts.Products, landed=day(bronze.products), reconciles="landed")
def products(landed: DataFrame) -> DataFrame:
    """Products, typed."""
    return parse(landed, contracts.Products)


@table(contracts.Orders, landed=day(bronze.orders), reconciles="landed", publish=Publish())
def orders(landed: DataFrame) -> DataFrame:
    """Lines of orders, typed."""
    return parse(landed, contracts.Orders).withColumn("line", F.coalesce("product_id", F.lit("")))


@table(contracts.Payments, landed=day(bronze.payments), reconciles="landed", publish=Publish())
def payments(landed: DataFrame) -> DataFrame:
    """Payments, typed."""
    return parse(landed, contracts.Payments)
