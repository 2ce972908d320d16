"""From documents to rows: fields by name, arrays flattened, what nobody declared kept beside."""

from collections.abc import Collection

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from lakehouse_assets.defs.marketplace import contracts
from lakehouse_assets.defs.marketplace.dictionary import fields_of
from lakehouse_assets.platform.parse import parse

FIELDS, ITEM = fields_of(), fields_of("items")
SHIPMENT, SHIPPED = fields_of("shipments"), fields_of("shipments/items")
OBJECT, OBJECTS = "map<string,string>", "array<map<string,string>>"
ZULU = {"dat_hor_tran": (("Z$", ""),), "dat_atui": (("Z$", ""),)}


def orders_of(documents: DataFrame) -> DataFrame:
    """One change of an order for each document, typed. What is no order has no fields, and its rules say so."""
    fields = F.from_json("document", OBJECT)
    read = documents.select(
        fields.alias("_fields"),
        F.col("document").alias("_row"),
        "feed_day",
        F.col("path").alias("source_file"),
        F.lit(1).cast("long").alias("row_number"),
        F.lit(0).alias("landing"),
    )
    landed = read.select("*", *[F.col("_fields")[name].alias(name) for name in FIELDS])
    shipments = F.from_json("list_envo", OBJECTS)
    known = landed.select(
        "*",
        F.coalesce(F.size(shipments), F.lit(0)).alias("qtd_envo"),
        _unknown_of_document().alias("unknown_fields"),
    )
    typed = parse(known, contracts.Order, ZULU, carried=("qtd_envo", "unknown_fields"))
    place = F.array_position(F.array(*[F.lit(status) for status in contracts.ORDER_STATUS]), F.col("stat_pedi"))
    whole = F.sha2("_row", 256).alias("record_hash")  # duplicates are documents of the same bytes
    return typed.drop("record_hash").select("*", whole, place.cast("int").alias("num_ordm_stat"))


def _unknown_of_document() -> Column:
    """Unknown fields of the document, of its items and of its shipments, by the name of their list."""
    items = F.from_json("list_item_pedi", OBJECTS)
    shipments = F.from_json("list_envo", OBJECTS)

    def names(objects: Column, known: Collection[str]) -> Column:
        unknown = F.flatten(F.transform(objects, lambda one: F.map_keys(_without(one, known))))
        return F.array_sort(F.array_distinct(F.coalesce(unknown, F.array().cast("array<string>"))))

    top = F.array_sort(F.map_keys(_without(F.col("_fields"), FIELDS)))
    found = [
        *[(name, value) for name, value in (("document", top),)],
        ("list_item_pedi", names(items, ITEM)),
        ("list_envo", names(shipments, SHIPMENT)),
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
    """One row for each item of each order."""
    opened = orders.select("*", F.posexplode(F.from_json("list_item_pedi", OBJECTS)).alias("_place", "_item"))
    item = F.col("_item")
    types = {
        "qtd_item_pedi": "bigint",
        **dict.fromkeys(("vlr_oril", "vlr_prod", "vlr_prod_ofrt_desc"), "decimal(18,4)"),
    }
    return opened.select(
        "*",
        (F.col("_place") + 1).alias("num_item"),
        *[_typed(item[name], types.get(name)).alias(name) for name in ITEM],
        _rest(item, ITEM).alias("unknown_fields_of_item"),
    )


def shipped_items_of(orders: DataFrame) -> DataFrame:
    """One row for each item of each shipment of each order."""
    shipments = orders.select("*", F.posexplode(F.from_json("list_envo", OBJECTS)).alias("_place", "_shipment"))
    shipment = F.col("_shipment")
    opened = shipments.select(
        "*",
        (F.col("_place") + 1).alias("num_envo"),
        F.posexplode_outer(F.from_json(shipment["list_item_envo"], OBJECTS)).alias("_of_shipment", "_item"),
    )
    return opened.select(
        "*",
        F.coalesce(F.col("_of_shipment") + 1, F.lit(1)).alias("num_item_envo"),
        *[shipment[name].alias(name) for name in SHIPMENT if name != "list_item_envo"],
        *[_typed(F.col("_item")[name], "bigint" if name == "qtd_prod" else None).alias(name) for name in SHIPPED],
        _rest(shipment, SHIPMENT).alias("unknown_fields_of_shipment"),
    )


def _typed(text: Column, kind: str | None) -> Column:
    return text.try_cast(kind) if kind else text
