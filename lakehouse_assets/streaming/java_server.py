"""A Java server of this home, for development and tests: started detached, found again, ended. Loopback only."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from filelock import FileLock

from lakehouse_assets.platform.errors import LakehouseError
from lakehouse_assets.platform.jars import JarSet, ensure_jars, find_java
from lakehouse_assets.platform.processes import ProcessId
from lakehouse_assets.platform.server_launch import free_port, last_lines
from lakehouse_assets.platform.session_records import write_json
from lakehouse_assets.settings import Settings

START_SECONDS = 90.0
STOP_SECONDS = 30.0


@dataclass(frozen=True)
class RunningServer:
    """A server that runs: its process and its port on 127.0.0.1."""

    process: ProcessId
    port: int
    started: str


@dataclass(frozen=True)
class JavaServer:
    """A kind of server: its jars, heap, and how it is laid out in its folder.

    `prepare` writes what it needs for a port into the folder, runs what must run before (it is given `java`), and
    returns the main class with its arguments.
    """

    name: str
    jars: JarSet
    heap: str
    prepare: Callable[[Path, int, Callable[[Sequence[str]], None]], Sequence[str]]

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
        with FileLock(folder / "server.lock", timeout=2 * START_SECONDS):
            found = self.running(settings)
            if found is not None:
                self._await(found, None, folder)
                return found
            java = [str(find_java().path), f"-Xmx{self.heap}", "-cp", f"{ensure_jars(settings, self.jars)}/*"]
            port = self._port(folder)
            with (folder / "server.log").open("ab") as log:

                def run(arguments: Sequence[str]) -> None:
                    done = subprocess.run([*java, *arguments], stdout=log, stderr=log, check=False, cwd=folder)
                    if done.returncode:
                        raise LakehouseError(self._failed("could not be prepared", folder))

                main = self.prepare(folder, port, run)
                process = subprocess.Popen(
                    [*java, *main], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                    env=_environment(os.environ), start_new_session=True,
                )  # fmt: skip
            identity = ProcessId.of(process.pid)
            if identity is None:
                raise LakehouseError(self._failed("ended at once", folder))
            server = RunningServer(identity, port, datetime.now(UTC).isoformat(timespec="seconds"))
            write_json(folder / "server.json", asdict(server))
            self._await(server, process, folder)
            return server

    def stop(self, settings: Settings, force: bool = False) -> bool:
        """End the server, politely or (`force`) as a crash would. False when none ran."""
        found = self.running(settings)
        if found is None:
            return False
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
        if _accepts(port):
            raise LakehouseError(
                f"Port {port} of this home's {self.name} server is taken by another process. End that."
            )
        return port

    def _await(self, server: RunningServer, process: "subprocess.Popen[bytes] | None", folder: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not _accepts(server.port):
            if (process is not None and process.poll() is not None) or not server.process.alive:
                raise LakehouseError(self._failed("ended while it started", folder))
            if time.monotonic() > deadline:
                raise LakehouseError(self._failed(f"does not answer after {START_SECONDS:.0f} s", folder))
            time.sleep(0.1)

    def _failed(self, what: str, folder: Path) -> str:
        log = folder / "server.log"
        return f"The {self.name} server {what}. The end of its log, {log}:\n{last_lines(log)}"


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Without the options of other Java programs."""
    return {name: value for name, value in environment.items() if not name.startswith(("KAFKA_", "S3PROXY_"))}


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            return True
    except OSError:
        return False
