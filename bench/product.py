"""`lakehouse dev` as a measure uses it: started on free ports, asked through GraphQL, ended with Ctrl-C."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import URLError
from urllib.request import Request, urlopen

START_SECONDS, RUN_SECONDS = 300, 600
LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries { loadStatus name
    locationOrLoadError { ... on RepositoryLocation { repositories { name } } } } } } }"""
LAUNCH = """mutation($e: ExecutionParams!) { launchPipelineExecution(executionParams: $e) {
    __typename ... on LaunchRunSuccess { run { runId } } } }"""
SENSORS = "{ repositoriesOrError { ... on RepositoryConnection { nodes { sensors { sensorState { id } } } } } }"
STOP_SENSOR = "mutation($id: String!) { stopSensor(id: $id) { __typename } }"
Found = TypeVar("Found")


class Product:
    """A running `lakehouse dev`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer. Raises RuntimeError on an error in it."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = Request(f"{self.url}/graphql", body, {"content-type": "application/json"})
        with urlopen(request, timeout=60) as response:
            answer = json.load(response)
        if "errors" in answer:
            raise RuntimeError(str(answer["errors"]))
        data: dict[str, Any] = answer["data"]
        return data

    def loaded(self) -> tuple[str, str] | None:
        """Name of the code location and of its repository, once it is loaded."""
        try:
            (entry,) = self.graphql(LOCATIONS)["workspaceOrError"]["locationEntries"]
        except (URLError, ConnectionError, ValueError):
            return None
        if entry["loadStatus"] != "LOADED" or not entry["locationOrLoadError"]:
            return None
        return entry["name"], entry["locationOrLoadError"]["repositories"][0]["name"]

    def stop_sensors(self) -> None:
        """Turn every sensor off: they would launch runs between the measured ones."""
        for repository in self.graphql(SENSORS)["repositoriesOrError"]["nodes"]:
            for sensor in repository["sensors"]:
                self.graphql(STOP_SENSOR, id=sensor["sensorState"]["id"])

    def launch(self, asset: str, day: str) -> str:
        """Launch a run as the UI's button does; its id."""
        location, repository = wait_for(self.loaded, START_SECONDS, "the definitions")
        selector = {
            "repositoryLocationName": location,
            "repositoryName": repository,
            "pipelineName": "__ASSET_JOB",
            "assetSelection": [{"path": asset.split("/")}],
        }
        tags = [{"key": "dagster/partition", "value": day}]
        asked = {"selector": selector, "runConfigData": {}, "mode": "default", "executionMetadata": {"tags": tags}}
        answer = self.graphql(LAUNCH, e=asked)["launchPipelineExecution"]
        if answer["__typename"] != "LaunchRunSuccess":
            raise RuntimeError(str(answer))
        run_id: str = answer["run"]["runId"]
        return run_id


def wait_for(found: Callable[[], Found | None], limit: float, what: str) -> Found:
    """What `found` returns as soon as it is something. Raises TimeoutError after `limit` seconds."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        result = found()
        if result:
            return result
        time.sleep(0.1)
    raise TimeoutError(f"{what}: not within {limit:.0f} s")


@contextmanager
def running(log: Path) -> Iterator[Product]:
    """`lakehouse dev` with this process's settings."""
    port, code_port = _free_ports()
    command = [
        str(Path(sys.executable).with_name("lakehouse")),
        "dev",
        "--port",
        str(port),
        "--code-port",
        str(code_port),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    product = Product(f"http://127.0.0.1:{port}")
    try:
        wait_for(product.loaded, START_SECONDS, f"the UI (see {log})")
        yield product
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=120)


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
