"""GMV's rules hold in the plain-Python model by itself, before anything else is judged by it."""

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lakehouse_assets_tests.gmv_histories import (
    DAYS,
    Feeds,
    Land,
    Publish,
    history,
    landed,
    schedule,
)
from lakehouse_assets_tests.gmv_model import (
    NOTHING,
    UNKNOWN,
    Events,
    ExtraInfo,
    Figure,
    Key,
    Ledger,
    ProductItem,
    Purchase,
    active,
    figures,
)

HISTORIES = 300
D = DAYS


def purchase(day: int, released: int | None, *, own: int | None = None, sha: str = "a", id: int = 1) -> Purchase:
    at = datetime.combine(D[day if own is None else own], datetime.min.time())
    release_date = None if released is None else D[released]
    return Purchase(purchase_id=id, transaction_datetime=at, feed_day=D[day], hash=sha, release_date=release_date)


def item(day: int, value: str, *, product: int = 7, id: int = 1) -> ProductItem:
    at = datetime.combine(D[day], datetime.min.time())
    return ProductItem(
        purchase_id=id,
        transaction_datetime=at,
        feed_day=D[day],
        hash="a",
        product_id=product,
        purchase_value=Decimal(value),
    )


def extra(day: int, subsidiary: str, *, id: int = 1) -> ExtraInfo:
    at = datetime.combine(D[day], datetime.min.time())
    return ExtraInfo(purchase_id=id, transaction_datetime=at, feed_day=D[day], hash="a", subsidiary=subsidiary)


def replayed(seed: int) -> Iterator[tuple[Feeds, Ledger, Land | Publish]]:
    """A history's feeds and ledger after each of its operations."""
    feeds, ledger = Feeds(), Ledger()
    for operation, landing in zip(schedule(seed).operations, history(seed, index=seed).landings, strict=True):
        if isinstance(operation, Land):
            feeds.land(landing, replace=operation.replace)
        else:
            ledger.publish(feeds.events(), operation.days)
        yield feeds, ledger, operation


def all_landed(seed: int) -> Events:
    return [feeds for feeds, _, _ in replayed(seed)][-1].events()


def answers(ledger: Ledger) -> list[dict[Key, Figure]]:
    return [ledger.as_of(day) for day in D]


# What is active


def test_own_time_decides_before_feed_day_and_feed_day_before_hash() -> None:
    newest_by_time = purchase(1, 5, own=1)
    late = purchase(3, 6, own=0)
    assert active([newest_by_time, late], D[3])[1] is newest_by_time
    same_time_later_feed = purchase(3, 6, own=1)
    assert active([newest_by_time, same_time_later_feed], D[3])[1] is same_time_later_feed
    tie = purchase(3, 7, own=1, sha="b")
    assert active([tie, same_time_later_feed], D[3])[1] is tie


def test_a_record_is_unknown_before_its_feed_day() -> None:
    assert active([purchase(2, 1, own=0)], D[1]) == {}


# What counts


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (Events([purchase(0, 0)], [item(0, "5")], [extra(0, "nacional")]), {(D[0], "nacional", 7): (Decimal(5), 1)}),
        (Events([purchase(0, 0)], [item(0, "5")], []), {(D[0], UNKNOWN, 7): (Decimal(5), 1)}),
        (Events([purchase(0, 0)], [], [extra(0, "nacional")]), {}),
        (Events([], [item(0, "5")], [extra(0, "nacional")]), {}),
        (Events([purchase(0, None)], [item(0, "5")], []), {}),
        (Events([purchase(0, 0), purchase(1, None)], [item(0, "5")], []), {}),
        (Events([purchase(0, 9)], [item(0, "5")], []), {(D[9], UNKNOWN, 7): (Decimal(5), 1)}),
        (
            Events([purchase(0, 0), purchase(0, 0, id=2)], [item(0, "5"), item(0, "0.01", id=2)], []),
            {(D[0], UNKNOWN, 7): (Decimal("5.01"), 2)},
        ),
    ],
    ids=["whole", "no extra info", "no item", "no purchase", "not released", "cancelled", "released later", "summed"],
)
def test_gmv_is_the_value_of_released_purchases_whose_item_is_known(
    events: Events, expected: dict[Key, Figure]
) -> None:
    assert figures(events, D[1]) == expected


