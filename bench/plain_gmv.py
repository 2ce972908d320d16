"""The GMV tables by a plain script of Spark and Delta: read, transform, write; nothing validated, nothing recorded."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from bench.lab import TABLES, spark_session
from lakehouse_assets.settings import settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def make_plainly(out: Path, span: list[date], published: date | None = None) -> None:
    """Make the days of the eight tables from landed files. `published`: the newest day that `out` has already."""
    from lakehouse_assets.definitions import catalog
    from lakehouse_assets.platform.declare.table import Ledger, TableKey
    from lakehouse_assets.platform.ingest.landing import parts
    from lakehouse_assets.platform.ledger.ledger import Steps, everything, rows_to_append

    spark = spark_session()
    replaced = f"feed_day BETWEEN DATE'{span[0]}' AND DATE'{span[-1]}'"

    def write(frame: "DataFrame", name: str, mode: str = "overwrite", where: str | None = None) -> "DataFrame":
        writer = frame.write.format("delta").mode(mode)
        (writer.option("replaceWhere", where) if where and published else writer).save(str(out / name))
        return spark.read.format("delta").load(str(out / name))

    silver = {}
    for name in TABLES:
        bronze, typed = (catalog.table(TableKey("gmv", layer, name)) for layer in ("bronze", "silver"))
        files = [str(part.path) for part in parts(settings().landing, f"gmv/{name}", days=span)]
        landed = spark.read.schema(bronze.compiled.spark_schema).parquet(*files)
        write(landed.coalesce(2).sortWithinPartitions("feed_day"), f"bronze/{name}", where=replaced)
        landed = spark.read.format("delta").load(str(out / f"bronze/{name}")).where(replaced)
        rows = typed(landed=landed).dropDuplicates(["feed_day", "record_hash"])
        rows = rows.withColumn("processed_date", F.lit(span[-1])).select(*typed.compiled.spark_schema.names)
        silver[name] = write(rows.sortWithinPartitions("feed_day"), f"silver/{name}", where=replaced)
    gold = catalog.table(TableKey("gmv", "gold", "gmv"))
    assert isinstance(gold.write, Ledger)
    schema = gold.compiled.spark_schema
    ledger = spark.read.format("delta").load(str(out / "gold/gmv")) if published else spark.createDataFrame([], schema)
    steps, amount = Steps(published, span[0], span[-1]), schema[gold.write.figure].dataType
    figures = rows_to_append(everything(gold(**silver), gold.write, steps), ledger, gold.write, steps, amount)
    (companion,) = gold.co_materialized
    write(companion(gmv=write(figures, "gold/gmv", mode="append")), "gold/gmv_current")
