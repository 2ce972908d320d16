"""The dashboard of the marketplace: where orders stand, and how sellers do."""

from lakehouse_assets.declare.dashboard import (
    Choice,
    Dashboard,
    Days,
    Listing,
    Number,
    Parts,
    Rows,
    Series,
    Shape,
    count,
    share,
    total,
)
from lakehouse_assets.defs.marketplace import gold

FUNNEL = Rows(gold.order_funnel, day="order_day")
SELLERS = Rows(gold.seller_performance)
ORDERS = total("Orders", "orders", ",d")

DASHBOARD = Dashboard(
    "marketplace",
    "Marketplace",
    filters=(Days("Days of creation"), Choice("Status", FUNNEL, "stat_pedi")),
    names={"stat_pedi": "Status", "order_day": "Day of creation", "idt_venr": "Seller ID", "nom_venr": "Seller"},
    filled_by=("make demo", "lakehouse stream marketplace", "lakehouse warehouse catch-up"),
    charts=(
        (
            Number(title="Orders", source=FUNNEL, measure=ORDERS),
            Number(title="Sellers", source=SELLERS, measure=count("Sellers")),
            Number(title="Value ordered", source=SELLERS, measure=total("Value", "value")),
            Number(title="Delivered", source=SELLERS, measure=share("Delivered", "delivered", "orders")),
        ),
        (
            Series(
                title="Orders by day and status",
                source=FUNNEL,
                x="order_day",
                figures=(ORDERS,),
                split="stat_pedi",
                shape=Shape.BAR,
                stacked=True,
                width=8,
            ),
            Parts(title="Orders by status", source=FUNNEL, of="stat_pedi", measure=ORDERS, width=4),
        ),
        (
            Listing(
                title="Sellers by value",
                source=SELLERS,
                shown=("idt_venr", "nom_venr"),
                figures=(
                    total("Value", "value"),
                    ORDERS,
                    total("Units", "units", ",d"),
                    total("Delivered orders", "delivered", ",d"),
                    total("Lost orders", "lost", ",d"),
                ),
                width=12,
            ),
        ),
    ),
)
