"""The demo of orders: a week of daily files."""

from collections.abc import Iterator
from pathlib import Path

from lakehouse_assets.platform.common.days import DayRange
from lakehouse_assets.platform.ingest.delivery_names import one
from lakehouse_assets.samples.demo import Feed, Sample, Size


def _write(folder: Path, days: DayRange, size: Size) -> Iterator[Feed]:
    from lakehouse_assets.samples.orders.feeds import generate

    generate(folder, days.first, days.last, lines=size.rows(300), seed=size.seed, defects=size.defects)
    for file in sorted(folder.glob("*.csv")):
        yield Feed("order_events", one(file))


SAMPLE = Sample(7, _write)
