"""The demo of the store: a week of daily drops, and the orders by what was paid of them."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from lakehouse_assets.declare.command import query
from lakehouse_assets.platform.common.days import DayRange
from lakehouse_assets.platform.ingest.delivery_names import one
from lakehouse_assets.samples.demo import Answer, Feed, Sample, Size

RECONCILED = """
    select state, count(*) as orders, sum(due) as due, sum(paid) as paid
    from (select *, row_number() over (partition by order_id order by feed_day desc) as newest
          from store.gold.payment_reconciliation)
    where newest = 1 group by state order by state
"""


def _write(folder: Path, days: DayRange, size: Size) -> Iterator[Feed]:
    from lakehouse_assets.samples.store.feeds import generate

    generate(folder, days.first, days.last, size.rows(400), size.seed, size.defects)
    for file in sorted(folder.glob("*/*.csv")):
        yield Feed(file.stem, one(file), date.fromisoformat(file.parent.name))


def _answers(days: DayRange) -> Iterator[Answer]:
    yield Answer("Orders of the store by what was paid", query(RECONCILED))


SAMPLE = Sample(7, _write, _answers)
