"""Every measure of `make bench` runs, at a size at which its figures mean nothing. No time is asserted."""

import json
from pathlib import Path

import pytest

from bench.__main__ import MEASURES, show
from bench.harness import SIZES, Bar, Result, alternate, surroundings
from bench.lab import spark_session
from lakehouse_assets.settings import Settings

TINY = SIZES["tiny"]


SHORT = ("d", "e", "g")  # the others start products, brokers or many runs


@pytest.mark.slow
@pytest.mark.parametrize(
    "letter", [pytest.param(letter, marks=[] if letter in SHORT else [pytest.mark.long_bench]) for letter in MEASURES]
)
def test_a_measure_runs(letter: str, spark_home: Settings, tmp_path: Path) -> None:
    from importlib import import_module

    try:
        result: Result = import_module(f"bench.{MEASURES[letter]}").measure(TINY, tmp_path)
    finally:
        if spark_session.cache_info().currsize:
            from lakehouse_assets.platform.runtime.sessions import close_session

            close_session(spark_session())
            spark_session.cache_clear()
    assert result.letter == letter
    assert result.bars, "a measure says what is wanted of it"
    assert {bar.figure for bar in result.bars} <= set(result.figures)
    assert json.loads(json.dumps(result.as_json()))["measure"] == letter


def test_sides_are_measured_in_turns() -> None:
    order: list[str] = []
    took = alternate(2, one=lambda: order.append("one"), other=lambda: order.append("other"))
    assert order == ["one", "other", "one", "other"]
    assert {name: len(samples) for name, samples in took.items()} == {"one": 2, "other": 2}


def test_a_missed_bar_is_shown_as_missed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bars = (Bar("ratio", 1.5), Bar("times", 5, at_least=True))
    result = Result("x", "title", {"ratio": 1.6, "times": 6.0}, bars)
    assert [bar["met"] for bar in result.as_json()["bars"]] == [False, True]
    show(result)
    message = capsys.readouterr().out
    assert "bar ≤ 1.5: MISSED" in message
    assert "bar ≥ 5: met" in message
    assert surroundings(TINY, tmp_path)["versions"]["pyspark"]
