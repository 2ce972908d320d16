"""The Spark session of a run, as a Dagster resource: dagster-pyspark's, on a Spark Connect URL."""

from typing import TYPE_CHECKING, Any

from dagster import InitResourceContext
from dagster_pyspark import PySparkResource
from pydantic import Field, PrivateAttr

from lakehouse_assets.settings import settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class SparkConnectResource(PySparkResource):
    """One Connect session per run, opened on first use on the server that the settings name (else the embedded one),
    released when the run ends. No JVM starts with a run.
    """

    spark_config: dict[str, Any] = Field(default_factory=dict)
    _run_id: str = PrivateAttr(default="no run")

    def setup_for_execution(self, context: InitResourceContext) -> None:
        """Remember the run; the session opens when something reads it."""
        self._run_id = context.run.run_id if context.run else "no run"

    @property
    def spark_session(self) -> "SparkSession":
        """The session of this run."""
        if self._spark_session is None:
            from lakehouse_assets.platform.runtime.session_settings import check_overrides
            from lakehouse_assets.platform.runtime.sessions import open_session

            check_overrides(self.spark_config)
            self._spark_session = open_session(settings(), self._run_id)
            for key, value in self.spark_config.items():
                self._spark_session.conf.set(key, value)
        return self._spark_session

    def teardown_after_execution(self, context: InitResourceContext) -> None:
        """Release the session and what it cached."""
        if self._spark_session is not None:
            from lakehouse_assets.platform.runtime.sessions import close_session

            close_session(self._spark_session)
            self._spark_session = None
