"""`lakehouse gmv` and what other commands print: figures that say what they are, against a plain model."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import example, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from lakehouse_assets.cli import main
from lakehouse_assets.cli.output import Rows, show
from lakehouse_assets.defs.gmv.cli import COLUMNS, figures
from lakehouse_assets.platform.ledger.incremental import rows_before
from lakehouse_assets.platform.planning.plan import Lake, Plan
from lakehouse_assets.settings import settings
from lakehouse_assets_tests.warehouse_lake import LEDGER, commit

FIRST = date(2023, 1, 1)
Key = tuple[date, str, int]
Figure = tuple[Decimal, int]


@dataclass(frozen=True)
class Publication:
    """An effective day (counted from the first), and the figures of keys that it found."""

    day: int
    found: dict[Key, Figure]


AMOUNTS = st.sampled_from([Decimal("0.00"), Decimal("10.50"), Decimal("-3.10"), Decimal("12345678901234567.89")])
KEYS = st.tuples(
    st.sampled_from([FIRST, FIRST + timedelta(days=40)]), st.sampled_from("ab"), st.sampled_from([1, 2, 3])
)
PUBLICATIONS = st.lists(
    st.builds(Publication, st.integers(0, 3), st.dictionaries(KEYS, st.tuples(AMOUNTS, st.integers(0, 2)), max_size=4)),
    max_size=5,
).map(lambda found: sorted(found, key=lambda one: one.day))
KEPT: list[Publication] = [  # one product of two changes often, the other never: 3 versions of the sum
    Publication(0, {(FIRST, "a", 1): (Decimal(1), 1), (FIRST, "a", 2): (Decimal(5), 1)}),
    Publication(1, {(FIRST, "a", 1): (Decimal(2), 1)}),
    Publication(1, {(FIRST, "a", 1): (Decimal(3), 1), (FIRST, "b", 3): (Decimal(9), 1)}),
]
MOVED = [  # from a product to another: the subsidiary's figure stays
    Publication(0, {(FIRST, "a", 1): (Decimal(1), 1)}),
    Publication(2, {(FIRST, "a", 1): (Decimal(0), 0), (FIRST, "a", 2): (Decimal(1), 1)}),
]


def ledger_rows(publications: list[Publication]) -> list[dict[str, Any]]:
    """The rows that a ledger appends: of keys whose figure differs."""
    newest: dict[Key, tuple[Figure, int]] = {}
    rows = []
    for number, one in enumerate(publications):
        for key, figure in one.found.items():
            before, version = newest.get(key, ((Decimal(0), 0), 0))
            if figure == before:
                continue
            newest[key] = figure, version + 1
            row = dict(zip(("gmv_date", "subsidiary", "product_id"), key, strict=True))
            row |= {"gmv": figure[0], "purchases": figure[1], "version": version + 1, "reason": "new", "run_id": "r"}
            day = FIRST + timedelta(days=one.day)
            at = datetime(2023, 2, 1, tzinfo=UTC) + timedelta(hours=number)
            rows.append(row | {"effective_date": day, "feed_day": day, "processed_at": at})
    return rows


def model(publications: list[Publication], known: int | None, month: date | None, by: tuple[int, ...]) -> list[Any]:
    """Every publication in turn, the figures shown after each: a version is a publication that changed one."""
    at: dict[Key, Figure] = {}
    shown: dict[Any, tuple[Figure, date | None, int]] = {}
    for one in publications:
        if known is not None and one.day > known:
            continue
        at |= {key: of for key, of in one.found.items() if key in at or of != (0, 0)}
        sums: dict[Any, Figure] = {}
        for key, (gmv, purchases) in at.items():
            if month is None or key[0].replace(day=1) == month:
                cell = (key[0], *(key[place] for place in by))
                before = sums.get(cell, (Decimal(0), 0))
                sums[cell] = before[0] + gmv, before[1] + purchases
        for cell, figure in sums.items():
            was, _, version = shown.get(cell, ((Decimal(0), 0), None, 0))
            if cell not in shown or figure != was:
                changed = figure != was
                day = FIRST + timedelta(days=one.day) if changed else None
                shown[cell] = figure, day, version + changed
    return sorted((*cell, *figure, day, version) for cell, (figure, day, version) in shown.items())


@contextmanager
def lake_of(publications: list[Publication]) -> Iterator[Path]:
    with TemporaryDirectory() as home, pytest.MonkeyPatch.context() as environment:
        environment.setenv("LAKEHOUSE_HOME", home)
        environment.setenv("DAGSTER_HOME", f"{home}/dagster")
        settings.cache_clear()
        try:
            commit(settings(), LEDGER, ledger_rows(publications))
            yield Path(home)
        finally:
            settings.cache_clear()
    settings.cache_clear()


@given(PUBLICATIONS, st.none() | st.integers(0, 3), st.none() | st.just(FIRST), st.sampled_from(["1", "2", "12"]))
@example(KEPT, None, None, "1")
@example(KEPT, 1, FIRST, "12")
@example(MOVED, None, None, "1")
@limits(max_examples=25, deadline=None)
def test_a_version_is_a_change_of_the_figure_shown(
    publications: list[Publication], known: int | None, month: date | None, by: str
) -> None:
    places = tuple(map(int, by))
    names = ("gmv_date", *COLUMNS.values())
    with lake_of(publications):
        as_of = None if known is None else FIRST + timedelta(days=known)
        found = figures(as_of, month, tuple(names[place] for place in places))
    assert sorted(found.rows) == model(publications, known, month, places)


def lakehouse(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_the_answer_says_what_is_known_of_the_day_asked_for() -> None:
    with lake_of(KEPT):
        by_sql = ("sql", "SELECT count(*) AS n FROM gmv.gold.gmv")
        for command in (("gmv",), by_sql):
            before, within, after = (
                lakehouse(*command, "--as-of", day, "--format", "json")
                for day in ("2022-12-31", "2023-01-02", "2024-01-01")
            )
            assert "gmv.gold.gmv begins on 2023-01-01: nothing was known on 2022-12-31." in before.stderr
            assert within.stderr == ""
            assert "gmv.gold.gmv knows of no change after 2023-01-02: the answer as of 2024-01-01 may" in after.stderr
            assert all(json.loads(one.stdout) is not None for one in (before, within, after)), "beside the answer"
        assert json.loads(lakehouse("gmv", "--as-of", "2022-12-31", "--format", "json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--month", "2023"), "'2023' is not a month: write it as 2023-01"),
        (("--month", "2023-13"), "'2023-13' is not a month"),
        (("--month", "2023-1"), "'2023-1' is not a month"),
        (("--month", "2023-01-05"), "'2023-01-05' is not a month"),
        (("--as-of", "2023-01"), "'2023-01' is not a day: write it as 2023-01-31"),
        (("--by", ""), "choose from subsidiary, product"),
        (("--by", "product,product"), "names one twice"),
    ],
)
def test_a_wrong_question_is_told_as_it_was_asked(arguments: tuple[str, ...], message: str) -> None:
    with lake_of(KEPT):
        result = lakehouse("gmv", *arguments)
        assert result.exit_code != 0
        assert message in result.output


def printed(rows: Rows, output: str) -> str:
    with redirect_stdout(StringIO()) as out:
        show(rows, output)
    return out.getvalue()


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**30), max_value=10**30))
@example(Decimal("12345678901234567.89"))
@example(Decimal("0E-10"))
@example(Decimal("1E+3"))
@limits(deadline=None)
def test_money_is_printed_with_all_its_digits_in_every_format(value: Decimal) -> None:
    for output in ("csv", "table"):
        assert f"{value:f}" in printed(Rows(("amount",), [(value,)]), output)
    (row,) = json.loads(printed(Rows(("amount", "nested"), [(value, {"amounts": [value]})]), "json"))
    assert row == {"amount": f"{value:f}", "nested": {"amounts": [f"{value:f}"]}}


def test_what_json_has_not_is_text() -> None:
    told = printed(Rows(("x",), [(float("nan"),), (float("inf"),), (1.5,), ([float("-inf")],)]), "json")
    assert json.loads(told, parse_constant=lambda name: pytest.fail(name)) == [
        {"x": "nan"}, {"x": "inf"}, {"x": 1.5}, {"x": ["-inf"]}
    ]  # fmt: skip


def test_what_a_ledger_has_of_a_published_day_is_counted() -> None:
    """Made again, nothing is added: the day still has the rows it had."""
    with lake_of(KEPT):
        second, lake = FIRST + timedelta(days=1), Lake(settings().lake, settings().landing)
        days = (FIRST, second, second + timedelta(days=1))
        plan = Plan(LEDGER, days, days, {}, 0, published=second, input_versions={})
        assert rows_before(lake, plan, days) == {FIRST: 2, second: 3}
