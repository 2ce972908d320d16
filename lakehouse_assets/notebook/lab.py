"""JupyterLab of this home: in an environment of its own, on this machine's loopback, behind a token.

Its kernel is the platform's own Python, with the packages of that environment on its path.
"""

import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lakehouse_assets.ops.own_environment import OwnEnvironment
from lakehouse_assets.platform.runtime.dev_server import plain_environment
from lakehouse_assets.settings import Settings

ENVIRONMENT = OwnEnvironment("JupyterLab", Path(__file__).with_name("jupyter") / "requirements.lock", "300 MB")
KERNEL = "python3"
PACKAGED, CHECKED_OUT = Path(__file__).with_name("notebooks"), Path(__file__).parents[2] / "docs" / "notebooks"
SHIPPED = PACKAGED if PACKAGED.is_dir() else CHECKED_OUT
"""The project's notebooks: of an installed wheel, else of the checkout."""
LONGEST_SOCKET = 107
"""Bytes of a socket's path; a kernel's is that of the folder `runtime` and its own name."""
OWN_NAME = len("/kernel-00000000-0000-0000-0000-000000000000-ipc-10")


@dataclass(frozen=True)
class Lab:
    """How JupyterLab starts: its command, its environment, the folder of notebooks, the address with the token."""

    command: tuple[str, ...]
    environment: dict[str, str]
    folder: Path
    url: str


def prepare(here: Settings, port: int, say: Callable[[str], None]) -> Lab:
    """Install JupyterLab if need be, put the project's notebooks into the home where they are not, make a token.

    Raises LakehouseError where it cannot be installed.
    """
    jupyter = ENVIRONMENT.ensure(say) / "bin" / "jupyter"
    home = here.home.absolute()
    folder, own = home / "notebooks", home / "jupyter"
    folder.mkdir(parents=True, exist_ok=True)
    own.mkdir(mode=0o700, exist_ok=True)
    _copy_notebooks(folder)
    _write_kernel(own / "kernels" / KERNEL, home)
    token = secrets.token_urlsafe(32)
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.answer_yes": True,
        "ServerApp.root_dir": folder,
        "ServerApp.allow_root": os.geteuid() == 0,  # in a container there may be nobody else
        # Sockets in a private folder; where their paths are too long, loopback with signed messages.
        "KernelManager.transport": "ipc" if len(os.fsencode(own / "runtime")) + OWN_NAME <= LONGEST_SOCKET else "tcp",
        # Nothing is fetched from elsewhere: neither extensions nor news.
        "LabApp.extension_manager": "readonly",
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
    }
    command = (str(jupyter), "lab", "--no-browser", *[f"--{name}={value}" for name, value in options.items()])
    own_folders = {f"JUPYTER_{name}_DIR": str(own / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    environment = plain_environment("JUPYTER_", "PYTHON") | own_folders
    # Nobody's own configuration can open it to others or take the token away.
    environment |= {"JUPYTER_PATH": str(own), "JUPYTER_NO_CONFIG": "1", "JUPYTER_TOKEN": token}
    return Lab(command, environment, folder, f"http://127.0.0.1:{port}/lab?token={token}")


def _copy_notebooks(folder: Path) -> None:
    """What somebody changed in the home stays."""
    for notebook in SHIPPED.glob("*.ipynb"):
        if not (folder / notebook.name).exists():
            shutil.copyfile(notebook, folder / notebook.name)


def _write_kernel(folder: Path, home: Path) -> None:
    """The platform's Python as Jupyter's kernel: of this home, wherever the notebook lies."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Lakehouse",
        "language": "python",
        "env": {
            "PYTHONPATH": str(ENVIRONMENT.packages),
            "LAKEHOUSE_HOME": str(home),
            "DAGSTER_HOME": os.environ.get("DAGSTER_HOME", str(home / "dagster")),
        },
    }
    (folder / "kernel.json").write_text(json.dumps(spec, indent=1), encoding="utf-8")
