"""Superset's own Python environment: installed on first use from the project's lock, beside the platform's."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from lakehouse_assets.platform.common.errors import LakehouseError

SUPERSET = Path(__file__).with_name("superset")
LOCK = SUPERSET / "requirements.lock"
CONFIGURATION = SUPERSET / "superset_config.py"
PROVISION = SUPERSET / "provision.py"
INSTALL_SECONDS = 1800.0


def environment_folder() -> Path:
    """Where it is: a folder per lock."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    return Path(sys.prefix) / "share" / "lakehouse" / "superset" / digest


def ensure_environment(say: Callable[[str], None] = lambda _: None) -> Path:
    """The folder, installed when it is not there yet. Safe under concurrency. Raises LakehouseError."""
    folder = environment_folder()
    ready = folder / "ready"
    if ready.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock"), timeout=INSTALL_SECONDS):
        if not ready.exists():
            say("Installing Superset (700 MB, a minute or two, once) ...")
            shutil.rmtree(folder, ignore_errors=True)  # what an interrupted installation left
            _install(folder)
            ready.touch()
    return folder


def _install(folder: Path) -> None:
    """With uv where this environment has one, which is much faster than pip."""
    python, uv = folder / "bin" / "python", Path(sys.executable).with_name("uv")
    if uv.exists():
        _run(sys.executable, "-m", "venv", "--without-pip", str(folder))
        _run(str(uv), "pip", "sync", "--quiet", "--python", str(python), "--require-hashes", str(LOCK))
    else:
        _run(sys.executable, "-m", "venv", str(folder))
        _run(str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "-r", str(LOCK))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        end = "\n".join(done.stderr.strip().splitlines()[-10:])
        raise LakehouseError(f"Superset could not be installed ({Path(command[0]).name} failed):\n{end}")
