"""a: a year of GMV through Dagster with everything on, against a plain Spark script of the same tables."""

import shutil
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from bench.harness import Bar, Result, Size, alternate, best
from bench.lab import FIRST, TABLES, dagster_run, days, lake_at, land, spark_session
from lakehouse_assets.settings import settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def measure(size: Size, folder: Path) -> Result:
    """Bronze, silver, gold of all days: our run, our run with Dagster's storage as shipped, and the script."""
    span = days(FIRST, size.year_days)
    first, last = span[0], span[-1]
    with lake_at(folder):
        events = land(folder, first, last, size.purchases)
        spark_session()
        plain(folder / "warm-up", span)
    took = alternate(
        size.repeats,
        plain=partial(_plain, folder, span),
        ours=partial(_ours, folder, first, last, "ours"),
    )
    took |= alternate(1, shipped=partial(_ours, folder, first, last, "shipped"))  # takes minutes
    return Result(
        "a",
        f"{size.year_days} days, {events} events: 6 event tables, ledger and current figures",
        {
            "plain Spark script, s": best(took["plain"]),
            "through Dagster, s": best(took["ours"]),
            "through Dagster, its storage as shipped, s": best(took["shipped"]),
            "times the plain script": best(took["ours"]) / best(took["plain"]),
            "times the plain script, storage as shipped": best(took["shipped"]) / best(took["plain"]),
        },
        (Bar("times the plain script", 1.5),),
        took,
    )


def _ours(folder: Path, first: date, last: date, storage: str) -> None:
    shutil.rmtree(folder / "lake", ignore_errors=True)
    shutil.rmtree(folder / f"dagster-{storage}", ignore_errors=True)
    with lake_at(folder, storage):
        dagster_run(first, last)


def _plain(folder: Path, span: list[date]) -> None:
    with lake_at(folder):
        plain(folder / "plain", span)


def plain(out: Path, span: list[date]) -> None:
    """The same tables from the same landed files: read, transform, write; nothing judged, nothing recorded."""
    from lakehouse_assets.definitions import catalog
    from lakehouse_assets.platform.landing import parts
    from lakehouse_assets.platform.ledger import Steps, everything, rows_to_append
    from lakehouse_assets.platform.table import Ledger, TableKey

    spark = spark_session()
    shutil.rmtree(out, ignore_errors=True)

    def write(frame: "DataFrame", name: str) -> "DataFrame":
        frame.write.format("delta").save(str(out / name))
        return spark.read.format("delta").load(str(out / name))

    silver = {}
    for name in TABLES:
        bronze, typed = (catalog.table(TableKey("gmv", layer, name)) for layer in ("bronze", "silver"))
        files = [str(part.path) for part in parts(settings().landing, f"gmv/{name}", days=span)]
        landed = spark.read.schema(bronze.compiled.spark_schema).parquet(*files)
        landed = write(landed.coalesce(2).sortWithinPartitions("feed_day"), f"bronze/{name}")
        rows = typed(landed=landed).dropDuplicates(["feed_day", "record_hash"])
        rows = rows.withColumn("processed_date", F.lit(span[-1])).select(*typed.compiled.spark_schema.names)
        silver[name] = write(rows.sortWithinPartitions("feed_day"), f"silver/{name}")
    gold = catalog.table(TableKey("gmv", "gold", "gmv"))
    assert isinstance(gold.write, Ledger)
    steps = Steps(None, span[0], span[-1])
    empty = spark.createDataFrame([], gold.compiled.spark_schema)
    amount = gold.compiled.spark_schema[gold.write.figure].dataType
    figures = rows_to_append(everything(gold(**silver), gold.write, steps), empty, gold.write, steps, amount)
    (companion,) = gold.companions
    write(companion(gmv=write(figures, "gold/gmv")), "gold/gmv_current")
