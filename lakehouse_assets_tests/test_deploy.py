"""What the platform is deployed with is consistent, as far as that shows without a container engine."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import metadata
from pathlib import Path
from threading import Thread
from typing import Any

import dagster as dg
import psutil
import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config
from dagster._core.launcher.base import WorkerStatus
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.workspace.load import location_origins_from_yaml_paths
from dagster_postgres.storage import DagsterPostgresStorage

from lakehouse_assets.cli.dev import require_free
from lakehouse_assets.ops.event_log import PooledEventLog
from lakehouse_assets.ops.home import install_dagster_yaml, prepare_dagster_home, project_file
from lakehouse_assets.ops.run_launcher import MonitoredRunLauncher
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.settings import Settings

TOP = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((TOP / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
EXAMPLE = (TOP / ".env.example").read_text()
SECRET = re.compile(r"PASSWORD|TOKEN|SECRET|PSEUDONYM_KEY$")


def strings(value: Any) -> Iterator[str]:
    """Every text in a YAML value."""
    if isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


# -- docker compose -----------------------------------------------------------------------------------------------


def test_compose_has_the_parts_of_the_platform_and_each_can_be_made_watched_and_restarted() -> None:
    assert set(SERVICES) == {
        "postgres", "spark", "code", "daemon", "webserver", "kafka", "s3", "orders", "marketplace",
        "warehouse", "superset",
    }  # fmt: skip
    for name, service in SERVICES.items():
        assert service.get("image") or service.get("build"), name
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name
        for needed in service.get("depends_on", {}):
            assert needed in SERVICES
    mounted = {mount.split(":")[0] for s in SERVICES.values() for mount in s.get("volumes", [])}
    assert {name for name in mounted if not name.startswith("./")} == set(COMPOSE["volumes"])
    assert all((TOP / name).is_file() for name in mounted if name.startswith("./"))


def test_only_what_people_look_at_is_published_and_only_on_loopback() -> None:
    published = {name: port for name, service in SERVICES.items() for port in service.get("ports", [])}

    assert set(published) == {"webserver", "superset", "warehouse"}
    assert all(port.startswith("127.0.0.1:") for port in published.values())
    assert "docker.sock" not in (TOP / "docker-compose.yml").read_text()


def test_the_code_server_reaches_spark_over_loopback_and_is_reached_by_its_name() -> None:
    environment = SERVICES["code"]["environment"]

    assert SERVICES["code"]["network_mode"] == SERVICES["code"]["pid"] == "service:spark"
    assert environment["LAKEHOUSE_SPARK_REMOTE"] == "sc://localhost:15002"
    assert environment["LAKEHOUSE_CODE_HOST"] in SERVICES["spark"]["networks"]["default"]["aliases"]
    assert environment["LAKEHOUSE_CODE_PORT"] in SERVICES["code"]["command"]
    assert environment["DAGSTER_POSTGRES_HOST"] in SERVICES


def test_secrets_come_from_the_environment_and_are_required() -> None:
    found = 0
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if SECRET.search(name):
                found += 1
                assert re.fullmatch(r"\$\{[A-Z0-9_]+:\?[^}]+\}", value), f"{name} is written down or optional"
    assert found >= 4
    for line in EXAMPLE.splitlines():
        name, _, value = line.removeprefix("#").partition("=")
        if re.fullmatch("[A-Z0-9_]+", name) and SECRET.search(name):
            assert value == "", f"{name} has a value in .env.example"


def test_every_variable_of_compose_and_every_setting_is_in_the_example() -> None:
    documented = set(re.findall(r"^#?([A-Z0-9_]+)=", EXAMPLE, re.MULTILINE))
    interpolated = {name for text in strings(COMPOSE) for name in re.findall(r"\$\{([A-Z0-9_]+)", text)}
    settings = {f"LAKEHOUSE_{name.upper()}" for name in Settings.model_fields}

    assert interpolated <= documented
    assert settings <= documented
    assert documented <= interpolated | settings, "the example names a variable that nothing reads"


def test_the_example_is_a_valid_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LAKEHOUSE_")]:
        monkeypatch.delenv(name)  # the environment wins over the file
    env = tmp_path / ".env"
    env.write_text(re.sub(r"^#([A-Z0-9_]+=.+)$", r"\1", EXAMPLE, flags=re.MULTILINE))

    assert Settings(_env_file=env).home == Path(".lakehouse")  # type: ignore[call-arg]


def test_commands_exist_as_console_scripts_or_files() -> None:
    scripts = {e.name for e in metadata.entry_points(group="console_scripts")} | {"python"}
    for name, service in SERVICES.items():
        if name in ("postgres", "kafka", "warehouse", "superset"):
            continue
        for command in (service["command"], service["healthcheck"]["test"][1:]):
            assert command[0] in scripts, name
        for argument in service["command"]:
            if argument.endswith((".py", ".yaml")):
                assert (TOP / argument).is_file(), argument
    for command in (["api", "grpc", "--help"], ["api", "grpc-health-check", "--help"]):
        assert subprocess.run([sys.executable, "-m", "dagster", *command], capture_output=True).returncode == 0


def test_a_compose_tool_accepts_the_file_where_there_is_one() -> None:
    """Where the machine has none, the YAML itself is what is looked at, above."""
    tool = next(
        (
            command
            for command in (["docker", "compose"], ["docker-compose"])
            if shutil.which(command[0]) and subprocess.run([*command, "version"], capture_output=True).returncode == 0
        ),
        None,
    )
    if tool is None:
        return
    required = {name for text in strings(COMPOSE) for name in re.findall(r"\$\{([A-Z0-9_]+):\?", text)}
    given = dict.fromkeys(required, "x")
    outcome = subprocess.run([*tool, "config", "--quiet"], cwd=TOP, env=os.environ | given, capture_output=True)
    assert outcome.returncode == 0, outcome.stderr.decode()


# -- the image ----------------------------------------------------------------------------------------------------


def test_the_image_copies_what_exists_and_what_the_build_may_see() -> None:
    allowed = {line[1:] for line in (TOP / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [
        source
        for line in (TOP / "deploy" / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from=" not in line
        for source in line.split()[1:-1]
    ]

    assert copied
    for source in copied:
        assert (TOP / source).exists(), source
        kept = {source, source.split("/")[0]} & allowed
        assert kept, f"{source} is kept out by .dockerignore"


def test_the_image_runs_as_a_user_without_rights_and_installs_by_hash() -> None:
    text = (TOP / "deploy" / "Dockerfile").read_text()

    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["lakehouse", "superset"]
    assert "--require-hashes -r requirements.lock" in text
    assert "--require-hashes -r /opt/superset/requirements.lock" in text
    assert "openjdk-17-jre-headless" in text
    assert not SECRET.search(text)


@pytest.mark.parametrize("lock", ["requirements.lock", "lakehouse_assets/bi/superset/requirements.lock"])
def test_the_lock_pins_every_package_by_hash_and_names_no_host(lock: str) -> None:
    text = (TOP / lock).read_text()
    packages = re.findall(r"^([a-z0-9][^\s]*==[^\s]+)", text, re.MULTILINE)

    assert len(packages) > 100
    assert text.count("--hash=sha256:") >= len(packages)
    assert "://" not in text


def test_the_uv_of_make_and_of_the_image_is_the_same() -> None:
    [make] = re.findall(r"^UV_VERSION := (.+)$", (TOP / "Makefile").read_text(), re.MULTILINE)
    images = re.findall(r"uv==(\S+)", (TOP / "deploy" / "Dockerfile").read_text())

    assert images == [make, make]


@pytest.mark.parametrize(
    "script", ["deploy/install", "deploy/test_tools", "deploy/superset", "deploy/warehouse_roles", ".ci/run"]
)
def test_scripts_are_executable_bash(script: str) -> None:
    assert os.access(TOP / script, os.X_OK)
    assert subprocess.run(["bash", "-n", TOP / script], capture_output=True).returncode == 0


def test_make_names_what_is_missing(tmp_path: Path) -> None:
    for tool in ("bash", "env", "sed", "head"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    (tmp_path / "python3.11").symlink_to(sys.executable)

    def install(path: Path) -> str:
        environment = {"PATH": str(path)}
        outcome = subprocess.run(
            [TOP / "deploy" / "install", str(tmp_path / "venv"), "0"], env=environment, capture_output=True, text=True
        )
        assert outcome.returncode == 1
        return outcome.stderr

    assert "Java 17 or 21 is needed" in install(tmp_path)
    (tmp_path / "python3.11").unlink()
    assert "Python 3.11 is needed" in install(tmp_path)


# -- Dagster's configuration --------------------------------------------------------------------------------------


@pytest.fixture
def dagster_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return prepare_dagster_home(Settings(home=tmp_path))


def test_dagster_home_is_beside_the_lake_unless_the_environment_names_another(
    dagster_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dagster_home == tmp_path / "dagster"
    assert os.environ["DAGSTER_HOME"] == str(dagster_home)

    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "another"))
    assert prepare_dagster_home(Settings(home=tmp_path)) == tmp_path / "another"
    assert (tmp_path / "another" / "dagster.yaml").is_file()


def test_a_dagster_yaml_that_is_there_is_left_alone(tmp_path: Path) -> None:
    assert install_dagster_yaml(tmp_path / "a") is True
    assert (tmp_path / "a" / "dagster.yaml").read_text() == (TOP / "dagster.yaml").read_text()

    (tmp_path / "a" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    assert install_dagster_yaml(tmp_path / "a") is False
    assert "event_log_storage" not in (tmp_path / "a" / "dagster.yaml").read_text()
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["dagster.yaml"]


def test_a_dagster_home_that_cannot_be_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(LakehouseError, match=r"file cannot be used: .*Set DAGSTER_HOME"):
        install_dagster_yaml(tmp_path / "file")
    with pytest.raises(LakehouseError, match=r"no-such\.yaml is missing from this installation"):
        project_file("no-such.yaml")


def test_dagster_loads_the_configuration_of_one_machine(dagster_home: Path) -> None:
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        assert isinstance(instance.event_log_storage, PooledEventLog)
        assert instance.event_log_storage.database == dagster_home / "event_log.db"
        assert isinstance(instance.run_launcher, MonitoredRunLauncher)
        assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
        assert instance.run_coordinator.dequeue_interval_seconds == 1
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 1
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_settings["free_slots_after_run_end_seconds"] > 0
        assert instance.run_retries_enabled
        assert not instance.telemetry_enabled


def test_without_the_event_log_section_the_shipped_storage_is_back(dagster_home: Path) -> None:
    configuration = yaml.safe_load((dagster_home / "dagster.yaml").read_text())
    del configuration["event_log_storage"]
    (dagster_home / "dagster.yaml").write_text(yaml.safe_dump(configuration))

    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        assert type(instance.event_log_storage).__name__ == "SqliteEventLogStorage"


def test_dagster_accepts_the_configuration_of_compose_and_it_differs_only_in_where_things_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in {**SERVICES["webserver"]["environment"], "DAGSTER_COMPUTE_LOGS": ""}:
        monkeypatch.setenv(name, "value")
    shutil.copy(TOP / "deploy" / "dagster.yaml", tmp_path)

    configuration, _ = dagster_instance_config(str(tmp_path))

    database = configuration["storage"]["postgres"]["postgres_db"]
    DagsterPostgresStorage.config_type()  # the library that this needs is installed
    assert database["password"] == {"env": "DAGSTER_POSTGRES_PASSWORD"}
    here, there = (yaml.safe_load((TOP / folder / "dagster.yaml").read_text()) for folder in (".", "deploy"))
    kept = {"storage", "event_log_storage", "compute_logs"}
    assert {k: v for k, v in here.items() if k not in kept} == {k: v for k, v in there.items() if k not in kept}


def test_every_variable_of_the_deployed_dagster_yaml_is_set_in_the_containers() -> None:
    needed = set(re.findall(r"env: ([A-Z0-9_]+)", (TOP / "deploy" / "dagster.yaml").read_text()))
    image = set(re.findall(r"([A-Z0-9_]+)=", (TOP / "deploy" / "Dockerfile").read_text()))

    for name in ("code", "daemon", "webserver"):
        assert needed <= image | set(SERVICES[name]["environment"])


def test_the_workspace_is_one_code_server_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_CODE_HOST", "code")
    monkeypatch.setenv("LAKEHOUSE_CODE_PORT", "4266")

    [origin] = location_origins_from_yaml_paths([str(TOP / "workspace.yaml")])

    assert (origin.location_name, origin.host, origin.port) == ("lakehouse", "code", 4266)  # type: ignore[attr-defined]


# -- lakehouse dev ------------------------------------------------------------------------------------------------

DEFINITIONS = """
import time
import dagster as dg

