"""A lakehouse whose roots are buckets of a real S3 server with a password, and whose Spark server is its own."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from lakehouse_assets.platform.runtime.jar_sets import S3
from lakehouse_assets.platform.runtime.spark_server import stop_server
from lakehouse_assets.settings import settings
from lakehouse_assets.streaming import s3_server
from lakehouse_assets.streaming.java_server import java_server
from lakehouse_assets.streaming.s3_client import create_bucket
from lakehouse_assets_tests.dagster_lake import DagsterLake, dagster_lake

USER, PASSWORD, BUCKET = "lakehouse", "only-for-tests", "lakehouse-tests"


def _with_password(folder: Path, port: int, java: Callable[[Sequence[str]], None]) -> Sequence[str]:
    arguments = s3_server._prepare(folder, port, java)
    properties = folder / "s3proxy.properties"
    login = f"s3proxy.authorization=aws-v2-or-v4\ns3proxy.identity={USER}\ns3proxy.credential={PASSWORD}\n"
    properties.write_text(properties.read_text().replace("s3proxy.authorization=none\n", login))
    return arguments


SERVER = java_server("s3", S3, "256m", _with_password)


@contextmanager
def s3_lake(home: Path) -> Iterator[DagsterLake]:
    """An empty lake in a bucket, named by this process's settings; its servers stop with the context."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LAKEHOUSE_HOME", str(home))
        environment.setenv("LAKEHOUSE_SPARK_HEAP", "1g")
        for name, value in (("ACCESS_KEY_ID", USER), ("SECRET_ACCESS_KEY", PASSWORD), ("DEFAULT_REGION", "us-east-1")):
            environment.setenv(f"AWS_{name}", value)
        settings.cache_clear()
        server = SERVER.start(settings())
        try:
            environment.setenv("LAKEHOUSE_S3_ENDPOINT", f"http://127.0.0.1:{server.port}")
            environment.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")  # the setting goes before it, everywhere
            environment.setenv("LAKEHOUSE_LANDING", f"s3a://{BUCKET}/raw")
            environment.setenv("LAKEHOUSE_LAKE", f"s3a://{BUCKET}/processed")
            settings.cache_clear()
            create_bucket(settings(), BUCKET)
            with dagster_lake(home) as lake:
                yield lake
        finally:
            settings.cache_clear()
            stop_server(settings())
            SERVER.stop(settings())
    settings.cache_clear()
