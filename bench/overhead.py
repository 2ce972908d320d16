"""f: what a run costs beside the work of its steps: in this process, and launched in the UI."""

from datetime import date
from pathlib import Path
from time import perf_counter, time

import dagster as dg
from dagster import DagsterEventType

from bench.harness import Bar, Result, Size, best
from bench.lab import FIRST, dagster_run, days, lake_at, land, spark_session
from bench.product import RUN_SECONDS, running, wait_for
from lakehouse_assets.settings import settings

TABLE = "gmv/silver/purchase"
BRONZE = "gmv/bronze/purchase"


def measure(size: Size, folder: Path) -> Result:
    """Runs of one silver day against the same days made by a bare call of the platform, on the same server."""
    span = days(FIRST, 3 + size.repeats * 3)
    took: dict[str, list[float]] = {"work": [], "run": [], "ui": []}
    with lake_at(folder):
        land(folder, span[0], span[-1], size.purchases)
        spark_session()
        dagster_run(span[0], span[-1], [BRONZE])
        dagster_run(span[0], span[1], [TABLE])
        left = iter(span[2:])
        for _ in range(size.repeats):
            took["work"].append(_work(next(left)))
            took["run"].append(_run(next(left)))
        with running(folder / "dev.log") as product:
            product.stop_sensors()
            for number in range(size.repeats + 1):
                launched = time()
                run_id = product.launch(TABLE, str(span[number]))
                if number:  # the first run of a code server imports what it needs
                    took["ui"].append(_beside_steps(run_id, launched))
    in_process = best(took["run"]) - best(took["work"])
    return Result(
        "f",
        "a run of one table and day, beside its work",
        {
            "the work itself, s": best(took["work"]),
            "run in this process, s": best(took["run"]),
            "overhead in process, s": in_process,
            "overhead from launch in the UI, s": best(took["ui"]),
        },
        (Bar("overhead in process, s", 2), Bar("overhead from launch in the UI, s", 5)),
        took,
    )


def _work(day: date) -> float:
    from lakehouse_assets.definitions import catalog
    from lakehouse_assets.platform.declare.table import TableKey
    from lakehouse_assets.platform.planning.plan import Lake
    from lakehouse_assets.platform.planning.step import Step
    from lakehouse_assets.platform.transform.materialize import materialize

    start = perf_counter()
    lake, table = Lake(settings().lake, settings().landing), catalog.table(TableKey.parse(TABLE))
    materialize(Step(spark_session(), lake, catalog, "bench"), table, [day])
    return perf_counter() - start


def _run(day: date) -> float:
    start = perf_counter()
    dagster_run(day, day, [TABLE])
    return perf_counter() - start


def _beside_steps(run_id: str, launched: float) -> float:
    """From launch to the run's end, without the time its steps took."""
    with dg.DagsterInstance.get() as instance:
        wait_for(lambda: (run := instance.get_run_by_id(run_id)) and run.is_finished, RUN_SECONDS, "the run")
        entries = instance.all_logs(run_id)
    by_type = {entry.dagster_event_type: entry.timestamp for entry in entries if entry.dagster_event_type}
    if DagsterEventType.RUN_SUCCESS not in by_type:
        raise RuntimeError(f"run {run_id} did not succeed")
    steps = by_type[DagsterEventType.STEP_SUCCESS] - by_type[DagsterEventType.STEP_START]
    return by_type[DagsterEventType.RUN_SUCCESS] - launched - steps
