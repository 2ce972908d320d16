"""The marketplace: documents in any order of arrival give the same tables, and the last state is the right one."""

import csv
import json
import os
import re
import shlex
import subprocess
from datetime import date, timedelta
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pyspark.sql import SparkSession

from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.results.step_result import Status
from lakehouse_assets.platform.streams.stream_ingest import drain_available
from lakehouse_assets.settings import Settings
from lakehouse_assets.streaming.documents import Documents
from lakehouse_assets_tests.lake_driver import LakeDriver

ORIGINALS = Path(__file__).parents[2] / "shared" / "data" / "marketplace" / "events"
BRONZE = "marketplace/bronze/marketing_place"
ORDERS, SELLERS = "marketplace/silver/orders", "marketplace/silver/sellers"
PRODUCTS, SHIPMENTS = "marketplace/silver/products", "marketplace/silver/shipments"
FUNNEL, PERFORMANCE = "marketplace/gold/order_funnel", "marketplace/gold/seller_performance"
ARRIVAL = ("feed_day", "processed_date")
FIRST = date(2024, 3, 1)
Document = dict[str, Any]


def item(number: int, **more: Any) -> Document:
    return {
        "nom_item": f"item {number}", "cod_ofrt_ineo_requ": f"o{number}", "vlr_oril": 10.50, "vlr_prod": 9.99,
        "vlr_prod_ofrt_desc": 0.0, "qtd_item_pedi": number, "idt_venr": f"seller{number % 2}",
        "nom_venr": f"Seller {number % 2}", "idt_vrne_venr": f"v{number}", "cod_vrne_prod": f"MKU-{number}",
    } | more  # fmt: skip


def shipment(code: str, *items: int, status: str = "SENT", **more: Any) -> Document:
    shipped = [{"qtd_prod": 1, "cod_prod_venr": f"v{n}", "cod_prod": f"MKU-{n}", "stat_entg": status} for n in items]
    return {"cod_tipo_entg": code, "list_item_envo": shipped, "cod_venr": "seller1", "nom_stat_entg": status} | more


def document(order: str, minute: int, status: str, *shipments: Document, **more: Any) -> Document:
    """An order's document, changed `minute` minutes after its creation."""
    return {
        "txt_detl_idt_pedi_pgto": order, "cod_idef_clie": "customer", "dat_hor_tran": "2023-05-11T13:00:00.000Z",
        "list_item_pedi": [item(1), item(2)], "list_envo": list(shipments), "stat_pgto": "PAID", "stat_pedi": status,
        "dat_atui": f"2023-05-11T13:{minute:02}:00.500Z",
    } | more  # fmt: skip


def life(order: str) -> list[Document]:
    """An order's documents: two of one time, optional fields, an item that is gone in the end."""
    return [
        document(order, 0, "PRE-ORDER"),
        document(order, 1, "PAID"),
        document(order, 4, "PARTIALLY-SENT", shipment("a", 1)),
        document(order, 4, "PARTIALLY-SENT", shipment("a", 1), shipment("b", 2, status="BILLED")),
        document(order, 9, "SENT", shipment("a", 1), shipment("b", 2, dat_emis_cpvt="2023-05-11")),
        document(
            order, 12, "DELIVERED", shipment("a", 1, status="DELIVERED"), list_item_pedi=[item(1, vlr_desc_envo=1.5)]
        ),
    ]  # fmt: skip


def originals() -> list[Document]:
    """The challenge's documents, where they are beside this checkout."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(ORIGINALS.glob("*.json"))]


def write(folder: Path, name: str, found: Document | str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    file.write_text(found if isinstance(found, str) else json.dumps(found, indent=2, ensure_ascii=False), "utf-8")
    return file


def rows(driver: LakeDriver, table: str) -> list[tuple[Any, ...]]:
    """Rows of a table, without what depends on the arrival."""
    return driver.rows(table, *[name for name in driver.read(table).columns if name not in ARRIVAL])


def bring(driver: LakeDriver, folder: Path, documents: list[Document | str]) -> None:
    """The documents into bronze, by the folder's stream."""
    for number, one in enumerate(documents):
        write(folder, f"{number:05}", one)
    table = driver.catalog.table(TableKey.parse(BRONZE))
    drain_available(Step(driver.spark, driver.lake, driver.catalog, "stream"), table, Documents(str(folder)))


