"""From documents to rows: fields by name, arrays flattened, what nobody declared kept beside."""

from collections.abc import Collection

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from lakehouse_assets.declare.rows import (
    DOCUMENT,
    MALFORMED,
    ROW,
    document,
    json_fields,
    json_objects,
    parse,
    read_fields,
)
from lakehouse_assets.defs.marketplace import contracts
from lakehouse_assets.defs.marketplace.dictionary import fields_of

FIELDS, ITEM = fields_of(), fields_of("items")
SHIPMENT, SHIPPED = fields_of("shipments"), fields_of("shipments/items")
ZULU = {"dat_hor_tran": (("Z$", ""),), "dat_atui": (("Z$", ""),)}


def orders_of(documents: DataFrame) -> DataFrame:
    """One change of an order for each document, typed. What is no order has no fields, and its rules say so."""
    read = documents.select(
        json_fields(document(F.col("document"))).alias("_fields"),
        F.col("document").alias(ROW),
        "feed_day",
        F.col("path").alias("source_file"),
        F.lit(1).cast("long").alias("row_number"),
        F.lit(0).alias("landing"),
    )
    landed = read.select("*", *[F.col("_fields")[name].alias(name) for name in FIELDS])
    lists = landed.select(
        "*", json_objects(F.col("list_item_pedi")).alias("_items"), json_objects(F.col("list_envo")).alias("_shipments")
    )
    known = lists.select(
        "*",
        F.coalesce(F.size("_shipments"), F.lit(0)).alias("qtd_envo"),
        _unknown_of_document().alias("unknown_fields"),
    )
    unreadable = {
        DOCUMENT: F.col("_fields").isNull(),
        "list_item_pedi": _unreadable(F.col("list_item_pedi"), F.col("_items")),
        "list_envo": _unreadable(F.col("list_envo"), F.col("_shipments")) | _some_items_unreadable(),
    }
    typed = parse(known, contracts.Order, ZULU, carried=("qtd_envo", "unknown_fields"), unreadable=unreadable)
    place = F.array_position(F.array(*[F.lit(status) for status in contracts.ORDER_STATUS]), F.col("stat_pedi"))
    whole = F.sha2(ROW, 256).alias("record_hash")  # duplicates are documents of the same bytes
    return typed.drop("record_hash").select("*", whole, place.cast("int").alias("num_ordm_stat"))


def _unreadable(text: Column, objects: Column) -> Column:
    return text.isNotNull() & objects.isNull()


def _some_items_unreadable() -> Column:
    """Whether a shipment has items that are no list of objects."""
    items = F.transform("_shipments", lambda shipment: shipment["list_item_envo"])
    return F.coalesce(F.exists(items, lambda of: _unreadable(of, json_objects(of))), F.lit(False))


def _unknown_of_document() -> Column:
    """Unknown fields of the document, of its items and of its shipments, by the name of their list."""

    def names(objects: Column, known: Collection[str]) -> Column:
        unknown = F.flatten(F.transform(objects, lambda one: F.map_keys(_without(one, known))))
        return F.array_sort(F.array_distinct(F.coalesce(unknown, F.array().cast("array<string>"))))

    top = F.array_sort(F.map_keys(_without(F.col("_fields"), FIELDS)))
    found = [
        *[(name, value) for name, value in (("document", top),)],
        ("list_item_pedi", names(F.col("_items"), ITEM)),
        ("list_envo", names(F.col("_shipments"), SHIPMENT)),
    ]
    some = F.struct(*[F.when(F.size(value) > 0, value).alias(name) for name, value in found])
    text = F.to_json(some)
    return F.when(text != "{}", text)


def _without(fields: Column, known: Collection[str]) -> Column:
    names = F.array(*[F.lit(name) for name in known])
    return F.map_filter(fields, lambda name, _: ~F.array_contains(names, name))


def _rest(fields: Column, known: Collection[str]) -> Column:
    rest = _without(fields, known)
    return F.when(F.size(rest) > 0, F.to_json(rest))


def items_of(orders: DataFrame) -> DataFrame:
    """One row for each item of each order. `_row` is the item as it came."""
    objects = json_objects(F.col("list_item_pedi"))
    opened = orders.drop(ROW, MALFORMED).select("*", F.posexplode(objects).alias("_place", "_item"))
    item = F.col("_item")
    numbers = ("qtd_item_pedi", "vlr_oril", "vlr_prod", "vlr_prod_ofrt_desc")
    items = opened.select(
        "*",
        (F.col("_place") + 1).alias("num_item"),
        *[item[name].alias(name) for name in ITEM if name not in numbers],
        _rest(item, ITEM).alias("unknown_fields_of_item"),
    )
    whole = items.select("*", _as_it_came("num_item", item=F.col("_item")).alias(ROW))
    return read_fields(whole, {name: item[name] for name in numbers}, contracts.Product)


def shipped_items_of(orders: DataFrame) -> DataFrame:
    """One row for each item of each shipment of each order. `_row` is the shipment as it came."""
    objects = json_objects(F.col("list_envo"))
    shipments = orders.drop(ROW, MALFORMED).select("*", F.posexplode(objects).alias("_place", "_shipment"))
    shipment, item = F.col("_shipment"), F.col("_item")
    opened = shipments.select(
        "*",
        (F.col("_place") + 1).alias("num_envo"),
        F.posexplode_outer(json_objects(shipment["list_item_envo"])).alias("_of_shipment", "_item"),
    )
    items = opened.select(
        "*",
        F.coalesce(F.col("_of_shipment") + 1, F.lit(1)).alias("num_item_envo"),
        *[shipment[name].alias(name) for name in SHIPMENT if name != "list_item_envo"],
        *[item[name].alias(name) for name in SHIPPED if name != "qtd_prod"],
        _rest(shipment, SHIPMENT).alias("unknown_fields_of_shipment"),
    )
    whole = items.select("*", _as_it_came("num_envo", "num_item_envo", shipment=F.col("_shipment")).alias(ROW))
    return read_fields(whole, {"qtd_prod": item["qtd_prod"]}, contracts.Shipment)


def _as_it_came(*place: str, **fields: Column) -> Column:
    named = [value.alias(name) for name, value in fields.items()]
    return F.to_json(F.struct("txt_detl_idt_pedi_pgto", *place, *named))
