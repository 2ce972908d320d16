"""Runs a few processes as one: output with prefixes, and when one ends or a signal arrives, all end in order."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import FrameType, TracebackType
from typing import TextIO

from lakehouse_assets.platform.common.errors import LakehouseError

END_SECONDS = 20  # how long a process may take to end before it is killed


@dataclass(frozen=True)
class Ended:
    """Why the processes end: one of them did (its name and exit code) or a signal arrived (its number)."""

    name: str = ""
    code: int = 0
    signal: int = 0


class Supervisor:
    """Children of this process, each in a process group of its own; leaving the context ends them, last first."""

    def __init__(self, environment: Mapping[str, str], output: TextIO = sys.stdout) -> None:
        self._environment = dict(environment)
        self._output = output
        self._children: list[tuple[str, subprocess.Popen[str]]] = []
        self._printers: list[threading.Thread] = []
        # Filled by signal handlers too, which SimpleQueue allows.
        self._ended: SimpleQueue[Ended] = SimpleQueue()

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _, child in reversed(self._children):
            _end(child)
        for printer in self._printers:
            printer.join(timeout=5)

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a child; its lines are printed with its name in front."""
        child = subprocess.Popen(
            command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches this process alone, which ends the children in order
        )
        self._children.append((name, child))
        for work in (self._print, self._wait):
            thread = threading.Thread(target=work, args=(name, child), daemon=True)
            thread.start()
            if work == self._print:
                self._printers.append(thread)

    def wait_for_port(self, port: int, seconds: float) -> Ended | None:
        """None as soon as a child listens on the loopback port; else what happened meanwhile.

        Raises LakehouseError after `seconds`.
        """
        for _ in range(int(seconds / 0.2)):
            if accepts(port):
                return None
            try:
                return self._ended.get(timeout=0.2)
            except Empty:
                continue
        raise LakehouseError(f"Nothing listened on port {port} within {seconds:.0f} s. The lines above say why.")

    def wait(self) -> Ended:
        """Block until a child ends or a signal arrives."""
        return self._ended.get()

    @contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Within, Ctrl-C, SIGTERM and a closed terminal end `wait` instead of the process."""

        def handle(number: int, _frame: FrameType | None) -> None:
            self._ended.put(Ended(signal=number))

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _print(self, name: str, child: "subprocess.Popen[str]") -> None:
        assert child.stdout is not None, "started with a pipe"
        for line in child.stdout:
            self._output.write(f"{name:<9} | {line}")
            self._output.flush()

    def _wait(self, name: str, child: "subprocess.Popen[str]") -> None:
        self._ended.put(Ended(name=name, code=child.wait()))


def accepts(port: int) -> bool:
    """Whether something listens on this loopback port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _end(child: "subprocess.Popen[str]") -> None:
    if child.poll() is None:
        child.terminate()
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=END_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # what it left behind, or itself
    child.wait()
