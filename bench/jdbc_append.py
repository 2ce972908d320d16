"""Append a Delta table to PostgreSQL by Spark's JDBC: PATH URL CLASSES REPEATS TABLE TUNED_TABLE. Prints seconds.

A Spark of its own, as one that somebody would write: the driver's jar on its class path, one append.
"""

import sys

from bench.harness import seconds


def main() -> None:
    """Two lines: the appends as they are, and those whose batches the driver rewrites."""
    from pyspark.sql import SparkSession

    path, url, classes, repeats, plain, tuned = sys.argv[1:]
    spark = (
        SparkSession.builder.master("local[*]")
        .config("spark.driver.extraClassPath", classes)
        .config("spark.driver.memory", "2g")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        .getOrCreate()
    )
    rows = spark.read.format("delta").load(path)
    rows.write.format("noop").mode("overwrite").save()  # warm: read once
    user, _, place = url.removeprefix("postgresql://").partition("@")
    common = {"driver": "org.postgresql.Driver", "user": user}
    sides = {
        plain: (f"jdbc:postgresql://{place}", common),
        tuned: (f"jdbc:postgresql://{place}?reWriteBatchedInserts=true", common | {"batchsize": "10000"}),
    }
    for table, (target, options) in sides.items():
        took = [
            seconds(lambda: rows.write.jdbc(target, f"store.{table}", mode="append", properties=options))  # noqa: B023
            for _ in range(int(repeats))
        ]
        print("seconds:", *took, flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
