"""A Python environment of its own for a tool beside the platform: installed on first use from the project's lock."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from lakehouse_assets.platform.common.errors import LakehouseError

INSTALL_SECONDS = 1800.0


@dataclass(frozen=True)
class OwnEnvironment:
    """The environment of a tool: `lock` pins every package with its hash, `takes` says what the installation takes."""

    tool: str
    lock: Path
    takes: str

    @property
    def folder(self) -> Path:
        """Where it is: a folder per lock."""
        digest = hashlib.sha256(self.lock.read_bytes()).hexdigest()[:16]
        return Path(sys.prefix) / "share" / "lakehouse" / self.tool.lower() / digest

    @property
    def packages(self) -> Path:
        """Its folder of packages."""
        return self.folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"

    def ensure(self, say: Callable[[str], None] = lambda _: None) -> Path:
        """The folder, installed when it is not there yet. Safe under concurrency. Raises LakehouseError."""
        folder = self.folder
        ready = folder / "ready"
        if ready.exists():
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock"), timeout=INSTALL_SECONDS):
            if not ready.exists():
                say(f"Installing {self.tool} ({self.takes}, once) ...")
                shutil.rmtree(folder, ignore_errors=True)  # what an interrupted installation left
                self._install(folder)
                ready.touch()
        return folder

    def _install(self, folder: Path) -> None:
        """With uv where this environment has one, which is much faster than pip."""
        python, uv = folder / "bin" / "python", Path(sys.executable).with_name("uv")
        if uv.exists():
            self._run(sys.executable, "-m", "venv", "--without-pip", str(folder))
            self._run(str(uv), "pip", "sync", "--quiet", "--python", str(python), "--require-hashes", str(self.lock))
        else:
            self._run(sys.executable, "-m", "venv", str(folder))
            hashes = ("--no-deps", "--require-hashes", "-r", str(self.lock))
            self._run(str(python), "-m", "pip", "install", "--quiet", *hashes)

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            end = "\n".join(done.stderr.strip().splitlines()[-10:])
            raise LakehouseError(f"{self.tool} could not be installed ({Path(command[0]).name} failed):\n{end}")
