"""i: from the commit of a landed file to the start of the run that the sensor asks for."""

from pathlib import Path
from time import time

import dagster as dg

from bench.harness import Bar, Result, Size, middle
from bench.lab import FIRST, dagster_run, days, lake_at, land, spark_session
from bench.product import RUN_SECONDS, running, wait_for


def measure(size: Size, folder: Path) -> Result:
    """Days land one after the other while `lakehouse dev` runs with its sensors on."""
    history = days(FIRST, size.short_days)
    new = days(FIRST, size.short_days + size.repeats + 1)[size.short_days :]
    waited: list[float] = []
    with lake_at(folder):
        land(folder, history[0], history[-1], size.purchases)
        spark_session()
        dagster_run(history[0], history[-1])
        with running(folder / "dev.log"), dg.DagsterInstance.get() as instance:
            for number, day in enumerate(new):
                known = {run.run_id for run in instance.get_runs()}
                # One table: its commit is the last thing that landing does, so that the clock starts there.
                land(folder, day, day, size.purchases, ["purchase"])
                landed = time()
                started = wait_for(lambda known=known: _started(instance, known), RUN_SECONDS, "a run")  # type: ignore[misc]
                if number:
                    waited.append(started - landed)
                wait_for(lambda: _idle(instance), RUN_SECONDS, "the runs' end")
    return Result(
        "i",
        "from a landing's commit to the start of the run it causes",
        {"commit to start, s (median)": middle(waited), "commit to start, s (worst)": max(waited)},
        (Bar("commit to start, s (worst)", 8),),
        {"waited": waited},
        "Landing itself and the wait for a tick of at most 5 s are part of it.",
    )


def _started(instance: dg.DagsterInstance, known: set[str]) -> float | None:
    records = instance.get_run_records(limit=20)
    starts = [r.start_time for r in records if r.dagster_run.run_id not in known and r.start_time]
    return min(starts, default=None)


def _idle(instance: dg.DagsterInstance) -> bool:
    return all(run.is_finished for run in instance.get_runs(limit=20))
