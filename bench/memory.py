"""h: memory of a run's process, of the Spark server, and of the whole demo at its peak."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.harness import Bar, Result, Size
from bench.lab import FIRST, days, lake_at, land, spark_session
from lakehouse_assets.settings import settings

MIB = 2**20
PERIOD = 0.5


@dataclass
class Peaks:
    """The most memory seen, in MiB: of any one process of the tree, of the Spark server, of all together."""

    process: float = 0
    server: float = 0
    together: float = 0
    ended: threading.Event = field(default_factory=threading.Event)


def measure(size: Size, folder: Path) -> Result:
    """A range run in a process of its own, then `lakehouse demo` from nothing."""
    from lakehouse_assets.platform.runtime.spark_server import server_status

    span = days(FIRST, size.year_days)
    with lake_at(folder):
        land(folder, span[0], span[-1], size.purchases)
        spark_session()
        command = [
            sys.executable, "-m", "dagster", "asset", "materialize", "-m", "lakehouse_assets.definitions",
            "--select", 'group:"gmv/*"', "--partition-range", f"{span[0]}...{span[-1]}",
        ]  # fmt: skip
        with _watching(command, os.environ, server_status(settings()).pid) as run:
            pass
    heap = settings().spark_heap
    figures = {
        "run process, MiB": run.process,
        "Spark server's heap as bounded, MiB": float(_mib(heap)),
        "Spark server, resident, MiB": run.server,
    }
    bars = [Bar("run process, MiB", 600), Bar("Spark server's heap as bounded, MiB", 3 * 1024)]
    if size.name != "tiny":  # which is not to start a server of its own
        figures["whole demo, resident, MiB"] = _demo(folder / "demo", size)
        bars.append(Bar("whole demo, resident, MiB", 6 * 1024))
    title = f"memory of a run of {size.year_days} days, of its Spark server (-Xmx{heap}), and of the demo"
    return Result("h", title, figures, tuple(bars))


def _demo(home: Path, size: Size) -> float:
    from lakehouse_assets.platform.runtime.spark_server import stop_server

    environment = os.environ | {"LAKEHOUSE_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
    command = [str(Path(sys.executable).with_name("lakehouse")), "demo", "--scale", str(min(size.purchases, 150) / 150)]
    with _watching(command, environment, None) as whole:
        stop_server(settings().model_copy(update={"home": home}))
    return whole.together


def _mib(heap: str) -> int:
    return int(heap[:-1]) * (1024 if heap.endswith("g") else 1)


@contextmanager
def _watching(
    command: list[str], environment: dict[str, str] | os._Environ[str], server: int | None
) -> Iterator[Peaks]:
    """Run a command to its end while looking at its processes; `server` is counted with it."""
    peaks = Peaks()
    with subprocess.Popen(
        command, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        watcher = threading.Thread(target=_watch, args=(process.pid, server, peaks), daemon=True)
        watcher.start()
        output = process.communicate()[0]
        peaks.ended.set()
        watcher.join()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{output[-3000:]}")
    yield peaks


def _watch(pid: int, server: int | None, peaks: Peaks) -> None:
    while not peaks.ended.is_set():
        found = _tree(pid) + ([psutil.Process(server)] if server else [])
        sizes = {process.pid: _resident(process) for process in found}
        java = max((size for pid_, size in sizes.items() if pid_ == server or _is_java(pid_)), default=0.0)
        python = [size for pid_, size in sizes.items() if pid_ != server and not _is_java(pid_)]
        peaks.process = max(peaks.process, *python, 0)
        peaks.server = max(peaks.server, java)
        peaks.together = max(peaks.together, sum(sizes.values()))
        peaks.ended.wait(PERIOD)


def _tree(pid: int) -> list[psutil.Process]:
    """A process, its children, and the detached Spark server they may have started since."""
    try:
        parent = psutil.Process(pid)
        children = parent.children(recursive=True)
        begun = parent.create_time()
        home = parent.environ().get("LAKEHOUSE_HOME", "")
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []
    servers = [
        p for p in psutil.process_iter(["name", "cmdline", "create_time"])
        if p.info["name"] == "java" and p.info["create_time"] >= begun
        and home and any(home in part for part in p.info["cmdline"] or [])
    ]  # fmt: skip
    return list({p.pid: p for p in (parent, *children, *servers)}.values())


def _resident(process: psutil.Process) -> float:
    try:
        return process.memory_full_info().pss / MIB
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0.0


def _is_java(pid: int) -> bool:
    try:
        return psutil.Process(pid).name() == "java"
    except psutil.NoSuchProcess:
        return False
