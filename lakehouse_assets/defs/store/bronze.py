"""Bronze of the store: the rows of the dropped files as they came. The files do not say their day: the drop does."""

from datetime import timedelta

from lakehouse_assets.defs.store import FIRST_DAY, contracts
from lakehouse_assets.platform.common.file_layout import MIB, Parquet
from lakehouse_assets.platform.common.source_days import SourceDays
from lakehouse_assets.platform.contracts.contract import Contract
from lakehouse_assets.platform.declare.source_files import EventFiles
from lakehouse_assets.platform.declare.table import Table, landed_table

SLA = timedelta(hours=6)
# Text that is read whole, once: a codec that packs tighter, row groups that fit a reader's memory.
TUNED = Parquet("zstd", level=3, row_group_bytes=64 * MIB, page_bytes=MIB)


def _bronze(name: str, landed: type[Contract], typed: type[Contract]) -> Table:
    source = EventFiles(typed.compiled().source_columns, days=SourceDays(FIRST_DAY))
    return landed_table(__name__, name, landed, source, sla=SLA, parquet=TUNED)


users = _bronze("users", contracts.LandedUsers, contracts.Users)
products = _bronze("products", contracts.LandedProducts, contracts.Products)
orders = _bronze("orders", contracts.LandedOrders, contracts.Orders)
payments = _bronze("payments", contracts.LandedPayments, contracts.Payments)
