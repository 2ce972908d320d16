"""The embedded Spark Connect server: one for each home, found again by later processes, replaced only when dead."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.common.process_id import ProcessId
from lakehouse_assets.platform.runtime import spark_launch
from lakehouse_assets.platform.runtime.session_records import SessionRecord, in_use, write_json
from lakehouse_assets.platform.runtime.spark_launch import ServerConfig
from lakehouse_assets.settings import Settings

START_SECONDS = 120.0
BIND_ATTEMPTS = 3


@dataclass(frozen=True)
class ServerAddress:
    """Where a Spark Connect server is and what it wants to see. `server` tells one server from its successor."""

    url: str
    token: str | None = field(repr=False)
    server: str


@dataclass(frozen=True)
class ServerState:
    """What `server.json` says of the running server."""

    process: ProcessId
    port: int
    config: ServerConfig
    started: str
    log: str

    @property
    def identity(self) -> str:
        """Names this server for ever, also after its port went to another."""
        return f"embedded:{self.process.host}:{self.process.pid}:{self.process.started}"


@dataclass(frozen=True)
class ServerStatus:
    """The server at a glance: uptime in seconds, resident memory in bytes, sessions of processes that live."""

    running: bool
    pid: int | None = None
    port: int | None = None
    uptime: float | None = None
    memory: int | None = None
    sessions: tuple[SessionRecord, ...] = ()


def ensure_server(settings: Settings) -> ServerAddress:
    """The address of this home's server, which is started when none runs.

    Raises LakehouseError when it does not come up, when a live one does not answer, or when one with another
    configuration is in use.
    """
    spark_dir = settings.spark_dir
    config = spark_launch.config_of(settings)
    state = _read(spark_dir)
    if state is not None and state.process.alive and state.config == config and _accepts(state.port):
        return _address(spark_dir, state)
    with server_lock(spark_dir):
        state = _running(spark_dir)
        if state is not None and (differences := config.differences(state.config)):
            users = in_use(spark_dir, state.identity)
            if users:
                raise LakehouseError(_busy(state, differences, users))
            _end(state.process.pid, 20)
            state = None
        if state is None:
            state = _start(spark_dir, config)
        elif not _accepts(state.port):  # whoever started it was killed while it came up
            _wait(state, None)
        return _address(spark_dir, state)


def stop_server(settings: Settings, timeout: float = 20) -> bool:
    """End this home's server: politely, after `timeout` seconds by force. False when none ran."""
    spark_dir = settings.spark_dir
    if not spark_dir.exists():
        return False
    with server_lock(spark_dir):
        state = _running(spark_dir)
        if state is not None:
            _end(state.process.pid, timeout)
        _state_file(spark_dir).unlink(missing_ok=True)
    return state is not None


def server_status(settings: Settings) -> ServerStatus:
    """Whether this home's server runs, since when, how big it is and who uses it."""
    state = _read(settings.spark_dir)
    if state is None or not state.process.alive:
        return ServerStatus(running=False)
    uptime = (datetime.now(UTC) - datetime.fromisoformat(state.started)).total_seconds()
    return ServerStatus(
        running=_accepts(state.port),
        pid=state.process.pid,
        port=state.port,
        uptime=uptime,
        memory=psutil.Process(state.process.pid).memory_info().rss,
        sessions=tuple(in_use(settings.spark_dir, state.identity)),
    )


