"""GMV of one day as a tutorial would write it: dagster-pyspark's session in every step, Dagster's default executor.

No contract, no lineage, no quarantine. Told by BENCH_NAIVE (JSON: feeds, lake, day, tables) what to do.
"""

import json
import os
from typing import Any

import dagster as dg
from dagster_pyspark import PySparkResource
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from lakehouse_assets.platform.runtime.jars import ensure_jars
from lakehouse_assets.settings import settings

TOLD: dict[str, Any] = json.loads(os.environ["BENCH_NAIVE"])
SPARK = PySparkResource(
    spark_config={
        "spark.master": "local[*]",
        "spark.driver.extraClassPath": f"{ensure_jars(settings())}/*",
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "4",
    }
)


def _path(*parts: str) -> str:
    return os.path.join(TOLD["lake"], *parts)


def _write(frame: DataFrame, *parts: str) -> None:
    frame.write.format("delta").mode("overwrite").save(_path(*parts))


def _bronze(name: str) -> dg.AssetsDefinition:
    @dg.asset(name=f"bronze_{name}")
    def bronze(spark: PySparkResource) -> None:
        file = os.path.join(TOLD["feeds"], name, f"{TOLD['day']}.csv")
        _write(spark.spark_session.read.option("header", True).csv(file), "bronze", name)

    return bronze


def _silver(name: str) -> dg.AssetsDefinition:
    @dg.asset(name=f"silver_{name}", deps=[f"bronze_{name}"])
    def silver(spark: PySparkResource) -> None:
        rows = spark.spark_session.read.format("delta").load(_path("bronze", name)).dropDuplicates()
        _write(rows.withColumn("transaction_datetime", F.to_timestamp("transaction_datetime")), "silver", name)

    return silver


@dg.asset(deps=[f"silver_{name}" for name in TOLD["tables"]])
def gmv(spark: PySparkResource) -> None:
    """The day's figures from the newest record of each purchase."""
    newest = Window.partitionBy("purchase_id").orderBy(F.col("transaction_datetime").desc())

    def active(name: str) -> DataFrame:
        rows = spark.spark_session.read.format("delta").load(_path("silver", name))
        return rows.withColumn("n", F.row_number().over(newest)).where("n = 1").drop("n", "transaction_datetime")

    purchase, item, extra = (active(n) for n in ("purchase", "product_item", "purchase_extra_info"))
    joined = purchase.join(item, "purchase_id").join(extra, "purchase_id", "left").where("release_date is not null")
    value = F.regexp_replace("purchase_value", ",", ".").cast("decimal(18,2)")
    _write(joined.groupBy("release_date", "subsidiary", "product_id").agg(F.sum(value).alias("gmv")), "gold", "gmv")


@dg.asset(deps=[gmv])
def gmv_current(spark: PySparkResource) -> None:
    """A copy for people who know little SQL."""
    _write(spark.spark_session.read.format("delta").load(_path("gold", "gmv")), "gold", "gmv_current")


tables = [asset for name in TOLD["tables"] for asset in (_bronze(name), _silver(name))]
definitions = dg.Definitions(
    assets=[*tables, gmv, gmv_current],
    resources={"spark": SPARK},
    executor=dg.in_process_executor if TOLD["in_process"] else None,
)
