"""Two backfills of overlapping ranges and a publication, all at once, in processes of their own: the end is right."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from lakehouse_assets.settings import Settings
from lakehouse_assets_tests.dagster_lake import DagsterLake, Parts, dagster_lake, marketplace_day
from lakehouse_assets_tests.gmv_histories import TABLES
from lakehouse_assets_tests.test_killed import start

pytestmark = pytest.mark.slow

D1, D2, D3 = date(2023, 5, 1), date(2023, 5, 2), date(2023, 5, 3)
SILVER, GOLD = "gmv/silver/purchase", ["gmv/gold/gmv", "gmv/gold/gmv_current"]
OTHERS = [f"gmv/silver/{table}" for table in TABLES if table != "purchase"]


@pytest.fixture
def lake(spark_home: Settings, tmp_path: Path) -> Iterator[DagsterLake]:
    with dagster_lake(tmp_path) as found:
        yield found


def test_overlapping_backfills_and_a_publication_at_once(lake: DagsterLake) -> None:
    parts: Parts = {}
    for day in (D1, D2, D3):
        parts |= marketplace_day(day, 5)
    lake.land(parts)
    assert lake.run([f"gmv/bronze/{table}" for table in TABLES] + OTHERS, D1, D3).success

    running = [start(SILVER, D1, D2), start(SILVER, D2, D3), start(GOLD, D1, D3)]
    assert [run.wait(180) for run in running] == [0, 0, 0]

    assert lake.run(GOLD, D3).success
    values = [
        row["purchase_value"].replace(",", ".")
        for (name, _), part in parts.items()
        if name == "product_item"
        for row in part
    ]
    ((total, purchases),) = lake.sql("select sum(gmv), sum(purchases) from gmv.gold.gmv_current")
    assert (total, purchases) == (sum(map(Decimal, values)), 15)
    ((rows, keys),) = lake.sql("select count(*), count(distinct (purchase_id, feed_day)) from gmv.silver.purchase")
    assert (rows, keys) == (15, 15), "no day lost, none twice"
    repeated = "select gmv_date, subsidiary, product_id, version from gmv.gold.gmv group by all having count(*) > 1"
    assert lake.sql(repeated) == []
