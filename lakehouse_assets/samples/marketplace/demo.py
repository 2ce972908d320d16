"""The demo of the marketplace: a week of documents."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from lakehouse_assets.platform.common.days import DayRange
from lakehouse_assets.platform.ingest.delivery_names import FileSet, files_below
from lakehouse_assets.samples.demo import Feed, Sample, Size


def _write(folder: Path, days: DayRange, size: Size) -> Iterator[Feed]:
    from lakehouse_assets.samples.marketplace.feeds import generate

    generate(folder, days.first, days.last, orders=size.rows(8), seed=size.seed, defects=size.defects)
    for day in sorted(folder.iterdir()):
        yield Feed("marketing_place", FileSet(day.name, files_below(day)), date.fromisoformat(day.name))


SAMPLE = Sample(7, _write)
