"""A server of this home, for development and tests: started detached, found again, ended. Loopback only."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import psutil
from filelock import FileLock

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.common.process_id import ProcessId
from lakehouse_assets.platform.runtime.session_records import write_json
from lakehouse_assets.platform.runtime.spark_launch import free_port, last_lines
from lakehouse_assets.settings import Settings

if TYPE_CHECKING:
    from io import BufferedWriter

STOP_SECONDS = 30.0


@dataclass(frozen=True)
class RunningServer:
    """A server that runs: its process and its port on 127.0.0.1."""

    process: ProcessId
    port: int
    started: str


@dataclass(frozen=True)
class Launch:
    """A command line and its environment."""

    command: Sequence[str]
    environment: Mapping[str, str]


class Kind(Protocol):
    """What differs from server to server."""

    def prepare(self, settings: Settings, folder: Path, port: int, log: "BufferedWriter") -> Launch:
        """Write what it needs for a port into its folder, run what must run before, and say how it is started."""
        ...

    def answers(self, port: int) -> bool:
        """Whether it takes requests."""
        ...


@dataclass(frozen=True)
class HomeServer:
    """A server of a home: its name is its folder's. `start_seconds`: how long it may take until it answers."""

    name: str
    kind: Kind
    start_seconds: float = 90.0

    def folder(self, settings: Settings) -> Path:
        """Data, state and log of this home's server."""
        return settings.home.absolute() / self.name

    def running(self, settings: Settings) -> RunningServer | None:
        """The server of this home, if it runs."""
        try:
            data = json.loads((self.folder(settings) / "server.json").read_text())
        except (FileNotFoundError, NotADirectoryError):
            return None
        found = RunningServer(ProcessId(**data["process"]), data["port"], data["started"])
        return found if found.process.alive else None

    def start(self, settings: Settings) -> RunningServer:
        """Start the server, or find the one that runs. It keeps its port and its data. Raises LakehouseError."""
        folder = self.folder(settings)
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "server.lock", timeout=2 * self.start_seconds):
            found = self.running(settings)
            if found is not None:
                self._await(found, None, folder)
                return found
            port = self._port(folder)
            with (folder / "server.log").open("ab") as log:
                launch = self.kind.prepare(settings, folder, port, log)
                process = subprocess.Popen(
                    launch.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                    env=dict(launch.environment), start_new_session=True,
                )  # fmt: skip
            identity = ProcessId.of(process.pid)
            if identity is None:
                raise LakehouseError(failed(self.name, "ended at once", folder))
            server = RunningServer(identity, port, datetime.now(UTC).isoformat(timespec="seconds"))
            write_json(folder / "server.json", asdict(server))
            self._await(server, process, folder)
            return server

    def stop(self, settings: Settings, force: bool = False) -> bool:
        """End the server, politely or (`force`) as a crash would. False when none ran."""
        found = self.running(settings)
        if found is None:
            return False
        with suppress(psutil.NoSuchProcess):  # it ended by itself meanwhile
            process = psutil.Process(found.process.pid)
            if not force:
                process.terminate()
                try:
                    process.wait(STOP_SECONDS)
                except psutil.TimeoutExpired:
                    force = True
            if force:
                process.kill()
                process.wait(STOP_SECONDS)
        return True

    def _port(self, folder: Path) -> int:
        """The port of last time, so that clients find a restarted server again, else a free one."""
        try:
            port = int(json.loads((folder / "server.json").read_text())["port"])
        except FileNotFoundError:
            return free_port()
        if accepts(port):
            raise LakehouseError(
                f"Port {port} of this home's {self.name} server is taken by another process. End that."
            )
        return port

    def _await(self, server: RunningServer, process: "subprocess.Popen[bytes] | None", folder: Path) -> None:
        deadline = time.monotonic() + self.start_seconds
        while not self.kind.answers(server.port):
            if (process is not None and process.poll() is not None) or not server.process.alive:
                raise LakehouseError(failed(self.name, "ended while it started", folder))
            if time.monotonic() > deadline:
                raise LakehouseError(failed(self.name, f"does not answer after {self.start_seconds:.0f} s", folder))
            time.sleep(0.1)


def run_before(
    name: str, command: Sequence[str], folder: Path, log: "BufferedWriter", environment: Mapping[str, str]
) -> None:
    """Run to its end what a server needs before it starts. Raises LakehouseError with the end of the log."""
    done = subprocess.run(command, stdout=log, stderr=log, check=False, cwd=folder, env=dict(environment))
    if done.returncode:
        raise LakehouseError(failed(name, "could not be prepared", folder))


def failed(name: str, what: str, folder: Path) -> str:
    """What to tell of a server that failed."""
    log = folder / "server.log"
    return f"The {name} server {what}. The end of its log, {log}:\n{last_lines(log)}"


def plain_environment(*without: str) -> dict[str, str]:
    """This process's environment without the variables that begin so: options of other programs."""
    return {name: value for name, value in os.environ.items() if not name.startswith(without)}


def accepts(port: int) -> bool:
    """Whether something listens on a loopback port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            return True
    except OSError:
        return False
