"""g: Dagster events stored per second in one range run of tables that compute nothing: ours against as shipped."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from bench.harness import Bar, Result, Size, best
from lakehouse_assets.ops.home import install_dagster_yaml

TABLES = 8


def tables(days: int, count: int) -> list[dg.AssetsDefinition]:
    """Tables that compute nothing: one materialization and one check result per day."""
    partitions = dg.DailyPartitionsDefinition("2020-01-01")

    def table(number: int) -> dg.AssetsDefinition:
        key = dg.AssetKey(f"table{number}")
        spec = dg.AssetCheckSpec("contract", asset=key, partitions_def=partitions)

        @dg.asset(
            key=key, partitions_def=partitions, backfill_policy=dg.BackfillPolicy.single_run(), check_specs=[spec]
        )
        def build(context: dg.AssetExecutionContext) -> Iterator[Any]:
            for day in context.partition_keys:
                context.log_event(
                    dg.AssetCheckEvaluation(asset_key=key, check_name="contract", passed=True, partition=day)
                )
            yield dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])

        return build

    return [table(number) for number in range(count)]


def seconds(instance: dg.DagsterInstance, days: int, count: int) -> tuple[float, int]:
    """Wall time of the range run and the number of its events."""
    keys = dg.DailyPartitionsDefinition("2020-01-01").get_partition_keys()
    start = time.perf_counter()
    result = dg.materialize(
        tables(days, count),
        instance=instance,
        tags={"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[days - 1]},
    )
    return time.perf_counter() - start, len(instance.all_logs(result.run_id))


def measure(size: Size, folder: Path) -> Result:
    """A materialization and a check result per table and day."""
    before = {name: os.environ.get(name) for name in ("DAGSTER_HOME", "DAGSTER_EVENT_BATCH_SIZE")}
    os.environ["DAGSTER_EVENT_BATCH_SIZE"] = "500"
    took: dict[str, list[float]] = {"ours": [], "shipped": []}
    events = 0
    try:
        for _ in range(size.repeats):
            for name, samples in took.items():
                home = folder / name
                shutil.rmtree(home, ignore_errors=True)
                home.mkdir()
                os.environ["DAGSTER_HOME"] = str(home)
                if name == "ours":
                    install_dagster_yaml(home)
                else:
                    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
                with dg.DagsterInstance.from_config(str(home)) as instance:
                    spent, events = seconds(instance, size.events_days, TABLES)
                samples.append(spent)
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
    ratio = best(took["shipped"]) / best(took["ours"])
    return Result(
        "g",
        f"{events} events of {TABLES} tables x {size.events_days} days",
        {
            "ours, events per s": events / best(took["ours"]),
            "as shipped, events per s": events / best(took["shipped"]),
            "times as many": ratio,
        },
        (Bar("times as many", 5, at_least=True),),
        took,
    )
