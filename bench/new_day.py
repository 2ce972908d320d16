"""b: one new day, landing to gold, against the naive way: a Spark session in each step's process, default executor.

b2: the same day against a plain script of Spark and Delta on the same warm server, nothing validated or recorded.
"""

import json
import sys
from datetime import date, timedelta
from pathlib import Path

from bench.harness import Bar, Result, Size, alternate, best, run
from bench.lab import FIRST, TABLES, dagster_run, days, lake_at, land, spark_session
from bench.plain_gmv import make_plainly

NAIVE = Path(__file__).with_name("naive.py")


def measure(size: Size, folder: Path) -> Result:
    """The same day of the same events; ours after a short history, the naive way with none (which favours it)."""
    history = days(FIRST, size.short_days)
    new = iter(days(FIRST, size.short_days + size.repeats * 2 + 2)[size.short_days :])
    with lake_at(folder):
        land(folder, history[0], history[-1], size.purchases)
        spark_session()
        dagster_run(history[0], history[-1])
        _in_this_process(folder, next(new), size.purchases)
        make_plainly(folder / "plain", history)
    plain_days = iter(days(FIRST, size.short_days + size.repeats)[size.short_days :])
    steps: dict[str, list[float]] = {}
    took = alternate(
        size.repeats,
        ours=lambda: _in_this_process(folder, next(new), size.purchases, steps),
        process=lambda: _in_a_process(folder, next(new), size.purchases),
        plain=lambda: _plainly(folder, next(plain_days)),
    )
    took |= alternate(1, naive=lambda: _naively(folder, size))
    ours = best(took["ours"])
    return Result(
        "b",
        f"one day of {size.purchases} purchases: land 3 files, make 8 tables, checks and lineage on",
        {
            "ours, s": ours,
            "ours, in a new process, s": best(took["process"]),
            "the naive way, s": best(took["naive"]),
            "a plain script on the warm server, s": best(took["plain"]),
            "times the plain script": ours / best(took["plain"]),
            "times faster": best(took["naive"]) / ours,
            "times faster, in a new process": best(took["naive"]) / best(took["process"]),
            **{f"of that, {name}, s": best(values) for name, values in steps.items()},
        },
        (Bar("ours, s", 7), Bar("times the plain script", 0.6), Bar("times faster", 30, at_least=True)),
        took,
    )


def _in_this_process(folder: Path, day: date, purchases: int, steps: dict[str, list[float]] | None = None) -> None:
    from time import perf_counter

    with lake_at(folder):
        start = perf_counter()
        land(folder, day, day, purchases)
        landed = perf_counter()
        result = dagster_run(day, day)
        ended = perf_counter()
    if steps is None:
        return
    of_steps = 0.0
    for event in result.all_events:
        if event.is_step_success:
            name = (event.step_key or "").removeprefix("gmv__")
            steps.setdefault(name, []).append(event.step_success_data.duration_ms / 1000)
            of_steps += steps[name][-1]
    steps.setdefault("landing", []).append(landed - start)
    steps.setdefault("the run around its steps", []).append(ended - landed - of_steps)


def _plainly(folder: Path, day: date) -> None:
    """A day that is landed already, after those that the plain tables have."""
    with lake_at(folder):
        make_plainly(folder / "plain", [day], published=day - timedelta(days=1))


def _in_a_process(folder: Path, day: date, purchases: int) -> None:
    with lake_at(folder):
        land(folder, day, day, purchases)
        run(
            [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "lakehouse_assets.definitions",
             "--select", 'group:"gmv/*"', "--partition", str(day)]
        )  # fmt: skip


def _naively(folder: Path, size: Size) -> None:
    """Files to gold by bench/naive.py: the same day's feeds, as CSV."""
    from lakehouse_assets.samples.gmv.feeds import generate

    feeds, home = folder / "naive-feeds", folder / "naive-dagster"
    generate(feeds, FIRST, FIRST, size.purchases, seed=7, defects=0.0)
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    config: dict[str, object] = {
        "feeds": str(feeds),
        "lake": str(folder / "naive-lake"),
        "day": str(FIRST),
        "tables": TABLES,
    }
    config |= {"in_process": size.name == "tiny"}
    run(
        [sys.executable, "-m", "dagster", "asset", "materialize", "-f", str(NAIVE), "--select", "*"],
        {"DAGSTER_HOME": str(home), "BENCH_NAIVE": json.dumps(config)},
    )
