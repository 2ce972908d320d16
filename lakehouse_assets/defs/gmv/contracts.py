"""Contracts of the GMV domain: the marketplace's three event tables, the ledger and the current figures."""

from datetime import timedelta
from typing import Annotated

import pyspark.sql.types as T

from lakehouse_assets.declare import Action, Contract, Dimension, SilverEvent, column, row_rule, table_metadata
from lakehouse_assets.defs.gmv.domain import FIRST_GMV_DAY, LONGEST_RELEASE

OWNERS = ("team:gmv",)
EVERY_FEED_DAY = ("purchase.feed_day", "product_item.feed_day", "purchase_extra_info.feed_day")


class MarketplaceEvent(SilverEvent):
    """What every change event of the marketplace has."""

    transaction_datetime: T.TimestampNTZType = column("when the change happened at the source", source=True)
    transaction_date: T.DateType = column("day on which the source delivered the change", source=True)
    purchase_id: T.LongType = column("purchase", source=True)

    @row_rule()
    def not_from_the_future(cls) -> str:
        """The record's own time does not lie after its feed day."""
        return "transaction_datetime < feed_day + INTERVAL 1 DAY"


class Purchase(MarketplaceEvent):
    """Change events of purchases: who bought, when it was ordered, when the payment was released."""

    buyer_id: T.LongType = column("buyer", source=True, nullable=True, pii=True)
    prod_item_id: T.LongType = column("item of the product that was bought", source=True, nullable=True)
    order_date: T.DateType = column("day of the order", source=True, nullable=True)
    release_date: T.DateType = column(
        "day the payment was released; none: not paid or cancelled", source=True, nullable=True
    )
    producer_id: T.LongType = column("producer of the product", source=True, nullable=True)

    @row_rule()
    def released_on_a_day_that_can_be(cls) -> str:
        """The payment is released on a day that GMV can have."""
        return f"release_date BETWEEN DATE'{FIRST_GMV_DAY}' AND feed_day + INTERVAL '{LONGEST_RELEASE.days}' DAY"

    class Config:
        metadata = table_metadata(event_time="transaction_datetime", fresh_within=timedelta(days=1), owners=OWNERS)


class ProductItem(MarketplaceEvent):
    """Change events of the product item of a purchase: which product, how many, for how much."""

    product_id: T.LongType = column("product", source=True)
    item_quantity: T.LongType = column("number of items", source=True, nullable=True, ge=1)
    purchase_value: Annotated[T.DecimalType, 18, 2] = column(
        "value of the whole transaction, not of one item", source=True, ge=0
    )

    class Config:
        metadata = table_metadata(event_time="transaction_datetime", fresh_within=timedelta(days=1), owners=OWNERS)


class PurchaseExtraInfo(MarketplaceEvent):
    """Change events of a purchase's extra information: the subsidiary that made the sale."""

    subsidiary: T.StringType = column("subsidiary that made the sale", source=True)

    class Config:
        metadata = table_metadata(event_time="transaction_datetime", fresh_within=timedelta(days=1), owners=OWNERS)


class Gmv(Contract):
    """The ledger of GMV: from `effective_date` on, this is the figure. Rows are only ever appended."""

    gmv_date: T.DateType = column(
        "day of the GMV: the release date", action=Action.FAIL, derived_from=("purchase.release_date",)
    )
    subsidiary: T.StringType = column("subsidiary; unknown until the extra info arrives", action=Action.FAIL)
    product_id: T.LongType = column("product", action=Action.FAIL)
    gmv: Annotated[T.DecimalType, 28, 2] = column(
        "sum of the value of released purchases",
        ge=0,
        action=Action.FAIL,
        derived_from=("product_item.purchase_value",),
    )
    purchases: T.LongType = column(
        "number of released purchases", ge=0, action=Action.FAIL, derived_from=("purchase.purchase_id",)
    )
    effective_date: T.DateType = column(
        "first day on which this is the figure", action=Action.FAIL, derived_from=EVERY_FEED_DAY
    )
    version: T.IntegerType = column("number of the figure of this key, from 1", ge=1, action=Action.FAIL)
    reason: T.StringType = column(
        "new, or restatement of a closed day", isin=["new", "restatement"], action=Action.FAIL
    )
    feed_day: T.DateType = column("feed day whose publication appended the row", action=Action.FAIL)
    run_id: T.StringType = column("run that appended the row", action=Action.FAIL)
    processed_at: T.TimestampType = column("when the run appended the row", action=Action.FAIL)

    class Config:
        metadata = table_metadata(
            owners=OWNERS, key=("gmv_date", "subsidiary", "product_id", "effective_date", "version")
        )

    @row_rule(dimension=Dimension.INTEGRITY, action=Action.FAIL)
    def value_has_purchases(cls) -> str:
        """Where there is no purchase there is no value."""
        return "purchases > 0 OR gmv = 0"


class GmvCurrent(Contract):
    """The current figures of GMV, one row per day, subsidiary and product: for people who know little SQL."""

    gmv_date: T.DateType = column("day of the GMV: the release date", action=Action.FAIL)
    subsidiary: T.StringType = column("subsidiary", action=Action.FAIL)
    product_id: T.LongType = column("product", action=Action.FAIL)
    gmv: Annotated[T.DecimalType, 28, 2] = column("current GMV", ge=0, action=Action.FAIL)
    purchases: T.LongType = column("released purchases", ge=0, action=Action.FAIL)
    effective_date: T.DateType = column("first day on which this is the figure", action=Action.FAIL)
    version: T.IntegerType = column("number of the figure of this key", ge=1, action=Action.FAIL)

    class Config:
        metadata = table_metadata(owners=OWNERS, key=("gmv_date", "subsidiary", "product_id"))
