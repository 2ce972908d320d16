"""Declarations of tables with a state, and which snapshots are compared again; without Spark."""

from datetime import date, timedelta
from itertools import pairwise
from random import Random
from types import MappingProxyType

import pytest

from lakehouse_assets.platform.contracts.contract import Contract
from lakehouse_assets.platform.declare.scd import Scd, scd1, scd2, scd2_from_snapshots
from lakehouse_assets.platform.declare.table import DeclarationError, Table, TableKey
from lakehouse_assets.platform.scd.snapshot_diff import Chain, chains
from lakehouse_assets_tests import change_tables

D = [date(2025, 1, 1) + timedelta(days=n) for n in range(9)]


def test_a_new_day_at_the_end_is_compared_with_the_last() -> None:
    assert chains(D[:3], [D[3]], [D[3]]) == [Chain(D[2], (D[3],))]
    assert chains([], D[:2], D[:2]) == [Chain(None, (D[0], D[1]))]


def test_the_day_after_a_late_or_replaced_one_is_compared_again() -> None:
    assert chains([D[0], D[2], D[4]], [D[1]], [D[1]]) == [Chain(D[0], (D[1], D[2]))]
    assert chains([D[0], D[2], D[4]], [D[2]], [D[2]]) == [Chain(D[0], (D[2], D[4]))]
    assert chains([D[0], D[2], D[4]], [D[2]], []) == [Chain(D[0], (D[4],))], "the day holds no snapshot any more"
    assert chains([D[0]], [D[0]], []) == []


def test_where_keys_are_in_quarantine_the_days_after_are_compared_as_well() -> None:
    assert chains(D[:6], [D[0]], [D[0]], unsure=[D[1], D[2], D[4]]) == [Chain(None, (D[0], D[1], D[2], D[3]))]


def test_days_apart_are_chains_of_their_own() -> None:
    assert chains(D[:8], [D[1], D[6]], [D[1], D[6]]) == [Chain(D[0], (D[1], D[2])), Chain(D[5], (D[6], D[7]))]


def test_every_pair_that_moved_is_in_a_chain() -> None:
    rng = Random(4)
    for _ in range(500):
        old, gone = (set(rng.sample(D, rng.randint(0, 6))) for _ in range(2))
        new = {day for day in gone if rng.random() < 0.7}
        unsure = {day for day in D if rng.random() < 0.3}
        now = sorted((old - gone) | new)
        compared = {pair for chain in chains(old, gone, new, unsure) for pair in pairwise((chain.before, *chain.days))}
        before = dict(pairwise([None, *sorted(old)]))
        place = {day: one for one, day in before.items()}
        for one, day in pairwise([None, *now]):
            moved = day in new or one in new or place.get(day, "none") != one
            assert not moved or (one, day) in compared, (old, gone, new, one, day)


def test_a_contract_that_does_not_fit_its_write_is_refused_where_it_is_declared() -> None:
    def declare(contract: type[Contract], write: Scd) -> Table:
        return Table(TableKey("t", "silver", "x"), contract, lambda: None, MappingProxyType({}), write)

    declare(change_tables.Current, scd1(("shop",), "modified_date"))
    for contract, write, message in (
        (change_tables.Current, scd1(("nobody",), "modified_date"), "has no column nobody"),
        (change_tables.Current, scd1(("color",), "modified_date"), "color may be NULL"),
        (change_tables.Current, scd2(("shop",), "modified_date"), "has no column effective_from"),
        (change_tables.Snapshot, scd2_from_snapshots(("shop",)), "one row for each of"),
        (change_tables.Snapshot, scd2(("shop", "item"), "feed_day"), "unique within a feed day"),
    ):
        with pytest.raises(DeclarationError, match=message):
            declare(contract, write)
