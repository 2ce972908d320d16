"""Silver of the marketplace: the current state of orders, and what their last documents hold.

Of two documents of an order the one with the later `dat_atui` counts; of the same time the one whose status comes
later in an order's life, then the one with more shipments, then the greater hash of what it says. So the tables do not
depend on the order in which documents arrive, nor on how often.
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse_assets.declare import Overwrite, Publish, day, full, scd1
from lakehouse_assets.defs.marketplace import bronze, contracts
from lakehouse_assets.defs.marketplace.documents import items_of, orders_of, shipped_items_of
from lakehouse_assets.defs.marketplace.domain import MARKETPLACE

LAST = ("dat_atui", "num_ordm_stat", "qtd_envo")


@MARKETPLACE.silver(
    contracts.Order,
    write=scd1(("txt_detl_idt_pedi_pgto",), LAST),
    documents=day(bronze.marketing_place),
    reconciles="documents",
    publish=Publish(),
)
def orders(documents: DataFrame) -> DataFrame:
    """Changes of orders, a document each."""
    return orders_of(documents)


@MARKETPLACE.silver(
    contracts.Seller, write=scd1(("idt_venr",), "dat_atui", buckets=1), documents=day(bronze.marketing_place)
)
def sellers(documents: DataFrame) -> DataFrame:
    """What documents say of sellers."""
    items = items_of(orders_of(documents)).where("idt_venr IS NOT NULL AND dat_atui IS NOT NULL")
    lines = items.select("idt_venr", "nom_venr", "dat_atui", "feed_day").distinct()
    hashed = F.sha2(F.to_json(F.struct("idt_venr", "nom_venr", "dat_atui")), 256)
    return lines.select("*", hashed.alias("record_hash"))


@MARKETPLACE.silver(contracts.Product, write=Overwrite(), orders=full(orders))
def products(orders: DataFrame) -> DataFrame:
    """The items of every order."""
    items = items_of(orders.drop("feed_day", "unknown_fields"))
    return items.withColumnRenamed("unknown_fields_of_item", "unknown_fields")


@MARKETPLACE.silver(contracts.Shipment, write=Overwrite(), orders=full(orders))
def shipments(orders: DataFrame) -> DataFrame:
    """The shipped items of every order."""
    shipped = shipped_items_of(orders.drop("feed_day", "unknown_fields"))
    return shipped.withColumnRenamed("unknown_fields_of_shipment", "unknown_fields")
