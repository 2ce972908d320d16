"""Bronze of the store: the rows of the dropped files as they came. The files do not say their day: the drop does."""

from datetime import timedelta

from lakehouse_assets.defs.store import FIRST_DAY, contracts
from lakehouse_assets.platform.contract import Contract
from lakehouse_assets.platform.landing import EventFiles
from lakehouse_assets.platform.table import landed_table


def _dropped(contract: type[Contract]) -> EventFiles:
    return EventFiles(contract.compiled().source_columns, first_day=FIRST_DAY)


SLA = timedelta(hours=6)

users = landed_table(__name__, "users", contracts.LandedUsers, _dropped(contracts.Users), sla=SLA)
products = landed_table(__name__, "products", contracts.LandedProducts, _dropped(contracts.Products), sla=SLA)
orders = landed_table(__name__, "orders", contracts.LandedOrders, _dropped(contracts.Orders), sla=SLA)
payments = landed_table(__name__, "payments", contracts.LandedPayments, _dropped(contracts.Payments), sla=SLA)
