"""How many rows a day has, as the statistics of a table's files tell; and when they do not."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import write_deltalake

from lakehouse_assets.platform.storage.log_statistics import rows_of_days

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

D1, D2, D3 = date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 3)


def write(path: Path, *days: date) -> None:
    """One file."""
    write_deltalake(str(path), pa.table({"feed_day": pa.array(days, pa.date32())}), mode="append")


def test_files_of_a_day_each_tell_how_many_rows_it_has(tmp_path: Path) -> None:
    write(tmp_path, D1, D1)
    write(tmp_path, D1)
    write(tmp_path, D2)
    assert rows_of_days(tmp_path, 2, "feed_day", [D1, D2, D3]) == {D1: 3, D2: 1}
    assert rows_of_days(tmp_path, 1, "feed_day", [D1, D2]) == {D1: 3}, "as of a version"


def test_a_file_of_several_days_tells_nothing_of_these(tmp_path: Path) -> None:
    write(tmp_path, D1)
    write(tmp_path, D2, D3)
    assert rows_of_days(tmp_path, 1, "feed_day", [D1]) == {D1: 1}
    assert rows_of_days(tmp_path, 1, "feed_day", [D2]) is None


def test_rows_that_are_deleted_in_their_file_are_counted_by_reading(spark: "SparkSession", tmp_path: Path) -> None:
    frame = spark.createDataFrame([(D1, n) for n in range(4)], "feed_day date, n int").coalesce(1)
    frame.write.format("delta").option("delta.enableDeletionVectors", "true").save(str(tmp_path / "t"))
    spark.sql(f"DELETE FROM delta.`{tmp_path / 't'}` WHERE n = 0").collect()  # noqa: S608
    assert rows_of_days(tmp_path / "t", 1, "feed_day", [D1]) is None
