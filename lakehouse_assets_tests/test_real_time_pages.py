"""The pages of real-time orders: the producer's contract is the code's, and its example runs against a real broker."""

import json
import re
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from lakehouse_assets.defs.orders.event import JSON_SCHEMA, SCHEMA_VERSION, TOPIC
from lakehouse_assets.platform.common.source_days import SourceDays
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.streams.stream_ingest import drain_available
from lakehouse_assets.samples.orders.producer import Event, send
from lakehouse_assets.settings import Settings
from lakehouse_assets.streaming.kafka_client import client_options, ensure_topic
from lakehouse_assets.streaming.kafka_topic import KafkaTopic
from lakehouse_assets_tests.lake_driver import LakeDriver

PAGE = Path(__file__).parents[1] / "docs" / "real-time" / "software-engineers.md"
MINE = "documented-orders"
DAY = date(2024, 1, 15)


def text() -> str:
    return PAGE.read_text(encoding="utf-8")


def example() -> str:
    """The page's program, sending to a topic of the test's own."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", text(), re.MULTILINE | re.DOTALL)
    assert code.count(f'"{TOPIC}"') == 1
    return code.replace(f'"{TOPIC}"', f'"{MINE}"')


def test_the_contract_of_the_page_has_every_field_and_which_are_required() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (yes|no) \|", text(), re.MULTILINE)
    assert [name for name, _ in rows] == list(JSON_SCHEMA["properties"])
    assert {name for name, required in rows if required == "yes"} == set(JSON_SCHEMA["required"])
    assert JSON_SCHEMA["additionalProperties"] is True, "a new optional field needs no new version"
    assert f"| `{TOPIC}`, 3 partitions |" in text()
    assert f"| header `schema_version` | `{SCHEMA_VERSION}`" in text()


@pytest.mark.slow
def test_the_example_sends_lines_that_become_a_sale_and_its_cancellation(
    broker: Settings, spark: SparkSession, tmp_path: Path
) -> None:
    ensure_topic(broker, MINE, 3)
    exec(compile(example(), str(PAGE), "exec"), {"brokers": client_options(broker)["bootstrap.servers"]})
    driver = LakeDriver.at(spark, tmp_path)
    bronze = driver.catalog.table(TableKey.parse("orders/bronze/order_events"))
    source = KafkaTopic(MINE, SourceDays(date(2009, 1, 1)))
    step = Step(driver.spark, driver.lake, driver.catalog, "stream")
    assert sum(batch.records for batch in drain_available(step, bronze, source)) == 2
    driver.make("orders/silver/order_lines", [DAY])
    driver.make("orders/silver/cancellations", [DAY])
    assert driver.rows("orders/silver/order_lines", "invoice_no", "line_type", "amount") == [
        ("536365", "sale", Decimal("15.3000")),
        ("C536379", "cancellation", Decimal("-15.3000")),
    ]
    assert driver.rows("orders/silver/cancellations", "invoice_no", "sale_invoice_no", "match") == [
        ("C536379", "536365", "whole")
    ]


@pytest.mark.slow
def test_the_compatibility_rule_a_new_field_is_a_warning_and_a_new_version_waits_in_quarantine(
    broker: Settings, spark: SparkSession, tmp_path: Path
) -> None:
    topic = "documented-compatibility"
    ensure_topic(broker, topic, 1)
    names = [name for name in JSON_SCHEMA["properties"] if name != "schema_version"]
    values = ["1", "a", "name", 2, "2024-01-15 10:00:00", "3.50", "17850", "Brazil"]
    line = dict(zip(names, values, strict=True))
    sent = [line | {"invoice_no": "2", "coupon": "X"}, line | {"invoice_no": "3", "schema_version": "2"}]
    at = datetime(2024, 1, 15, 10)
    send(client_options(broker), [Event(one["invoice_no"], json.dumps(one), at) for one in sent], topic)
    driver = LakeDriver.at(spark, tmp_path)
    bronze = driver.catalog.table(TableKey.parse("orders/bronze/order_events"))
    drain_available(Step(spark, driver.lake, driver.catalog, "stream"), bronze, KafkaTopic(topic, SourceDays(DAY)))
    driver.make("orders/silver/order_lines", [DAY])
    assert driver.rows("orders/silver/order_lines", "invoice_no", "unknown_fields") == [("2", '{"coupon":"X"}')]
    silver = TableKey.parse("orders/silver/order_lines")
    (quarantined,) = spark.read.format("delta").load(str(driver.lake.quarantine(silver))).collect()
    assert quarantined.rules == ["schema_version:isin"]
    assert json.loads(quarantined.row) == sent[1], "whole, as it came"
