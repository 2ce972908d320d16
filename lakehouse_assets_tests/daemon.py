"""Dagster's sensor daemon and code server on a lake's instance; what they queue is run in this process."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster import DagsterEvent, DagsterEventType
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.test_utils import freeze_time
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.sensor import execute_sensor_iteration

from lakehouse_assets.platform.orchestration.staleness_sensor import READING
from lakehouse_assets_tests.dagster_lake import DagsterLake

LOG = logging.getLogger("daemon")


@dataclass
class Daemon:
    """The daemon's evaluation of every sensor, one interval after the other."""

    lake: DagsterLake
    workspace: WorkspaceProcessContext
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def tick(self) -> list[dg.DagsterRun]:
        """Evaluate every sensor once; an error of one is an error here. Returns the runs they queued, oldest first."""
        before = {run.run_id for run in self.lake.instance.get_runs()}
        while READING in self._evaluate():
            pass
        return [run for run in reversed(self.lake.instance.get_runs()) if run.run_id not in before]

    def _evaluate(self) -> list[str | None]:
        """One evaluation of every sensor. Returns why they asked for nothing."""
        self.now += timedelta(seconds=10)
        with freeze_time(self.now):
            errors = [found for found in execute_sensor_iteration(self.workspace, LOG, None, None) if found]
        assert not errors, errors
        message = []
        for state in self.lake.instance.all_instigator_state():
            for newest in self.lake.instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1):
                assert newest.error is None, newest.error
                message.append(newest.skip_reason)
        return message

    def run(self, queued: dg.DagsterRun) -> bool:
        """Run what was queued, as the launcher would; whether it succeeded."""
        from lakehouse_assets.definitions import definitions

        instance = self.lake.instance
        starting = DagsterEvent(DagsterEventType.PIPELINE_STARTING.value, queued.job_name)
        instance.report_dagster_event(starting, queued.run_id)
        run = instance.get_run_by_id(queued.run_id)
        assert run is not None
        job = InMemoryJob(definitions.resolve_job_def(run.job_name))
        return execute_run(job, run, instance, raise_on_error=False).success

    def settle(self) -> list[dg.DagsterRun]:
        """Tick and run until two ticks in a row ask for nothing. Returns the runs that this took."""
        done: list[dg.DagsterRun] = []
        idle = 0
        while idle < 2:
            queued = self.tick()
            for run in queued:
                self.run(run)
            done += queued
            idle = 0 if queued else idle + 1
            assert len(done) < 12, "the sensors never come to rest"
        return done


@contextmanager
def daemon(lake: DagsterLake, now: datetime | None = None) -> Iterator[Daemon]:
    """A code server of its own, and the daemon on it. `now`: the time at which an earlier one stopped."""
    target = ModuleTarget("lakehouse_assets.definitions", None, None, "lakehouse")
    with WorkspaceProcessContext(lake.instance, target) as workspace:
        _stop_publishing(lake.instance, workspace)
        yield Daemon(lake, workspace, now or datetime.now(UTC))


def _stop_publishing(instance: dg.DagsterInstance, workspace: WorkspaceProcessContext) -> None:
    """Stop what goes on from gold into PostgreSQL: other tests are about that."""
    (location,) = workspace.create_request_context().code_locations
    for sensor in location.get_repository("__repository__").get_sensors():
        if sensor.name.endswith("_warehouse"):
            instance.stop_sensor(sensor.get_remote_origin_id(), sensor.selector_id, sensor)


def made(run: dg.DagsterRun) -> set[str]:
    """What a run was asked to make: `gold/gmv`."""
    return {"/".join(key.path[1:]) for key in run.asset_selection or ()}
