"""No update is lost for any read: levels against a plain model, over random declarations and histories. No Spark."""

import tempfile
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lakehouse_assets import defs as domains
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.declare.table import Overwrite, Read, Span, Table, TableKey
from lakehouse_assets.platform.orchestration.staleness import Staleness
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets_tests.levels_model import World, input_key

CATALOG = discover(domains)
READER = TableKey("t", "gold", "reader")
KINDS = {
    "days": CATALOG.table(TableKey("gmv", "silver", "purchase")),
    "ledger": CATALOG.table(TableKey("gmv", "gold", "gmv")),
    "overwrite": CATALOG.table(TableKey("gmv", "gold", "gmv_current")),
    "state": CATALOG.table(TableKey("loyalty", "silver", "transacao")),
}
DAYS = [date(2023, 1, 1) + timedelta(days=n) for n in range(6)]
HAPPENS = ("step", "stream", "external", "adoption", "maintenance", "erasure", "anew", "unchanged")
Event = tuple[str, str, frozenset[date], bool]


def reader(kind: str, **reads: Read) -> Table:
    """A table of a kind of write that reads so. One that is one state reads the whole: nothing else means anything."""
    if isinstance(KINDS[kind].write, Overwrite):
        reads = {name: replace(read, span=Span.WHOLE) for name, read in reads.items()}
    table = KINDS[kind]
    return replace(
        table,
        key=READER,
        function=never_called,
        reads=reads,
        reconciles=None,
        publish=None,
        co_materialized=(),
        sla=None,
    )


def never_called(**inputs: Any) -> Any:
    """Whatever a table reads: levels know of versions alone."""
    raise AssertionError(f"levels compute nothing of {sorted(inputs)}")


def read(name: str, span: Span, days: int = 1, landed: bool = False) -> Read:
    return Read(input_key(name, landed), span, days if span is Span.LAST else 1)


SOME_DAYS = st.frozensets(st.sampled_from(DAYS), min_size=1, max_size=3)
EVENTS = st.tuples(st.sampled_from(("a", "b", "own")), st.sampled_from(HAPPENS), SOME_DAYS, st.just(False))
BUILDS = st.tuples(
    st.just("build"),
    st.sampled_from(("", "unchanged", "failed")),
    st.frozensets(st.sampled_from(DAYS), min_size=1),
    st.booleans(),
)
READS = st.builds(read, st.just("a"), st.sampled_from(Span), st.integers(1, 3), st.booleans())
OTHER = st.builds(read, st.just("b"), st.sampled_from(Span), st.integers(1, 3), st.booleans())
TABLES = st.builds(lambda kind, a, b: reader(kind, a=a, **({"b": b} if b else {})), st.sampled_from([*KINDS]),
                   READS, st.none() | OTHER)  # fmt: skip


def on(*days: int) -> frozenset[date]:
    return frozenset(DAYS[day - 1] for day in days)


LANDED_AGAIN: list[Event] = [
    ("a", "step", on(1, 2, 3), False), ("b", "step", on(1, 2, 3, 4, 5, 6), False),
    ("build", "", frozenset(DAYS), False), ("a", "step", on(2), False),
]  # fmt: skip
DAILY_SALES = reader("days", a=read("a", Span.THROUGH), b=read("b", Span.DAY))


@settings(max_examples=250, deadline=None)
@given(TABLES, st.lists(st.one_of(EVENTS, BUILDS), max_size=14))
@example(DAILY_SALES, LANDED_AGAIN)
@example(reader("days", a=read("a", Span.WHOLE), b=read("b", Span.DAY)), LANDED_AGAIN)
@example(
    reader("days", a=read("a", Span.DAY)),
    [("a", "step", on(1), False)] * 3
    + [("build", "", on(1), False), ("a", "anew", on(1), False)]
    + [("a", "step", on(1), False)] * 4,
)
@example(
    reader("days", a=read("a", Span.DAY)),
    [
        ("a", "step", on(1, 2), False),
        ("build", "", on(1, 2), False),
        ("a", "unchanged", on(1), False),
        ("a", "step", on(2), False),
        ("build", "unchanged", on(2), False),
    ],
)
@example(reader("ledger", a=read("a", Span.THROUGH)), [("a", "step", on(1, 5), False), ("build", "", on(2), False)])
@example(
    reader("ledger", a=read("a", Span.DAY)),
    [("a", "step", on(1, 5), False), ("build", "", on(5), False), ("a", "external", on(5), False),
     ("a", "step", on(1), False)],
)  # fmt: skip
@example(
    reader("days", a=read("a", Span.DAY)),
    [("a", "step", on(1), False)] * 3
    + [("a", "anew", on(1), False), ("build", "", on(1), True), ("a", "step", on(1), False)]
    + [("a", "step", on(2), False)] * 3,
)
@example(
    reader("ledger", a=read("a", Span.THROUGH)),
    [("a", "step", on(1, 2, 3), False), ("build", "failed", on(1, 2, 3), False), ("a", "step", on(2), False)],
)
@example(
    reader("overwrite", a=read("a", Span.WHOLE), b=read("b", Span.WHOLE)),
    [("a", "step", on(1, 2), False), ("b", "step", on(4), False), ("build", "failed", on(1, 2, 4), False),
     ("b", "step", on(4), False)],
)  # fmt: skip
@example(
    DAILY_SALES,
    [("b", "step", on(1, 2), False), ("a", "step", on(1), False), ("build", "failed", on(1, 2), True)],
)
def test_what_is_behind_is_what_would_read_something_else(table: Table, events: list[Event]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder) / "lake", Path(folder) / "landing")
        world, staleness = World(lake, table), Staleness(lake, Catalog((table,)))
        for name, what, days, late in events:
            if name == "build":
                world.build(days, late, what)
            elif name == "own" or name in table.reads:
                world.happens(name, what, days)
            staleness.refresh()
            assert set(staleness.stale(table)) == world.stale(), (name, what, days)
            assert set(staleness.stale_days(table)) == world.stale_days(), (name, what, days)
        fresh = Staleness(lake, Catalog((table,)))
        fresh.refresh()
        assert fresh.stale(table) == staleness.stale(table), "a restarted daemon knows the same"


def test_days_after_the_inputs_last_one_are_behind_when_that_changes(tmp_path: Path) -> None:
    """Users end with day 3, sales go on: the sales of every later day read the users of day 2."""
    world = World(Lake(tmp_path / "lake", tmp_path / "landing"), DAILY_SALES)
    staleness = Staleness(world.lake, Catalog((DAILY_SALES,)))
    for name, what, days, late in LANDED_AGAIN:
        if name == "build":
            world.build(days, late)
        else:
            world.happens(name, what, days)
    staleness.refresh()
    assert set(staleness.stale_days(DAILY_SALES)) == set(DAYS[1:])
    world.build(DAYS[1:], late=False)
    staleness.refresh()
    assert staleness.stale_days(DAILY_SALES) == {}
