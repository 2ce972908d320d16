"""Bronze of GMV: the rows of the landed files as they came."""

from lakehouse_assets.defs.gmv import FIRST_DAY, contracts
from lakehouse_assets.platform.common.source_days import SourceDays
from lakehouse_assets.platform.contracts.contract import Contract
from lakehouse_assets.platform.declare.source_files import EventFiles
from lakehouse_assets.platform.declare.table import landed_table


def _events(contract: type[Contract]) -> EventFiles:
    return EventFiles(contract.compiled().source_columns, day_column="transaction_date", days=SourceDays(FIRST_DAY))


product_item = landed_table(__name__, "product_item", contracts.LandedProductItem, _events(contracts.ProductItem))
purchase = landed_table(__name__, "purchase", contracts.LandedPurchase, _events(contracts.Purchase))
purchase_extra_info = landed_table(
    __name__, "purchase_extra_info", contracts.LandedPurchaseExtraInfo, _events(contracts.PurchaseExtraInfo)
)
