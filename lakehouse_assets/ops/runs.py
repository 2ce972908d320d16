"""Runs of Dagster in this process: recorded in its instance like any other, and told step by step while they work."""

import re
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from uuid import uuid4

import dagster as dg
from dagster import DagsterEventType, EventLogEntry

from lakehouse_assets.platform.common.days import DayRange
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.orchestration.staleness_sensor import RANGE_END, RANGE_START

SHORT = re.compile(r"[A-Za-z_]\w*(?:[/.*][\w*]+)*")
"""A domain or a table, besides Dagster's own selections."""
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Everything is in the run's log; on the terminal, progress is enough."""
ENDS = {
    DagsterEventType.STEP_SUCCESS: "materialized",
    DagsterEventType.STEP_FAILURE: "failed",
    DagsterEventType.STEP_SKIPPED: "skipped",
}


@dataclass(frozen=True)
class StepEnd:
    """How a step of a run ended. `message`: why it failed."""

    step: str
    state: str
    message: str = ""


@dataclass(frozen=True)
class RunEnd:
    """A finished run. `days`: by asset, those that it materialized."""

    run_id: str
    success: bool
    steps: tuple[StepEnd, ...]
    days: dict[str, tuple[str, ...]]

    @property
    def failures(self) -> list[StepEnd]:
        """The steps that failed."""
        return [step for step in self.steps if step.state == "failed"]


@dataclass(frozen=True)
class Selected:
    """Assets that one run can materialize together, and its steps."""

    keys: tuple[dg.AssetKey, ...]
    steps: int


def select(selection: str) -> Selected:
    """Assets by Dagster's selection syntax, or by a domain (`gmv`) or a table (`gmv/silver/purchase`, `gmv/silver/*`).

    A table that is materialized in one step with others brings them along. Raises LakehouseError.
    """
    from lakehouse_assets.definitions import definitions

    graph = definitions.resolve_asset_graph()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)  # Dagster's own selection of a group uses what is in beta
            found = dg.AssetSelection.from_string(_full(selection, graph.all_group_names)).resolve(graph)
    except Exception as error:  # of a parser and of a resolver, which share no class
        raise LakehouseError(
            f"{selection!r} is no selection of assets: {error}\nWrite a domain (gmv), a table "
            "(gmv/silver/purchase), or Dagster's selection syntax (tag:domain=gmv and kind:gold)."
        ) from error
    keys = {key for key in found if graph.get(key).is_executable}
    for key in [*keys]:
        keys |= {one for one in graph.get(key).execution_set_entity_keys if isinstance(one, dg.AssetKey)}
    if not keys:
        raise LakehouseError(f"{selection!r} selects no asset that a run can materialize. See `lakehouse tables`.")
    definitions_of = {id(graph.assets_def_for_key(key)) for key in keys}
    return Selected(tuple(sorted(keys)), len(definitions_of))


def _full(selection: str, groups: Collection[str]) -> str:
    if not SHORT.fullmatch(selection):
        return selection
    if any(group.startswith(f"{selection}/") for group in groups):
        return f'group:"{selection}/*"'
    return f'key:"{selection.replace(".", "/")}"'


def run(
    selected: Selected,
    days: DayRange,
    *,
    begun: Callable[[str], None] = lambda run_id: None,
    ended: Callable[[StepEnd], None] = lambda step: None,
) -> RunEnd:
    """Materialize days of assets in one run. `begun` hears its id, `ended` every step's end, while it works.

    Raises LakehouseError for days that an asset does not have.
    """
    from lakehouse_assets.definitions import definitions

    _check_days(selected, days)
    job = definitions.resolve_implicit_global_asset_job_def()
    run_id, steps = str(uuid4()), list[StepEnd]()

    def hear(entry: EventLogEntry) -> None:
        event = entry.dagster_event
        state = ENDS.get(event.event_type) if event else None
        if event is None or state is None or event.step_key is None:
            return
        steps.append(StepEnd(event.step_key.replace("__", "/"), state, _why(event) if state == "failed" else ""))
        ended(steps[-1])

    with dg.DagsterInstance.get() as instance:
        instance.add_event_listener(run_id, hear)
        begun(run_id)
        result = job.execute_in_process(
            run_id=run_id,
            run_config=QUIET,
            instance=instance,
            asset_selection=[*selected.keys],
            tags={RANGE_START: str(days.first), RANGE_END: str(days.last)},
            raise_on_error=False,
        )
    made: dict[str, tuple[str, ...]] = {}
    for event in result.get_asset_materialization_events():
        key, day = event.asset_key, event.partition
        if key is not None and day is not None:
            name = key.to_user_string()
            made[name] = (*made.get(name, ()), day)
    return RunEnd(run_id, result.success, tuple(steps), made)


def _why(event: dg.DagsterEvent) -> str:
    failure = event.step_failure_data
    if failure.user_failure_data is not None and failure.user_failure_data.description:
        return failure.user_failure_data.description
    error = failure.error
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip().split("\n\nJVM stacktrace", 1)[0] if error else "no reason was recorded"


def _check_days(selected: Selected, days: DayRange) -> None:
    from lakehouse_assets.definitions import definitions

    graph = definitions.resolve_asset_graph()
    for key in selected.keys:
        partitions = graph.get(key).partitions_def
        if partitions is None:
            continue
        for day in (days.first, days.last):
            if not partitions.has_partition_key(str(day)):
                first, last = partitions.get_first_partition_key(), partitions.get_last_partition_key()
                raise LakehouseError(
                    f"{key.to_user_string()} has no partition {day}: it has {first}..{last}. No run was started."
                )


def materialize_range(key: TableKey, days: DayRange) -> str:
    """Materialize days of a table and its companions. Returns the run id. Raises LakehouseError when it failed."""
    done = run(select(str(key)), days)
    if not done.success:
        raise LakehouseError(f"Run {done.run_id} of {key} {days} failed; see it in Dagster's UI.")
    return done.run_id
