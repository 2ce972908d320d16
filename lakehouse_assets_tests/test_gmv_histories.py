"""The random GMV histories hold what they promise, and the challenge's own has the answers worked out by hand."""

from datetime import date, timedelta

from lakehouse_assets_tests.gmv_histories import (
    CHALLENGE_AS_OF,
    DAYS,
    TABLES,
    Feeds,
    Land,
    Publish,
    challenge,
    csv_text,
    history,
    record,
    schedule,
)
from lakehouse_assets_tests.gmv_model import Ledger

HISTORIES = 300


def test_a_history_is_a_function_of_its_seed_and_index() -> None:
    assert history(3, 2) == history(3, 2)
    assert history(3, 2) != history(3, 5) != history(4, 5)


def test_histories_hold_every_trouble_the_rules_are_about() -> None:
    seen: set[str] = set()
    for seed in range(HISTORIES):
        held: dict[tuple[str, date], int] = {}
        texts: dict[str, date] = {}
        content: dict[tuple[str, str, str], str] = {}
        for operation, landing in zip(schedule(seed).operations, history(seed, 1).landings, strict=True):
            for (table, day), part in landing.items():
                assert isinstance(operation, Land)
                seen |= {"removed"} if operation.replace and len(part) < held.get((table, day), 0) else set()
                held[table, day] = len(part) + (0 if operation.replace else held.get((table, day), 0))
                for row in part:
                    one = record(table, day, row)
                    assert one.transaction_datetime.date() <= day
                    assert row["purchase_id"].startswith("1000")
                    seen |= {"late"} if one.transaction_datetime.date() < day else set()
                    if (sent := texts.setdefault(one.hash, day)) != day:
                        seen.add("sent again later" if sent < day else "sent again earlier")
                    tie = (table, row["purchase_id"], row["transaction_datetime"])
                    seen |= {"tie"} if content.setdefault(tie, one.hash) != one.hash else set()
                    seen |= {"not released"} if row.get("release_date") == "" else set()
    assert seen == {"removed", "late", "sent again later", "sent again earlier", "tie", "not released"}


def test_a_schedule_publishes_only_what_can_have_landed_and_ends_with_everything() -> None:
    for seed in range(HISTORIES):
        reached = DAYS[0]
        operations = schedule(seed).operations
        assert isinstance(operations[0], Land)
        for operation in operations:
            assert operation.days == tuple(sorted(operation.days))
            if isinstance(operation, Land):
                reached = max(reached, *operation.days)
            else:
                assert operation.last <= reached
        assert operations[-1] == Publish(DAYS[0], reached)


def test_a_part_is_written_as_the_marketplace_writes_it() -> None:
    day = date(2023, 1, 25)
    assert csv_text("product_item", challenge()["product_item", day]) == (
        "transaction_datetime,transaction_date,purchase_id,product_id,item_quantity,purchase_value\n"
        '2023-01-25 23:59:59,2023-01-25,56,808080,120,"2400,00"\n'
    )
    assert {table for table, _ in challenge()} == set(TABLES)


# The challenge's own events


def challenge_feeds() -> Feeds:
    feeds = Feeds()
    feeds.land(challenge(), replace=False)
    return feeds


def test_the_challenge_as_of_several_days_is_as_worked_out_by_hand() -> None:
    ledger = Ledger()
    events = challenge_feeds().events()
    first, last = min(events.feed_days()), max(events.feed_days())
    ledger.publish(events, [first + timedelta(days=n) for n in range((last - first).days + 1)])
    assert {day: ledger.as_of(day) for day in CHALLENGE_AS_OF} == CHALLENGE_AS_OF
    assert ledger.current() == CHALLENGE_AS_OF[last]
    assert len(ledger.rows) == 11
    assert all(row.reason == "new" and row.feed_day == row.effective_date for row in ledger.rows)


def test_january_as_of_march_stays_when_the_challenge_is_reprocessed_in_july() -> None:
    events = challenge_feeds().events()
    ledger = Ledger()
    ledger.publish(events, [date(2023, 3, 31)])
    for day in sorted(events.feed_days()):
        ledger.publish(events, [day])
    for day in sorted(events.feed_days()):
        assert ledger.publish(events, [day]) == []
    assert ledger.as_of(date(2023, 3, 31)) == CHALLENGE_AS_OF[date(2023, 3, 31)]
