"""The dashboard of the store: sales, and the reconciliation of what orders owe with what was paid."""

from lakehouse_assets.declare.dashboard import (
    AsOfDay,
    Choice,
    Dashboard,
    Days,
    Listing,
    Number,
    Parts,
    Rows,
    Series,
    Shape,
    Where,
    as_known,
    count,
    total,
)
from lakehouse_assets.defs.store import gold

SALES = Rows(gold.daily_sales, day="day", currency="BRL")
ORDERS = as_known(gold.payment_reconciliation, currency="BRL")
CUSTOMERS = as_known(gold.customer_value, currency="BRL")
NET = total("Net", "net")
FINE = Where("state", ("settled", "rounding"), negated=True)

DASHBOARD = Dashboard(
    "store",
    "Store: sales and reconciliation",
    filters=(
        Days("Days of order"),
        Choice("Category", SALES, "category"),
        Choice("State of the customer", SALES, "state"),
        AsOfDay(ORDERS),
    ),
    names={"state": "State", "user_id": "Customer", "order_id": "Order", "difference": "Paid less due"},
    filled_by=("make demo", "lakehouse land store/orders FILES --day 2025-01-31", "lakehouse warehouse catch-up"),
    charts=(
        (
            Number(title="Net sales", source=SALES, measure=NET),
            Number(title="Cancelled", source=SALES, measure=total("Cancelled", "cancelled")),
            Number(title="Paid less due, all orders", source=ORDERS, measure=total("Difference", "difference")),
            Number(title="Orders that are not settled", source=ORDERS, measure=count("Orders"), where=(FINE,)),
        ),
        (
            Series(
                title="Net sales by day and category",
                source=SALES,
                x="day",
                figures=(NET,),
                split="category",
                shape=Shape.BAR,
                stacked=True,
                width=8,
            ),
            Listing(
                title="Sales by state of the customer",
                source=SALES,
                shown=("state",),
                figures=(NET, total("Gross", "gross"), total("Pieces", "units", ",d")),
                width=4,
            ),
        ),
        (
            Parts(title="Orders by state of payment", source=ORDERS, of="state", measure=count("Orders"), width=4),
            Listing(
                title="Orders whose payments differ",
                about="As known on the day chosen; else now.",
                source=ORDERS,
                shown=("order_id", "state", "due", "paid", "difference", "method", "cancelled", "feed_day"),
                newest="feed_day",
                where=(FINE,),
                width=8,
            ),
        ),
        (
            Listing(
                title="Customers by value",
                source=CUSTOMERS,
                shown=("user_id", "last_order"),
                figures=(total("Value", "value"), total("Orders placed", "frequency", ",d")),
                width=12,
                rows=100,
            ),
        ),
    ),
)