@contextmanager
def server_lock(spark_dir: Path) -> Iterator[None]:
    """Held while a server is started or stopped and while a session is recorded. Reentrant within a thread."""
    spark_dir.mkdir(parents=True, exist_ok=True)
    path = spark_dir / "server.lock"
    lock = FileLock(path, timeout=START_SECONDS + 60, is_singleton=True)
    try:
        lock.acquire()
    except Timeout as error:
        raise LakehouseError(
            f"Another process has been starting or stopping the Spark server for minutes ({path} is locked). Look at "
            f"the newest log in {spark_dir / 'logs'}."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _start(spark_dir: Path, config: ServerConfig) -> ServerState:
    for attempt in range(1, BIND_ATTEMPTS + 1):
        port = spark_launch.free_port()
        process, log = spark_launch.launch(spark_dir, config, port)
        identity = ProcessId.of(process.pid)
        if identity is not None:
            started = datetime.now(UTC).isoformat(timespec="seconds")
            state = ServerState(identity, port, config, started, str(log))
            write_json(_state_file(spark_dir), asdict(state))
            if _wait(state, process, taken_port_ends=attempt == BIND_ATTEMPTS):
                return state
    raise LakehouseError(_failed("ended", log))


def _wait(state: ServerState, process: subprocess.Popen[bytes] | None, taken_port_ends: bool = True) -> bool:
    """Wait until the server accepts. False: somebody took its port first. LakehouseError: it will not come up."""
    deadline = time.monotonic() + START_SECONDS
    while not _accepts(state.port):
        log = Path(state.log)
        if (process is not None and process.poll() is not None) or not state.process.alive:
            if not taken_port_ends and "BindException" in log.read_text(errors="replace"):
                return False
            raise LakehouseError(_failed("ended while it started", log))
        if time.monotonic() > deadline:
            what = f"(process {state.process.pid}) has not answered on port {state.port} for {START_SECONDS:.0f} s"
            raise LakehouseError(f"{_failed(what, log)}\nEnd it: lakehouse spark stop")
        time.sleep(0.1)
    return True


def _running(spark_dir: Path) -> ServerState | None:
    """The server that is not provably dead; also one whose state file was lost."""
    state = _read(spark_dir)
    if state is not None and state.process.elsewhere:
        raise LakehouseError(
            f"The Spark server of {spark_dir} was started on host {state.process.host}, and whether it still runs "
            "cannot be seen from here. Stop it there (lakehouse spark stop); if that host is gone, delete "
            f"{_state_file(spark_dir)}."
        )
    if state is not None and state.process.alive:
        return state
    return _recognize(spark_dir)


def _recognize(spark_dir: Path) -> ServerState | None:
    """Find the server among this machine's processes: its starter was killed before it wrote, or the file is gone."""
    properties = str(spark_launch.properties_file(spark_dir))
    option = "spark.connect.grpc.binding.port="
    for process in psutil.process_iter(["pid", "cmdline", "create_time"]):
        arguments = process.info["cmdline"] or []
        identity = ProcessId.of(process.info["pid"])
        ports = [argument.removeprefix(option) for argument in arguments if argument.startswith(option)]
        # Its own session leader: the launcher's short-lived children carry the same arguments.
        if properties not in arguments or not ports or identity is None or os.getsid(identity.pid) != identity.pid:
            continue
        conf = dict(line.split(" ", 1) for line in Path(properties).read_text().splitlines())
        config = ServerConfig(
            heap=conf["spark.driver.memory"],
            cores=conf["spark.master"].removeprefix("local[").removesuffix("]"),
            jars=conf["spark.driver.extraClassPath"].removesuffix("/*"),
            s3=conf.get(spark_launch.S3_OF_SERVER, ""),
        )
        log = max((spark_dir / "logs").glob("server-*.log"), default=spark_dir / "logs" / "none")
        started = datetime.fromtimestamp(process.info["create_time"], UTC).isoformat(timespec="seconds")
        state = ServerState(identity, int(ports[0]), config, started, str(log))
        write_json(_state_file(spark_dir), asdict(state))
        return state
    return None


def _read(spark_dir: Path) -> ServerState | None:
    try:
        data = json.loads(_state_file(spark_dir).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return ServerState(**{**data, "process": ProcessId(**data["process"]), "config": ServerConfig(**data["config"])})


def _state_file(spark_dir: Path) -> Path:
    return spark_dir / "server.json"


def _address(spark_dir: Path, state: ServerState) -> ServerAddress:
    # Named localhost, not 127.0.0.1: for any other host pyspark's client speaks TLS as soon as there is a token.
    return ServerAddress(f"sc://localhost:{state.port}", spark_launch.token_of(spark_dir), state.identity)


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            return True
    except OSError:
        return False


def _end(pid: int, timeout: float) -> None:
    try:
        process = psutil.Process(pid)
        process.terminate()
        try:
            process.wait(timeout)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(timeout)
    except psutil.NoSuchProcess:
        pass


def _failed(what: str, log: Path) -> str:
    return f"The Spark server {what}. The end of its log, {log}:\n{spark_launch.last_lines(log)}"


def _busy(state: ServerState, differences: list[str], users: list[SessionRecord]) -> str:
    runs = ", ".join(f"{user.run_id} (process {user.process.pid} on {user.process.host})" for user in users)
    return (
        f"The Spark server (process {state.process.pid}) runs with another configuration: {'; '.join(differences)}. It "
        f"is in use by {runs}. Wait for them, or end it and them (lakehouse spark stop), or ask for the configuration "
        "that runs."
    )
