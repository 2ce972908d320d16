"""Sources of GMV: daily files of the marketplace's change events, split by the day on which each was delivered."""

from lakehouse_assets.declare import Files
from lakehouse_assets.defs.gmv import contracts
from lakehouse_assets.defs.gmv.domain import GMV

EVENTS = Files(day_column="transaction_date")

product_item = GMV.source(contracts.ProductItem, EVENTS)
purchase = GMV.source(contracts.Purchase, EVENTS)
purchase_extra_info = GMV.source(contracts.PurchaseExtraInfo, EVENTS)