# Publishing, step by step


def rows(ledger: Ledger) -> list[tuple[str, Figure, date, int, str, date]]:
    return [(r.key[1], r.figure, r.effective_date, r.version, r.reason, r.feed_day) for r in ledger.rows]


def test_a_new_day_carries_the_days_between_forward() -> None:
    events = Events([purchase(0, 0)], [item(0, "5")], [extra(1, "nacional")])
    ledger = Ledger()
    ledger.publish(events, [D[0]])
    ledger.publish(events, [D[3]])
    assert ledger.newest == D[3]
    assert rows(ledger) == [
        (UNKNOWN, (Decimal(5), 1), D[0], 1, "new", D[0]),
        ("nacional", (Decimal(5), 1), D[1], 1, "new", D[1]),
        (UNKNOWN, NOTHING, D[1], 2, "new", D[1]),
    ]


def test_the_first_publication_starts_at_the_earliest_feed_day() -> None:
    ledger = Ledger()
    ledger.publish(Events([purchase(2, 2)], [item(3, "5")], []), [D[5]])
    assert [row.effective_date for row in ledger.rows] == [D[3]]
    assert ledger.as_of(D[2]) == {}


def test_the_open_day_is_completed_by_a_higher_version() -> None:
    whole = Events([purchase(1, 1), purchase(1, 1, id=2)], [item(1, "5"), item(1, "3", id=2)], [])
    ledger = Ledger()
    ledger.publish(Events(whole.purchases, whole.items[:1], []), [D[1]])
    ledger.publish(whole, [D[1]])
    assert rows(ledger) == [
        (UNKNOWN, (Decimal(5), 1), D[1], 1, "new", D[1]),
        (UNKNOWN, (Decimal(8), 2), D[1], 2, "new", D[1]),
    ]
    assert ledger.as_of(D[1]) == figures(whole, D[1])


def test_a_closed_day_is_restated_from_the_open_day_on() -> None:
    ledger = Ledger()
    ledger.publish(Events([purchase(0, 0)], [item(0, "5")], []), [D[0], D[1], D[2]])
    ledger.publish(Events([purchase(0, 0)], [item(0, "9")], []), [D[0]])
    assert rows(ledger)[1:] == [(UNKNOWN, (Decimal(9), 1), D[2], 2, "restatement", D[0])]
    assert ledger.as_of(D[1]) == {(D[0], UNKNOWN, 7): (Decimal(5), 1)}


def test_a_removed_purchase_leaves_a_zero_row_and_may_return() -> None:
    events = Events([purchase(0, 0)], [item(0, "5")], [])
    ledger = Ledger()
    ledger.publish(events, [D[0]])
    ledger.publish(Events(), [D[0]])
    ledger.publish(events, [D[1]])
    assert [(row.figure, row.version) for row in ledger.rows] == [
        ((Decimal(5), 1), 1),
        (NOTHING, 2),
        ((Decimal(5), 1), 3),
    ]


def test_a_purchase_of_value_zero_counts_as_a_purchase() -> None:
    ledger = Ledger()
    ledger.publish(Events([purchase(0, 0)], [item(0, "0")], []), [D[0]])
    assert ledger.current() == {(D[0], UNKNOWN, 7): (Decimal(0), 1)}


# Properties over random histories


