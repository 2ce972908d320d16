"""Dagster's default run launcher, which also notices that the process of a run is gone."""

import logging

from dagster import DagsterRun, DefaultRunLauncher
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

ANSWER_SECONDS = 10

log = logging.getLogger(__name__)


class MonitoredRunLauncher(DefaultRunLauncher):
    """Launches runs in the code server and asks it about them.

    A code server reports its own runs that crash, but with the server itself (a kill, a reboot) goes the knowledge of
    them: under the shipped launcher they stay "started", and keep their place in queue and pools, for ever.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def _code_server_of(self, run: DagsterRun) -> DagsterGrpcClient | None:
        client: DagsterGrpcClient | None = self._get_grpc_client_for_termination(run.run_id)  # type: ignore[no-untyped-call]
        return client

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """FAILED when the code server does not know the run; RUNNING also when nobody can tell."""
        client = self._code_server_of(run)
        if client is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "not launched by this launcher, or just finished")
        try:
            answer = deserialize_value(
                client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), timeout=ANSWER_SECONDS),
                CanCancelExecutionResult,
            )
        except DagsterUserCodeUnreachableError as error:
            log.warning("The code server of run %s does not answer; asking again later: %s", run.run_id, error)
            return CheckRunHealthResult(WorkerStatus.RUNNING, "the code server does not answer")
        if answer.can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "the code server that ran it was stopped or restarted")
