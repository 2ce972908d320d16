"""l: draining a topic into bronze, against the query that a notebook would run: read Kafka, write Delta."""

import json
import shutil
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

from bench.harness import Bar, Result, Size, alternate, best, seconds
from bench.lab import lake_at, spark_session
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.settings import settings

TABLE = TableKey("orders", "bronze", "order_events")
LINE = {
    "invoice_no": "1", "stock_code": "85123A", "description": "WHITE HANGING HEART T-LIGHT HOLDER", "quantity": "6",
    "invoice_date": "2011-01-04 08:26:00", "unit_price": "2.55", "customer_id": "17850.0", "country": "United Kingdom",
}  # fmt: skip
COLUMNS = ("CAST(key AS STRING) AS key", "CAST(value AS STRING) AS value", "topic", "partition", "offset", "timestamp",
           "headers")  # fmt: skip


def measure(size: Size, folder: Path) -> Result:
    """The same topic of a broker of the bench's own, drained into an empty table each time; one batch, one commit."""
    from lakehouse_assets.definitions import catalog
    from lakehouse_assets.platform.common.source_days import SourceDays
    from lakehouse_assets.platform.planning.plan import Lake
    from lakehouse_assets.platform.planning.step import Step
    from lakehouse_assets.platform.streams.stream_ingest import drain_available
    from lakehouse_assets.streaming.kafka_client import spark_options
    from lakehouse_assets.streaming.kafka_server import SERVER
    from lakehouse_assets.streaming.kafka_topic import KafkaTopic

    SERVER.start(settings())
    try:
        with lake_at(folder):
            step = Step(spark_session(), Lake(settings().lake, settings().landing), catalog, "bench")
            table = catalog.table(TABLE)

            def raw(topic: str = "bench") -> None:
                shutil.rmtree(folder / "raw", ignore_errors=True)
                read = step.spark.read.format("kafka").options(**spark_options(settings())).option("subscribe", topic)
                rows = read.option("includeHeaders", "true").load().selectExpr(*COLUMNS)
                rows.write.format("delta").mode("append").save(str(folder / "raw"))

            def stream(topic: str = "bench") -> None:
                shutil.rmtree(step.lake.tables / "orders", ignore_errors=True)
                source = KafkaTopic(topic, SourceDays(date(2009, 1, 1)), batch=3 * size.records)
                batches = drain_available(step, table, source)
                assert sum(batch.records for batch in batches) >= min(size.records, 2_000)

            _produce("warm", min(size.records, 20_000))
            raw("warm")
            stream("warm")
            produced = seconds(lambda: _produce("bench", size.records))
            took = alternate(2 * size.repeats, raw=raw, stream=stream)  # short ones: of more samples
    finally:
        SERVER.stop(settings())
    return Result(
        "l",
        f"{size.records:,} messages of a topic into Delta",
        {
            "a raw query of Spark, s": best(took["raw"]),
            "the stream, s": best(took["stream"]),
            "times the raw query": best(took["stream"]) / best(took["raw"]),
            "messages a second": size.records / best(took["stream"]),
            "to produce them, s": produced,
        },
        (Bar("times the raw query", 1.2),),
        took,
        "The stream also keeps bytes that are no text, makes the feed day, counts rows by day and writes its audit.",
    )


def _produce(topic: str, count: int) -> None:
    from lakehouse_assets.samples.orders.producer import Event, send
    from lakehouse_assets.streaming.kafka_client import client_options, ensure_topic

    noon = datetime(2011, 1, 4, 12)

    def events() -> Iterator[Event]:
        for number in range(count):
            yield Event(str(number), json.dumps(LINE | {"invoice_no": str(number)}), noon)

    ensure_topic(settings(), topic, 3)
    send(client_options(settings()), events(), topic)
