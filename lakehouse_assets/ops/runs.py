"""Run a range of days of a table in this process, as a Dagster run with its events in the instance."""

import dagster as dg

from lakehouse_assets.platform.common.days import DayRange
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.orchestration.staleness_sensor import RANGE_END, RANGE_START


def materialize_range(key: TableKey, days: DayRange) -> str:
    """Materialize days of a table and its companions. Returns the run id. Raises LakehouseError when it failed."""
    from lakehouse_assets.definitions import catalog, definitions

    made = (key, *(companion.key for companion in catalog.table(key).co_materialized))
    job = definitions.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.get() as instance:
        result = job.execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(one.parts) for one in made],
            tags={RANGE_START: str(days.first), RANGE_END: str(days.last)},
            raise_on_error=False,
        )
    if not result.success:
        raise LakehouseError(f"Run {result.run_id} of {key} {days} failed; see it in Dagster's UI.")
    return result.run_id
