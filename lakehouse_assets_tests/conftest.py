"""One Spark server for the whole test run, in a home of its own, and one Connect session on it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lakehouse_assets.settings import Settings, settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

os.environ.setdefault("LAKEHOUSE_FIRST_DAYS", "declared")  # whatever a demo wrote into this checkout's own home


def pytest_addoption(parser: pytest.Parser) -> None:
    """A warm server saves the developer who runs one file again and again the better part of each run."""
    parser.addoption("--keep-spark", metavar="FOLDER", help="use the Spark server of this folder, and leave it running")


@pytest.fixture(scope="session")
def spark_home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of the test run's lakehouse (also in LAKEHOUSE_* of this process); its server stops with the run."""
    from lakehouse_assets.platform.runtime.spark_server import ensure_server, stop_server

    kept: str | None = request.config.getoption("--keep-spark")
    home = Path(kept).absolute() if kept else tmp_path_factory.mktemp("lakehouse")
    before = dict(os.environ)
    os.environ |= {"LAKEHOUSE_HOME": str(home), "LAKEHOUSE_SPARK_HEAP": "2g"}
    settings.cache_clear()
    here = settings()
    try:
        ensure_server(here)
        yield here
    finally:
        if not kept:
            stop_server(here)
        os.environ.clear()
        os.environ.update(before)
        settings.cache_clear()


@pytest.fixture(scope="session")
def spark(spark_home: Settings) -> "Iterator[SparkSession]":
    """A Connect session shared by the tests. Write to `tmp_path` or to tables of your own."""
    from lakehouse_assets.platform.runtime.sessions import close_session, open_session

    session = open_session(spark_home, run_id="tests")
    yield session
    close_session(session)


@pytest.fixture
def fresh_settings(tmp_path: Path) -> Settings:
    """Settings of an empty lakehouse in `tmp_path`, with the smallest server."""
    return Settings(home=tmp_path / "home", spark_heap="512m")


@pytest.fixture(scope="module")
def broker(spark_home: Settings) -> Iterator[Settings]:
    """The Kafka broker of the test run's home."""
    from lakehouse_assets.streaming.kafka_server import SERVER

    SERVER.start(spark_home)
    yield spark_home
    SERVER.stop(spark_home)
