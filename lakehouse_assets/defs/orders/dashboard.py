"""The dashboard of live orders: revenue by minute as the stream keeps it, and the days behind it."""

from lakehouse_assets.declare.dashboard import (
    Choice,
    Dashboard,
    Days,
    Listing,
    Number,
    Rows,
    Series,
    Shape,
    greatest,
    share,
    total,
)
from lakehouse_assets.defs.orders import gold

LIVE = Rows(gold.revenue_live, day="minute")
COUNTRIES = Rows(gold.sales_by_country, day="feed_day")
PRODUCTS = Rows(gold.sales_by_product, day="feed_day")
RATE = Rows(gold.cancellation_rate, day="feed_day")
SALES = total("Sales", "sales")

DASHBOARD = Dashboard(
    "orders",
    "Live orders",
    filters=(Days(), Choice("Country", COUNTRIES, "country")),
    names={"feed_day": "Day", "stock_code": "Product"},
    filled_by=("make demo", "lakehouse stream orders", "lakehouse warehouse catch-up"),
    charts=(
        (
            Number(title="Sales", source=LIVE, measure=SALES),
            Number(title="Lines sold", source=LIVE, measure=total("Lines", "lines", ",d")),
            Number(title="Cancelled", source=LIVE, measure=total("Cancelled", "cancelled")),
            Number(
                title="Cancelled of what was sold",
                source=RATE,
                measure=share("Cancellation rate", "cancelled", "sales"),
            ),
        ),
        (
            Series(
                title="Sales by minute",
                source=LIVE,
                x="minute",
                figures=(SALES,),
                grain="PT1M",
                shape=Shape.AREA,
                width=8,
            ),
            Listing(
                title="Newest event of each day",
                source=LIVE,
                shown=("feed_day",),
                figures=(greatest("Newest event", "newest_event"),),
                width=4,
            ),
        ),
        (
            Series(
                title="Sales by day and country",
                source=COUNTRIES,
                x="feed_day",
                figures=(SALES,),
                split="country",
                shape=Shape.BAR,
                stacked=True,
                width=8,
            ),
            Listing(
                title="Sales by product",
                source=PRODUCTS,
                shown=("stock_code", "description"),
                figures=(SALES, total("Units", "units", ",d")),
                width=4,
                rows=100,
            ),
        ),
    ),
)
