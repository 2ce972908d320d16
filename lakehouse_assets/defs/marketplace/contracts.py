"""Contracts of the marketplace domain. Columns are called, described and bounded as the data dictionary says."""

from typing import Annotated, Any

import pyspark.sql.types as T

from lakehouse_assets.declare import (
    Action,
    Contract,
    Dimension,
    DocumentRow,
    StateRow,
    column,
    row_rule,
    table_metadata,
)
from lakehouse_assets.defs.marketplace.dictionary import documented

OWNERS = ("team:marketplace",)

ORDER_STATUS = [
    "PRE-ORDER", "IN-PROCESSING", "PAID", "PARTIALLY-BILLED", "BILLED", "PARTIALLY-SENT", "SENT",
    "PARTIALLY-DELIVERED", "DELIVERED", "RETURNED", "REFUNDED", "CANCELED", "EXPIRED",
]  # fmt: skip
"""The values that the dictionary allows, in the order of an order's life: of two documents of one time the later status
counts."""

NUMBER: dict[str, Any] = {"nullable": True, "action": Action.WARN, "parsed": True, "decimal_mark": "."}
"""A number in a document: JSON writes it with a point. One that cannot be read leaves, with its item."""


class MarketingPlace(DocumentRow):
    """Documents as they came, byte for byte: each object of the bucket, and each landed file, once."""

    class Config:
        metadata = table_metadata(owners=OWNERS)


class Order(StateRow):
    """Orders, by their last document."""

    txt_detl_idt_pedi_pgto: T.StringType = documented("txt_detl_idt_pedi_pgto", source=True)
    cod_idef_clie: T.StringType = documented("cod_idef_clie", source=True, nullable=True, pii=True)
    stat_pedi: T.StringType = documented("stat_pedi", source=True)
    stat_pgto: T.StringType = documented("stat_pgto", source=True, nullable=True)
    dat_hor_tran: T.TimestampNTZType = documented("dat_hor_tran", source=True)
    dat_atui: T.TimestampNTZType = documented("dat_atui", source=True)
    list_item_pedi: T.StringType = documented("list_item_pedi", source=True, parsed=True)
    list_envo: T.StringType = documented("list_envo", source=True, nullable=True, parsed=True)
    num_ordm_stat: T.IntegerType = column("place of the status in an order's life, from 1", nullable=True)
    qtd_envo: T.IntegerType = column("number of shipments", nullable=True)
    unknown_fields: T.StringType = column("fields that the data dictionary does not know, as JSON", nullable=True)

    class Config:
        metadata = table_metadata(owners=OWNERS, event_time="dat_atui", documents=True)

    @row_rule()
    def not_from_the_future(cls) -> str:
        """The order was not changed after the document arrived."""
        return "dat_atui < feed_day + INTERVAL 1 DAY"

    @row_rule()
    def created_before_changed(cls) -> str:
        """An order is created before it changes."""
        return "dat_hor_tran <= dat_atui"

    @row_rule(dimension=Dimension.COMPLETENESS)
    def items_are_readable(cls) -> str:
        """The order has at least one item."""
        return "coalesce(size(from_json(list_item_pedi, 'array<map<string,string>>')), 0) > 0"

    @row_rule(action=Action.WARN, dimension=Dimension.SCHEMA)
    def fields_are_known(cls) -> str:
        """The document has no fields that the data dictionary does not know."""
        return "unknown_fields IS NULL"

    @row_rule(action=Action.WARN, dimension=Dimension.INTEGRITY)
    def delivered_was_sent(cls) -> str:
        """A delivered order has a shipment."""
        return "stat_pedi <> 'DELIVERED' OR qtd_envo > 0"


