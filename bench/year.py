"""a: a year of GMV through Dagster with everything on, against a plain Spark script of the same tables."""

import shutil
from datetime import date
from functools import partial
from pathlib import Path

from bench.harness import Bar, Result, Size, alternate, best
from bench.lab import FIRST, dagster_run, days, lake_at, land, spark_session
from bench.plain_gmv import make_plainly


def measure(size: Size, folder: Path) -> Result:
    """Bronze, silver, gold of all days: our run, our run with Dagster's storage as shipped, and the script."""
    span = days(FIRST, size.year_days)
    first, last = span[0], span[-1]
    with lake_at(folder):
        events = land(folder, first, last, size.purchases)
        spark_session()
        make_plainly(folder / "warm-up", span)
    took = alternate(
        size.repeats,
        plain=partial(_plain, folder, span),
        ours=partial(_ours, folder, first, last, "ours"),
    )
    took |= alternate(1, shipped=partial(_ours, folder, first, last, "shipped"))  # takes minutes
    return Result(
        "a",
        f"{size.year_days} days, {events} events: 6 event tables, ledger and current figures",
        {
            "plain Spark script, s": best(took["plain"]),
            "through Dagster, s": best(took["ours"]),
            "through Dagster, its storage as shipped, s": best(took["shipped"]),
            "times the plain script": best(took["ours"]) / best(took["plain"]),
            "times the plain script, storage as shipped": best(took["shipped"]) / best(took["plain"]),
        },
        (Bar("times the plain script", 1.4),),
        took,
    )


def _ours(folder: Path, first: date, last: date, storage: str) -> None:
    shutil.rmtree(folder / "lake", ignore_errors=True)
    shutil.rmtree(folder / f"dagster-{storage}", ignore_errors=True)
    with lake_at(folder, storage):
        dagster_run(first, last)


def _plain(folder: Path, span: list[date]) -> None:
    shutil.rmtree(folder / "plain", ignore_errors=True)
    with lake_at(folder):
        make_plainly(folder / "plain", span)
