"""The dashboard of GMV: the figures as known on any day, and what was restated."""

from lakehouse_assets.declare.dashboard import (
    AsOfDay,
    Choice,
    Dashboard,
    Days,
    Listing,
    Number,
    Rows,
    Series,
    Shape,
    Where,
    as_known,
    count,
    distinct,
    total,
)
from lakehouse_assets.defs.gmv import gold

KNOWN = as_known(gold.gmv, day="gmv_date")
LEDGER = Rows(gold.gmv, day="gmv_date")
GMV = total("GMV", "gmv")
PURCHASES = total("Purchases", "purchases", ",d")

DASHBOARD = Dashboard(
    "gmv",
    "GMV as of a day",
    filters=(AsOfDay(KNOWN), Days("GMV days"), Choice("Subsidiary", KNOWN, "subsidiary")),
    names={"gmv_date": "GMV day", "product_id": "Product", "effective_date": "Known from", "version": "Version"},
    filled_by=("make demo", "lakehouse land gmv/purchase FILES", "lakehouse warehouse catch-up"),
    charts=(
        (
            Number(title="GMV", source=KNOWN, measure=GMV),
            Number(title="Released purchases", source=KNOWN, measure=PURCHASES),
            Number(
                title="Days with GMV",
                source=KNOWN,
                measure=distinct("Days", "gmv_date"),
                where=(Where("gmv", (0,), negated=True),),
            ),
            Number(
                title="Restatements ever",
                source=LEDGER,
                measure=count("Restatements"),
                where=(Where("reason", ("restatement",)),),
            ),
        ),
        (
            Series(
                title="GMV by day and subsidiary",
                source=KNOWN,
                x="gmv_date",
                figures=(GMV,),
                split="subsidiary",
                shape=Shape.BAR,
                stacked=True,
                width=12,
            ),
        ),
        (
            Listing(title="GMV by product", source=KNOWN, shown=("product_id",), figures=(GMV, PURCHASES)),
            Listing(
                title="Restatements",
                about="Figures of closed days that later news changed: the row as appended to the ledger.",
                source=LEDGER,
                shown=("gmv_date", "subsidiary", "product_id", "gmv", "purchases", "effective_date", "version"),
                newest="effective_date",
                where=(Where("reason", ("restatement",)),),
            ),
        ),
    ),
)
