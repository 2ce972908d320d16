"""How long Dagster's event log takes for one range run: shipped SQLite storage against ours. Prints, asserts nothing.

Run: python bench/event_log.py [days] [tables]
"""

import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from lakehouse_assets.ops.home import install_dagster_yaml


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


def main(days: int, count: int) -> None:
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        shipped, ours = Path(folder, "shipped"), Path(folder, "ours")
        for home in (shipped, ours):
            home.mkdir()
        os.environ["DAGSTER_HOME"] = str(ours)
        os.environ["DAGSTER_EVENT_BATCH_SIZE"] = "500"
        install_dagster_yaml(ours)
        (shipped / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        took = {}
        for home in (ours, shipped):
            with dg.DagsterInstance.from_config(str(home)) as instance:
                took[home.name], events = seconds(instance, days, count)
            print(f"{home.name:8} {took[home.name]:6.1f} s for {events} events ({count} tables x {days} days)")
    print(f"ratio    {took['shipped'] / took['ours']:6.1f}")


if __name__ == "__main__":
    main(*(int(a) for a in (sys.argv[1:] + ["60", "8"][len(sys.argv) - 1 :])))