@dg.asset
def endless(context):
    context.log.info("endless has begun")
    time.sleep(3600)

defs = dg.Definitions([endless], executor=dg.in_process_executor)
"""
LOCATIONS = "{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus } } } }"
SERVE = """
import sys
from pathlib import Path
from lakehouse_assets.cli.dev import serve
home, port, code_port = sys.argv[1:]
sys.exit(serve("tiny_definitions", Path(home), int(port), int(code_port)))
"""


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def graphql(port: int, query: str) -> Any:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", "/graphql", json.dumps({"query": query}), {"content-type": "application/json"})
        return json.loads(connection.getresponse().read())["data"]


@contextmanager
def dev_server(folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[int], list[str]]]:
    """`serve` in a process of its own, up; with its ports (UI, code server) and the lines it has printed so far."""
    (folder / "tiny_definitions.py").write_text(DEFINITIONS)
    ports = free_ports(2)
    environment = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"} | {"PYTHONPATH": str(folder)}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(folder / "home"), *map(str, ports)],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if "Dagster: http://" in line:
                break
        rest = Thread(target=lambda: lines.extend(process.stdout or []), daemon=True)
        rest.start()
        yield process, ports, lines
        process.wait(timeout=90)
        rest.join(timeout=10)
    finally:
        process.kill()


def test_dev_serves_a_healthy_platform_and_ends_all_of_it_on_ctrl_c(tmp_path: Path) -> None:
    with dev_server(tmp_path) as (process, ports, lines):
        locations = graphql(
            ports[0], "{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus } } } }"
        )
        assert locations["workspaceOrError"]["locationEntries"] == [{"name": "lakehouse", "loadStatus": "LOADED"}], (
            lines
        )
        with pytest.raises(LakehouseError, match=f"Port {ports[0]} is in use.*--port"):
            require_free(ports[0], "--port")
        process.send_signal(signal.SIGINT)

    assert process.returncode == 0, "".join(lines)
    for port in ports:
        require_free(port, "--port")
    assert {line.split("|")[0].strip() for line in lines if " | " in line} >= {"code", "daemon", "webserver"}
    assert (tmp_path / "home" / "dagster" / "dagster.yaml").is_file()


def test_dev_ends_with_a_message_when_one_part_dies(tmp_path: Path) -> None:
    with dev_server(tmp_path) as (process, ports, lines):
        [daemon] = [c for c in psutil.Process(process.pid).children() if "dagster._daemon" in c.cmdline()]
        daemon.kill()

    assert process.returncode == 1
    assert "The daemon process ended by itself" in lines[-1]
    for port in ports:
        require_free(port, "--port")


# -- runs whose process is gone -----------------------------------------------------------------------------------


@dg.job
def nothing() -> None:
    """A job to make run records of."""


def test_a_run_is_alive_while_its_code_server_knows_it_and_failed_when_another_server_answers(tmp_path: Path) -> None:
    (tmp_path / "tiny_definitions.py").write_text(DEFINITIONS)
    [port] = free_ports(1)
    home = tmp_path / "dagster"
    install_dagster_yaml(home)
    server = subprocess.Popen(
        [sys.executable, "-m", "dagster", "api", "grpc", "-m", "tiny_definitions", "-h", "127.0.0.1", "-p", str(port)],
        env=os.environ | {"PYTHONPATH": str(tmp_path), "DAGSTER_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert server.stdout is not None
    try:
        assert any("Started Dagster code server" in line for line in server.stdout)
        with dg.instance_for_test() as instance:
            launcher = MonitoredRunLauncher()
            launcher.register_instance(instance)
            where = {GRPC_INFO_TAG: json.dumps({"host": "127.0.0.1", "port": port})}
            unknown = instance.create_run_for_job(nothing, tags=where)
            elsewhere = instance.create_run_for_job(nothing)

            assert launcher.check_run_worker_health(unknown).status == WorkerStatus.FAILED
            assert launcher.check_run_worker_health(elsewhere).status == WorkerStatus.RUNNING
            server.kill()
            server.wait(timeout=60)
            assert launcher.check_run_worker_health(unknown).status == WorkerStatus.RUNNING, "nobody can tell"
    finally:
        server.kill()
