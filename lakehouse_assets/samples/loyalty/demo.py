"""The demo of loyalty: some weeks of changes and snapshots."""

from collections.abc import Iterator
from pathlib import Path

from lakehouse_assets.platform.common.days import DayRange
from lakehouse_assets.platform.ingest.delivery_names import one
from lakehouse_assets.samples.demo import Feed, Sample, Size


def _write(folder: Path, days: DayRange, size: Size) -> Iterator[Feed]:
    from lakehouse_assets.samples.loyalty.feeds import invented_transactions, write_changes, write_snapshots

    drawn = invented_transactions(days.first, days.last, customers=600, a_day=size.rows(20), seed=size.seed)
    write_changes(folder, drawn, days.first, days.last, size.seed, share=min(1.0, 5 * size.defects))
    write_snapshots(folder, drawn, days.first, days.last, size.seed)
    for file in sorted(folder.glob("*/*.*")):
        yield Feed(file.parent.name, one(file))


SAMPLE = Sample(35, _write)