class Product(Contract):
    """Items of orders, as their last documents say."""

    txt_detl_idt_pedi_pgto: T.StringType = documented("txt_detl_idt_pedi_pgto", action=Action.FAIL)
    num_item: T.IntegerType = column("place of the item in the order, from 1", ge=1, action=Action.FAIL)
    cod_ofrt_ineo_requ: T.StringType = documented("cod_ofrt_ineo_requ", nullable=True)
    cod_vrne_prod: T.StringType = documented("cod_vrne_prod", nullable=True)
    nom_item: T.StringType = documented("nom_item", nullable=True)
    qtd_item_pedi: T.LongType = documented("qtd_item_pedi", **NUMBER)
    idt_venr: T.StringType = documented("idt_venr", nullable=True)
    idt_vrne_venr: T.StringType = documented("idt_vrne_venr", nullable=True)
    nom_venr: T.StringType = documented("nom_venr", nullable=True)
    vlr_prod: Annotated[T.DecimalType, 18, 4] = documented("vlr_prod", **NUMBER)
    vlr_oril: Annotated[T.DecimalType, 18, 4] = documented("vlr_oril", **NUMBER)
    vlr_prod_ofrt_desc: Annotated[T.DecimalType, 18, 4] = documented("vlr_prod_ofrt_desc", **NUMBER)
    unknown_fields: T.StringType = column("further fields of the item, as JSON", nullable=True)
    stat_pedi: T.StringType = documented("stat_pedi", action=Action.FAIL)
    dat_atui: T.TimestampNTZType = documented("dat_atui", action=Action.FAIL)

    class Config:
        metadata = table_metadata(owners=OWNERS)


class Shipment(Contract):
    """Items of the shipments of orders, as their last documents say."""

    txt_detl_idt_pedi_pgto: T.StringType = documented("txt_detl_idt_pedi_pgto", action=Action.FAIL)
    num_envo: T.IntegerType = column("place of the shipment in the order, from 1", ge=1, action=Action.FAIL)
    num_item_envo: T.IntegerType = column("place of the item in the shipment, from 1", ge=1, action=Action.FAIL)
    cod_tipo_entg: T.StringType = documented("cod_tipo_entg", nullable=True)
    nom_stat_entg: T.StringType = documented("nom_stat_entg", nullable=True)
    cod_venr: T.StringType = documented("cod_venr", nullable=True)
    cod_prod: T.StringType = documented("cod_prod", nullable=True)
    cod_prod_venr: T.StringType = documented("cod_prod_venr", nullable=True)
    qtd_prod: T.LongType = documented("qtd_prod", ge=0, **NUMBER)
    stat_entg: T.StringType = documented("stat_entg", nullable=True)
    unknown_fields: T.StringType = column("further fields of the shipment, as JSON", nullable=True)
    dat_atui: T.TimestampNTZType = documented("dat_atui", action=Action.FAIL)

    class Config:
        metadata = table_metadata(owners=OWNERS)


class Seller(StateRow):
    """Sellers, as the newest document with an item of theirs says."""

    idt_venr: T.StringType = documented("idt_venr")
    nom_venr: T.StringType = documented("nom_venr", nullable=True)
    dat_atui: T.TimestampNTZType = documented("dat_atui")

    class Config:
        metadata = table_metadata(owners=OWNERS, event_time="dat_atui")


class OrderFunnel(Contract):
    """Orders by the day of their creation and their status now."""

    order_day: T.DateType = column("day on which the orders were created, UTC", action=Action.FAIL)
    stat_pedi: T.StringType = column("status now", action=Action.FAIL)
    orders: T.LongType = column("orders", ge=1, action=Action.FAIL)
    share: Annotated[T.DecimalType, 9, 6] = column("share of the day's orders", gt=0, le=1, action=Action.FAIL)

    class Config:
        metadata = table_metadata(owners=OWNERS)


class SellerPerformance(Contract):
    """What each seller sold, and what became of it."""

    idt_venr: T.StringType = column("seller", action=Action.FAIL)
    nom_venr: T.StringType = column("greatest of its names in orders", nullable=True)
    orders: T.LongType = column("orders with an item of the seller", ge=1, action=Action.FAIL)
    units: T.LongType = column("units ordered", ge=0, action=Action.FAIL)
    value: Annotated[T.DecimalType, 38, 4] = column("value ordered", ge=0, action=Action.FAIL)
    delivered: T.LongType = column("orders of these that are delivered", ge=0, action=Action.FAIL)
    lost: T.LongType = column("orders cancelled, expired, refunded or returned", ge=0, action=Action.FAIL)

    class Config:
        metadata = table_metadata(owners=OWNERS)
