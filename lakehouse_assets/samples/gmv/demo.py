"""The demo of GMV: some weeks of a marketplace, its figures now and as known on an earlier day."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

from lakehouse_assets.platform.common.days import DayRange
from lakehouse_assets.platform.ingest.delivery_names import one
from lakehouse_assets.samples.demo import Answer, Feed, Sample, Size
from lakehouse_assets.settings import settings

EARLIER = timedelta(days=9)  # after the first day: the day as of which the demo asks
BY = ("subsidiary",)


def _write(folder: Path, days: DayRange, size: Size) -> Iterator[Feed]:
    from lakehouse_assets.samples.gmv.feeds import generate

    generate(folder, days.first, days.last, size.rows(150), size.seed, size.defects)
    for file in sorted(folder.glob("*/*.csv")):
        yield Feed(file.parent.name, one(file))


def _answers(days: DayRange) -> Iterator[Answer]:
    from lakehouse_assets.cli.declared import imported_tables
    from lakehouse_assets.defs.gmv.cli import figures
    from lakehouse_assets.platform.declare.table import TableKey
    from lakehouse_assets.platform.lineage.provenance import trace
    from lakehouse_assets.platform.planning.plan import Lake

    as_of, month = _asked(days)
    yield Answer(f"GMV of {month:%B %Y} by day and subsidiary, as known now", figures(None, month, BY))
    yield Answer(f"The same, as known on {as_of}: this answer never changes", figures(as_of, month, BY))
    lake = Lake(settings().lake, settings().landing)
    tree = trace(lake, imported_tables(), TableKey("gmv", "gold", "gmv"), as_of)
    yield Answer("What the figures of that day were made of", tuple(tree.lines()))


def _hint(days: DayRange) -> str:
    as_of, month = _asked(days)
    return f"lakehouse gmv --as-of {as_of} --month {month:%Y-%m}"


def _asked(days: DayRange) -> tuple[date, date]:
    """The day as of which is asked, and the first of its month."""
    as_of = days.first + EARLIER
    return as_of, as_of.replace(day=1)


SAMPLE = Sample(45, _write, _answers, _hint)
