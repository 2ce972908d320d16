"""Which process was that, and is it provably gone? A pid alone does not say: pids are reused."""

import socket
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class ProcessId:
    """One process for ever: host, pid and its start (on Linux boot id and clock ticks, which no clock change moves)."""

    host: str
    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> "ProcessId | None":
        """The process that has this pid now on this host; None when there is none, or only its unreaped remains."""
        started = _started(pid)
        return None if started is None else cls(socket.gethostname(), pid, started)

    @property
    def elsewhere(self) -> bool:
        """It ran on another host, about whose processes nothing can be proven here."""
        return self.host != socket.gethostname()

    @property
    def dead(self) -> bool:
        """Provably gone."""
        return not self.elsewhere and _started(self.pid) != self.started

    @property
    def alive(self) -> bool:
        """Provably running."""
        return not self.elsewhere and not self.dead


def _started(pid: int) -> str | None:
    """When the process of that pid started, as a text to compare; None when it does not run.

    psutil's create time is the boot time plus ticks, and the boot time moves when the clock is set, so that a live
    process would look like another one.
    """
    stat = Path(f"/proc/{pid}/stat")
    if not Path("/proc/self/stat").exists():
        try:
            process = psutil.Process(pid)
            return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
        except psutil.NoSuchProcess:
            return None
    try:
        # The second field, the command, may hold spaces and brackets: count from its end.
        fields = stat.read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] in "ZX":
        return None
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}:{fields[19]}"
