"""Superset of this home: its secrets, its database, its process. Loopback only."""

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

from filelock import FileLock

from lakehouse_assets.bi.access import dashboards_url, prepare_tables
from lakehouse_assets.bi.declaration import Dashboard
from lakehouse_assets.bi.environment import CONFIGURATION, ENVIRONMENT, LOCK, PROVISION
from lakehouse_assets.bi.files import write_files
from lakehouse_assets.platform.runtime.dev_server import (
    HomeServer,
    Launch,
    RunningServer,
    plain_environment,
    run_before,
)
from lakehouse_assets.serving.postgres import keep_with
from lakehouse_assets.settings import Settings

if TYPE_CHECKING:
    from io import BufferedWriter

ADMIN = "admin"
THREADS = 8
PROVISION_SECONDS = 600.0


@dataclass(frozen=True)
class SupersetKind:
    """Superset in gunicorn: one process, some threads."""

    def prepare(self, settings: Settings, folder: Path, port: int, log: "BufferedWriter") -> Launch:
        """The command; the database was prepared before."""
        gunicorn = ENVIRONMENT.ensure() / "bin" / "gunicorn"
        command = [
            str(gunicorn), "--bind", f"127.0.0.1:{port}", "--workers", "1", "--worker-class", "gthread",
            "--threads", str(THREADS), "--timeout", "120", "--log-level", "warning", "superset.app:create_app()",
        ]  # fmt: skip
        return Launch(command, _environment(settings, folder))

    def answers(self, port: int) -> bool:
        """It says that it is healthy."""
        try:
            with urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
                return bool(answer.status == 200)
        except (URLError, ConnectionError, TimeoutError):
            return False


SERVER = HomeServer("superset", SupersetKind(), start_seconds=180.0)


def start(settings: Settings, boards: tuple[Dashboard, ...], say: Callable[[str], None]) -> RunningServer:
    """Install Superset if need be, bring its dashboards up to date, start it or find it running.

    What somebody changed in the browser stays until the declarations change. Raises LakehouseError.
    """
    ENVIRONMENT.ensure(say)
    folder = SERVER.folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    tables = {chart.source.table for board in boards for row in board.charts for chart in row}
    prepare_tables(settings, sorted(tables, key=lambda table: table.key))
    _provision(settings, boards, folder, say)
    say("Starting Superset ...")
    found = SERVER.start(settings)
    keep_with(settings, found.process.pid)
    return found


def password_file(settings: Settings) -> Path:
    """Where the administrator's password is."""
    return SERVER.folder(settings) / "admin_password"


def _provision(settings: Settings, boards: tuple[Dashboard, ...], folder: Path, say: Callable[[str], None]) -> None:
    """Import the dashboards, unless what would be imported was already."""
    with FileLock(folder / "provision.lock", timeout=PROVISION_SECONDS):
        files = folder / "files"
        shutil.rmtree(files, ignore_errors=True)
        write_files(boards, files)
        digest = hashlib.sha256(LOCK.read_bytes() + PROVISION.read_bytes())
        for path in sorted(files.rglob("*.yaml")):
            digest.update(str(path.relative_to(files)).encode() + path.read_bytes())
        stamp = folder / "imported"
        if stamp.exists() and stamp.read_text() == digest.hexdigest():
            return
        say("Preparing Superset's database and dashboards (half a minute the first time) ...")
        python = ENVIRONMENT.ensure() / "bin" / "python"
        environment = _environment(settings, folder) | {"SUPERSET_ADMIN_PASSWORD": _secret(password_file(settings))}
        with (folder / "server.log").open("ab") as log:
            run_before(SERVER.name, [str(python), str(PROVISION), str(files)], folder, log, environment)
        stamp.write_text(digest.hexdigest())


def _environment(settings: Settings, folder: Path) -> dict[str, str]:
    """What Superset's configuration reads; secrets are in the process's environment and in files of mode 0600 alone."""
    warehouse = dashboards_url(settings).get_secret_value()
    return plain_environment("SUPERSET_", "FLASK_", "PYTHON", "LAKEHOUSE_", "AWS_", "DAGSTER_", "GUNICORN_") | {
        "SUPERSET_CONFIG_PATH": str(CONFIGURATION),
        "SUPERSET_HOME": str(folder),
        "SUPERSET_SECRET_KEY": _secret(folder / "secret_key"),
        "SUPERSET_METADATA_URL": f"sqlite:///{folder / 'superset.db'}",
        "SUPERSET_WAREHOUSE_URL": "postgresql+psycopg2://" + warehouse.partition("://")[2],
        "PYTHONUNBUFFERED": "1",
    }


def _secret(path: Path) -> str:
    """A secret made once, readable by its owner alone."""
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32))
    except FileExistsError:
        pass
    secret = path.read_text().strip()
    if not secret:  # its maker was killed between the two lines above; nobody can have used it
        path.unlink()
        return _secret(path)
    return secret