def test_immutability_no_operation_alters_a_closed_day() -> None:
    for seed in range(HISTORIES):
        closed: dict[date, dict[Key, Figure]] = {}
        written = 0
        for _, ledger, _ in replayed(seed):
            for day, before in closed.items():
                assert ledger.as_of(day) == before, f"history {seed}, as of {day}"
            assert all(row.effective_date > max(closed, default=date.min) for row in ledger.rows[written:])
            written = len(ledger.rows)
            if ledger.newest:
                closed = {day: ledger.as_of(day) for day in D if day < ledger.newest}


def test_convergence_after_a_publication_the_current_view_is_a_recomputation_from_scratch() -> None:
    for seed in range(HISTORIES):
        for feeds, ledger, operation in replayed(seed):
            if isinstance(operation, Publish) and ledger.newest:
                assert ledger.current() == figures(feeds.events(), ledger.newest), f"history {seed}"


def test_idempotence_publishing_again_appends_nothing() -> None:
    for seed in range(HISTORIES):
        for feeds, ledger, operation in replayed(seed):
            if isinstance(operation, Publish):
                assert ledger.publish(feeds.events(), operation.days) == [], f"history {seed}"


def test_order_independence_with_silver_complete_any_order_or_range_gives_each_day_as_it_was_known() -> None:
    for seed in range(HISTORIES):
        events, rng = all_landed(seed), Random(seed)
        as_known = [figures(events, day) for day in D]
        one_range, in_order, shuffled = Ledger(), Ledger(), Ledger()
        one_range.publish(events, D)
        for day in D:
            in_order.publish(events, [day])
        for day in rng.sample(D, len(D)):
            shuffled.publish(events, [day])
        assert one_range.rows == in_order.rows == shuffled.rows, f"history {seed}"
        assert answers(one_range) == as_known, f"history {seed}"


def test_versions_of_a_key_count_its_rows_and_every_row_changes_the_figure() -> None:
    for seed in range(HISTORIES):
        *_, (_, ledger, _) = replayed(seed)
        for key in {row.key for row in ledger.rows}:
            own = [row for row in ledger.rows if row.key == key]
            assert [row.version for row in own] == list(range(1, len(own) + 1))
            assert [row.effective_date for row in own] == sorted(row.effective_date for row in own)
            message = [NOTHING, *(row.figure for row in own)]
            assert all(new != old for old, new in pairwise(message))


def test_histories_side_by_side_are_the_histories_one_by_one() -> None:
    histories = [history(seed=4, index=index) for index in range(1, 30)]
    together, ledger, singly = Feeds(), Ledger(), [Ledger() for _ in histories]
    feeds = [Feeds() for _ in histories]
    for step, operation in enumerate(schedule(4).operations):
        if isinstance(operation, Land):
            together.land(landed(histories, step), replace=operation.replace)
            for own, one in zip(feeds, histories, strict=True):
                own.land(one.landings[step], replace=operation.replace)
        else:
            ledger.publish(together.events(), operation.days)
            for own, alone in zip(feeds, singly, strict=True):
                alone.publish(own.events(), operation.days)
    assert sorted(map(str, ledger.rows)) == sorted(str(row) for one in singly for row in one.rows)


numbers = st.integers(0, 5)
some_events = st.builds(
    Events,
    st.lists(st.builds(purchase, numbers, st.none() | numbers, own=numbers, sha=st.sampled_from("ab"), id=numbers)),
    st.lists(st.builds(item, numbers, st.sampled_from(["0", "1", "2.50"]), product=numbers, id=numbers)),
    st.lists(st.builds(extra, numbers, st.sampled_from(["nacional", "internacional"]), id=numbers)),
)


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(some_events, st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=6))
def test_any_contents_and_any_publications_keep_closed_days_and_converge(
    steps: list[tuple[Events, int, int]],
) -> None:
    ledger = Ledger()
    for events, first, more in steps:
        closed = {day: ledger.as_of(day) for day in D if ledger.newest and day < ledger.newest}
        ledger.publish(events, D[first : first + more + 1])
        assert {day: ledger.as_of(day) for day in closed} == closed
        assert ledger.newest
        assert ledger.current() == figures(events, ledger.newest)