CASE = ("bucket-s3 bucket=itau-shop action=create", "bucket-s3 bucket=itau-shop action=move_obj", "run-job",
        "bucket-s3 bucket=itau-shop action=list path=input/", "bucket-s3 bucket=all action=all")  # fmt: skip


@pytest.mark.parametrize("target", CASE)
def test_the_targets_of_make_call_commands_that_exist(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The five ways in which the marketplace's people call make."""
    from lakehouse_assets.cli import main
    from lakehouse_assets_tests.test_docs import parse

    told = subprocess.run(
        ["make", "--dry-run", *target.split()],
        cwd=Path(__file__).parents[1],
        check=True,
        capture_output=True,
        text=True,
        # As one calls it by hand: `make test` hands its own ARGS down to what it starts.
        env={name: value for name, value in os.environ.items() if name not in ("ARGS", "MAKEFLAGS", "MAKEOVERRIDES")},
    ).stdout
    called = [shlex.split(words) for words in re.findall(r"bin/(lakehouse [^;>\n]*)", told)]
    assert len(called) >= 2, "a server is started where none is named, and something is done"
    (tmp_path / "input").mkdir()
    monkeypatch.chdir(tmp_path)
    for words in called:
        parse(main, words)


def test_every_field_of_the_dictionary_is_a_column_with_its_comment_type_and_rules() -> None:
    """The domain's copy says what the team's file says, and the contracts what the copy says."""
    from lakehouse_assets.defs.marketplace.contracts import ORDER_STATUS, Order, Product, Seller, Shipment
    from lakehouse_assets.defs.marketplace.dictionary import dictionary

    types = {"string": "string", "bigint": "bigint", "double": "decimal(18,4)", "array": "string"}
    times = {"dat_hor_tran", "dat_atui"}
    seen = {"list_item_envo"}  # flattened to the rows of shipments
    for contract in (Order, Product, Shipment, Seller):
        compiled = contract.compiled()
        for field in compiled.spark_schema:
            entry = dictionary().get(field.name)
            if entry is None:
                continue
            seen.add(field.name)
            assert compiled.comments[field.name] == entry.description
            assert field.dataType.simpleString() == ("timestamp_ntz" if field.name in times else types[entry.type]), (
                field.name
            )
            declared = {rule.name for rule in compiled.rules}
            assert {f"{field.name}:{check}" for check in entry.rules} <= declared
    assert seen == set(dictionary())
    assert set(ORDER_STATUS) == set(dictionary()["stat_pedi"].allowed)
    assert {name: e.minimum for name, e in dictionary().items() if e.minimum is not None} == {
        "qtd_item_pedi": 1, "vlr_prod": 0, "vlr_oril": 0, "vlr_prod_ofrt_desc": 0,
    }  # fmt: skip


def test_the_copy_of_the_dictionary_is_the_teams() -> None:
    from lakehouse_assets.defs.marketplace.dictionary import dictionary

    original = ORIGINALS.parent / "data_dictionary.csv"
    if not original.exists():
        pytest.skip(f"the team's data dictionary is not beside this checkout: {original}")
    with original.open(encoding="utf-8", newline="") as file:
        theirs = list(csv.DictReader(file))
    assert [(row["source_name"], row["column"]) for row in theirs] == [
        (e.path, e.column) for e in dictionary().values()
    ]
    for row in theirs:
        entry, (message, _, values) = dictionary()[row["column"]], row["description"].partition("Allowed values:")
        assert entry.description == " ".join(message.split())
        assert set(entry.allowed) == set(values.partition("Default:")[0].split())
        assert entry.type == row["type"].lower()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_documents_in_any_order_of_arrival_give_the_same_tables(spark: SparkSession, tmp_path: Path) -> None:
    """Many worlds side by side in one lake: in each the same documents arrive on other days, some of them twice."""
    random, worlds = Random(4), 20
    told = [*life("ours"), *originals()]
    arrivals: dict[date, list[Document]] = {FIRST + timedelta(days=n): [] for n in range(3)}
    days = list(arrivals)
    for world in range(worlds):
        for one in random.sample(told, len(told)):
            copy = one | {"txt_detl_idt_pedi_pgto": f"{world}:{one['txt_detl_idt_pedi_pgto']}"}
            for day in random.choices(days, k=random.choice((1, 1, 1, 2))):
                arrivals[day].append(copy)
    driver = LakeDriver.at(spark, tmp_path)
    source = driver.catalog.table(TableKey.parse(BRONZE))
    from lakehouse_assets.platform.storage import delta_writer
    from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata

    frame = spark.createDataFrame(
        [
            (json.dumps(one), f"{day}/{n}", str(n), None, "file", day)
            for day, documents in arrivals.items()
            for n, one in enumerate(documents)
        ],
        source.compiled.spark_schema,
    )
    target = delta_writer.Target(driver.lake.path(source.key), BRONZE, source.compiled.spark_schema)
    delta_writer.append(frame, target, CommitMetadata(BRONZE, "test", "test", frozenset(days), "code", {}), None)
    for day in random.sample(days, len(days)):
        for table in (ORDERS, SELLERS):
            assert driver.make(table, [day]).days[0].status is Status.COMMITTED
    for table in (PRODUCTS, SHIPMENTS):
        driver.make(table, days)
    last = {order: max(group, key=_last) for order, group in groupby(sorted(told, key=_order), key=_order)}
    for table in (ORDERS, PRODUCTS, SHIPMENTS):
        of_world: dict[str, list[tuple[Any, ...]]] = {}
        kept = {*driver.read(table).columns} - {*ARRIVAL, "record_hash", "bucket", "txt_detl_idt_pedi_pgto"}
        for world_order, *rest in driver.rows(table, "txt_detl_idt_pedi_pgto", *sorted(kept)):
            world, _, order = world_order.partition(":")
            of_world.setdefault(world, []).append((order, *rest))
        assert len(of_world) == worlds, table
        assert len({tuple(found) for found in of_world.values()}) == 1, f"{table}: a world differs"
    states = driver.rows(ORDERS, "txt_detl_idt_pedi_pgto", "stat_pedi", "list_envo")
    for world_order, status, shipments in states:
        expected = last[world_order.partition(":")[2]]
        assert (status, json.loads(shipments)) == (expected["stat_pedi"], expected["list_envo"])


def _order(one: Document) -> str:
    return str(one["txt_detl_idt_pedi_pgto"])


def _last(one: Document) -> tuple[str, int]:
    return one["dat_atui"], len(one["list_envo"])


def test_the_tables_of_some_documents(spark: SparkSession, tmp_path: Path) -> None:
    """Bronze keeps the bytes; silver types and flattens; what is wrong is quarantined; what is unknown is reported."""
    driver, folder = LakeDriver.at(spark, tmp_path), tmp_path / "input"
    odd = [
        "no JSON",
        "{}",
        json.dumps(document("x", 1, "LOST")),
        json.dumps(document("y", 1, "PAID", list_item_pedi=[])),
    ]
    told: list[Document | str] = [*life("a"), *life("a")[:2], document("b", 3, "CANCELED", canal="app"), *odd]
    bring(driver, folder, told)
    held = driver.rows(BRONZE, "path", "document")
    assert [text for _, text in held] == [file.read_text(encoding="utf-8") for file in sorted(folder.iterdir())]
    bring(driver, folder, told)
    assert len(driver.rows(BRONZE, "path")) == len(told), "what is there already is not read again"
    (day,) = {day for (day,) in driver.rows(BRONZE, "feed_day")}
    (made,) = driver.make(ORDERS, [day]).days
    assert (made.rows.rows_in, made.rows.quarantined, made.rows.duplicates) == (len(told), len(odd), 2)
    assert {rule.rule: rule.failed for rule in made.rules if rule.action.value == "warn" and rule.failed}[
        "fields_are_known"
    ] == 3
    states = driver.rows(ORDERS, "txt_detl_idt_pedi_pgto", "stat_pedi", "unknown_fields")
    assert states == [
        ("a", "DELIVERED", '{"list_item_pedi":["vlr_desc_envo"]}'),
        ("b", "CANCELED", '{"document":["canal"]}'),
    ]
    for table in (SELLERS, PRODUCTS, SHIPMENTS, FUNNEL, PERFORMANCE):
        driver.make(table, [day])
    assert [(r[0], r[1]) for r in driver.rows(PRODUCTS, "txt_detl_idt_pedi_pgto", "num_item")] == [
        ("a", 1), ("b", 1), ("b", 2),
    ]  # fmt: skip
    (first, *_) = driver.rows(PRODUCTS, "txt_detl_idt_pedi_pgto", "num_item", "vlr_prod", "unknown_fields")
    assert first == ("a", 1, Decimal("9.99"), '{"vlr_desc_envo":"1.5"}')
    assert driver.rows(SHIPMENTS, "cod_tipo_entg", "stat_entg") == [("a", "DELIVERED")]
    assert driver.rows(SELLERS, "idt_venr", "nom_venr") == [("seller0", "Seller 0"), ("seller1", "Seller 1")]
    assert driver.rows(FUNNEL, "stat_pedi", "orders", "share") == [
        ("CANCELED", 1, Decimal("0.5")), ("DELIVERED", 1, Decimal("0.5")),
    ]  # fmt: skip
    assert driver.rows(PERFORMANCE, "idt_venr", "orders", "units", "value", "delivered", "lost") == [
        ("seller0", 1, 2, Decimal("19.98"), 0, 1),
        ("seller1", 2, 2, Decimal("19.98"), 1, 1),
    ]


def test_a_document_is_read_to_the_digit_or_breaks_a_rule(spark: SparkSession, tmp_path: Path) -> None:
    """Numbers keep their text; what is there and cannot be read is counted by a rule, in each table it belongs to."""
    driver, folder = LakeDriver.at(spark, tmp_path), tmp_path / "input"

    def one(order: str, value: str, quantity: str = "1") -> str:
        text = json.dumps(document(order, 1, "PAID", list_item_pedi=[item(1, vlr_prod="VALUE", qtd_item_pedi="COUNT")]))
        return text.replace('"VALUE"', value).replace('"COUNT"', quantity)

    good = {
        "a": one("a", "12345678901234.5678", "2.0"), "b": one("b", "1.23456785E7", '"3"'), "c": one("c", "50.0000"),
        "d": one("d", '"1.234,56"'), "e": "\ufeff" + one("e", "1.234"), "f": one("f", "null", "null"),
    }  # fmt: skip
    items = {"g": one("g", '"R$ 5"'), "h": one("h", "1.23456"), "i": one("i", "1", "1.5")}
    whole = {
        "document:parses": [one("x", "1") + " xyz", '{"txt_detl_idt_pedi_pgto": "x", ' + one("x", "1")[1:], "no JSON"],
        "list_item_pedi:parses": [json.dumps(document("y", 1, "PAID", list_item_pedi=[item(1), 5]))],
        "list_envo:parses": [
            json.dumps(document("z", 1, "PAID", list_envo="none")),
            json.dumps(document("z", 1, "PAID", shipment("a", 1) | {"list_item_envo": {"qtd_prod": 1}})),
        ],
    }
    bad = shipment("b", 2) | {"list_item_envo": [{"qtd_prod": "some"}]}
    late = json.dumps(document("s", 1, "SENT", shipment("a", 1), bad))
    bring(driver, folder, [*good.values(), *items.values(), late, *[text for of in whole.values() for text in of]])
    (day,) = {day for (day,) in driver.rows(BRONZE, "feed_day")}

    def broken(table: str) -> dict[str, int]:
        (made,) = driver.make(table, [day]).days
        return {name: rows for name, rows in made.rows.broken.items() if name.endswith(":parses")}

    assert broken(ORDERS) == {rule: len(of) for rule, of in whole.items()}
    assert broken(PRODUCTS) == {"vlr_prod:parses": 2, "qtd_item_pedi:parses": 1}
    assert broken(SHIPMENTS) == {"qtd_prod:parses": 1}
    values = driver.rows(PRODUCTS, "txt_detl_idt_pedi_pgto", "vlr_prod", "qtd_item_pedi")
    read = [(order, value and str(value), count) for order, value, count in values if order not in ("s",)]
    assert read == [
        ("a", "12345678901234.5678", 2), ("b", "12345678.5000", 3), ("c", "50.0000", 1), ("d", "1234.5600", 1),
        ("e", "1.2340", 1), ("f", None, None),
    ]  # fmt: skip
    left = spark.read.format("delta").load(str(driver.lake.quarantine(TableKey.parse(PRODUCTS)))).collect()
    assert sorted(json.loads(row["row"])["txt_detl_idt_pedi_pgto"] for row in left) == list(items)
    assert '"vlr_prod":"R$ 5"' in "".join(row["row"] for row in left)


@pytest.mark.slow
@pytest.mark.nightly  # resolves the S3 server's jars, which takes minutes
def test_documents_of_a_bucket_come_once_each(spark_home: Settings, spark: SparkSession, tmp_path: Path) -> None:
    """A real S3 server: objects put, overwritten, and the server killed and started again in between."""
    from lakehouse_assets.streaming.s3_client import S3Error, create_bucket, list_objects, put_object
    from lakehouse_assets.streaming.s3_server import SERVER

    driver, source = LakeDriver.at(spark, tmp_path), Documents("s3://itau-shop/input/")
    table = driver.catalog.table(TableKey.parse(BRONZE))
    step = Step(spark, driver.lake, driver.catalog, "stream")
    SERVER.start(spark_home)
    try:
        assert create_bucket(spark_home, "itau-shop")
        assert not create_bucket(spark_home, "itau-shop")
        with pytest.raises(S3Error, match="Path does not exist"):
            list_objects(spark_home, "itau-shop", "nothing/")
        with pytest.raises(S3Error, match="Path does not exist: s3://no-such-bucket/"):
            list_objects(spark_home, "no-such-bucket")
        for number, one in enumerate(life("a")):
            put_object(spark_home, "itau-shop", f"input/{number}.json", write(tmp_path, str(number), one))
        assert [batch.records for batch in drain_available(step, table, source)] == [6]
        put_object(spark_home, "itau-shop", "input/0.json", write(tmp_path, "0", document("a", 20, "RETURNED")))
        SERVER.stop(spark_home, force=True)
        with pytest.raises(S3Error, match="does not answer"):
            drain_available(step, table, source)
        SERVER.start(spark_home)
        assert [batch.records for batch in drain_available(step, table, source)] == [1]
        assert drain_available(step, table, source) == []
        documents = [json.loads(text) for (text,) in driver.rows(BRONZE, "document")]
        assert sorted(map(_last, documents)) == sorted(map(_last, [*life("a"), document("a", 20, "RETURNED")]))
    finally:
        SERVER.stop(spark_home)
