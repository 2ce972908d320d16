"""What `lakehouse doctor` looks at: each check says ok, or what is wrong and what to do."""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.ingest import pseudonyms
from lakehouse_assets.platform.runtime import jars, spark_launch, spark_server
from lakehouse_assets.platform.runtime.jar_sets import SPARK
from lakehouse_assets.settings import Settings

DISK_NEEDED = 2 * 1024**3
"""Bytes: Spark's shuffle files and a month of demo data, with room."""


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, whether it is well, what was seen and, if not, what to do."""

    check: str
    ok: bool
    text: str


def examine(settings: Settings) -> list[Finding]:
    """Every check, in the order in which to mend them. Changes nothing, starts nothing."""
    checks: dict[str, Callable[[Settings], str]] = {
        "java": _java,
        "jars": _jars,
        "loopback": _loopback,
        "home": _home,
        "disk": _disk,
        "s3": _s3,
        "dagster": _dagster,
        "server": _server,
        "pseudonyms": _pseudonyms,
        "credentials": _credentials,
    }
    return [_find(name, check, settings) for name, check in checks.items()]


def _find(name: str, check: Callable[[Settings], str], settings: Settings) -> Finding:
    try:
        return Finding(name, True, check(settings))
    except LakehouseError as error:
        return Finding(name, False, str(error))


def _java(_: Settings) -> str:
    java = jars.find_java()
    return f"Java {java.major}: {java.path}"


def _jars(settings: Settings) -> str:
    jars.verify(settings)
    return f"{len(SPARK.locked())} jars as locked: {jars.jars_folder(settings)}"


def _loopback(_: Settings) -> str:
    try:
        spark_launch.free_port()
    except OSError as error:
        raise LakehouseError(
            f"No port can be opened on 127.0.0.1 ({error.strerror}). Let this user listen on the loopback interface."
        ) from error
    return "ports can be opened on 127.0.0.1"


def _home(settings: Settings) -> str:
    home = settings.home.absolute()
    _writable(home, f"Make it writable for this user or set LAKEHOUSE_HOME to another folder (now {home}).")
    return f"writable: {home}"


def _disk(settings: Settings) -> str:
    free = shutil.disk_usage(_existing(settings.home.absolute())).free
    if free < DISK_NEEDED:
        raise LakehouseError(
            f"{free / 1024**3:.1f} GiB free where {settings.home.absolute()} is, {DISK_NEEDED / 1024**3:.0f} GiB "
            "needed. Make room or set LAKEHOUSE_HOME to a folder on another disk."
        )
    return f"{free / 1024**3:.0f} GiB free"


def _s3(settings: Settings) -> str:
    roots = spark_launch.buckets_of(settings)
    for root in roots:
        root.exists()
    return f"answers: {', '.join(map(str, roots))}" if roots else "no root is in a bucket"


def _dagster(settings: Settings) -> str:
    given = os.environ.get("DAGSTER_HOME")
    if not given:
        return f"DAGSTER_HOME is not set: lakehouse and make use {settings.home.absolute() / 'dagster'}"
    if not Path(given).is_absolute():
        raise LakehouseError(f"DAGSTER_HOME={given} is not an absolute path, which Dagster refuses. Set it to one.")
    _writable(Path(given), "Make it writable for this user or set DAGSTER_HOME to another folder.")
    return f"DAGSTER_HOME={given}"


def _server(settings: Settings) -> str:
    if settings.spark_remote:
        return f"a cluster's: {settings.spark_remote}"
    status = spark_server.server_status(settings)
    if not status.running and status.pid is not None:
        raise LakehouseError(
            f"Process {status.pid} is this home's Spark server, but nothing answers on port {status.port}. If it is "
            "not just starting: lakehouse spark stop"
        )
    if not status.running:
        return "not running: the first run starts it"
    return f"process {status.pid}, port {status.port}, sessions: {len(status.sessions)}"


def _pseudonyms(settings: Settings) -> str:
    """No key is no fault of a machine on which nobody needs one yet; where data are shared it is."""
    if settings.pseudonym_key is None and not pseudonyms.is_shared(settings):
        file = pseudonyms.development_key_file(settings)
        if not file.exists():
            return "no key: lakehouse dev makes one for development, or set LAKEHOUSE_PSEUDONYM_KEY (loyalty needs it)"
        if file.stat().st_mode & 0o077:
            raise LakehouseError(f"Others can read {file}. chmod 600 {file}")
        return f"this home's own key for development, {pseudonyms.DEVELOPMENT!r}: {file}"
    return f"key {pseudonyms.key(settings).id!r} of the environment"


def _credentials(settings: Settings) -> str:
    """What the settings refuse is never seen here: no command, this one included, gets that far."""
    hosts = sorted({one.host for one in settings.exposures})
    if not hosts:
        return "none leaves this machine without TLS"
    return f"in clear to {', '.join(hosts)}, as LAKEHOUSE_PLAINTEXT_HOSTS allows"


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _writable(folder: Path, todo: str) -> None:
    nearest = _existing(folder)
    try:
        # Tried, not asked: the permission bits do not know of read-only and network disks.
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise LakehouseError(f"Cannot write in {nearest}: {error.strerror}. {todo}") from error
