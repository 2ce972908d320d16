"""Silver of GMV: parsed, typed, exact duplicates removed."""

from pyspark.sql import DataFrame

from lakehouse_assets.defs.gmv import bronze, contracts
from lakehouse_assets.platform.contracts.casting import parse
from lakehouse_assets.platform.declare.table import day, table


@table(contracts.ProductItem, landed=day(bronze.product_item), reconciles="landed")
def product_item(landed: DataFrame) -> DataFrame:
    """Product items, typed."""
    return parse(landed, contracts.ProductItem)


@table(contracts.Purchase, landed=day(bronze.purchase), reconciles="landed")
def purchase(landed: DataFrame) -> DataFrame:
    """Purchases, typed."""
    return parse(landed, contracts.Purchase)


@table(contracts.PurchaseExtraInfo, landed=day(bronze.purchase_extra_info), reconciles="landed")
def purchase_extra_info(landed: DataFrame) -> DataFrame:
    """Extra information, typed."""
    return parse(landed, contracts.PurchaseExtraInfo)
