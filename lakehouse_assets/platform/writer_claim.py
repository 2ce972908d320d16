"""One Spark server writes the tables of a bucket: the first home that writes claims them, another is refused.

Delta's log store for S3 is safe for the commits of one JVM alone; two servers could overwrite each other's commits in
silence. A home has one server at a time (`server.py`), so the claim names the home. It is an object put only where
there is none; that this S3 honours such puts is proved first.
"""

import json
import secrets
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lakehouse_assets.platform.conditional_put import prove_conditional_puts
from lakehouse_assets.platform.errors import LakehouseError
from lakehouse_assets.platform.s3 import S3Path
from lakehouse_assets.settings import Settings

CLAIM = "_lakehouse/writer.json"
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class ForeignWriter(LakehouseError):
    """The tables belong to another Spark server."""


@dataclass(frozen=True)
class Writer:
    """Who writes: an identifier that stays, and where a person finds it."""

    id: str
    where: str


def claim_tables(settings: Settings) -> None:
    """Make sure that this home's Spark server is the one that writes the lake. A lake in a folder needs none.

    Raises ForeignWriter, StoreError; LakehouseError where S3 does not honour conditional puts.
    """
    if not isinstance(settings.lake, S3Path):
        return
    ours, place = _writer(settings), settings.lake / CLAIM
    if not place.is_file():
        prove_conditional_puts(settings.lake)
        if place.create(json.dumps(asdict(ours)).encode()):
            return
    theirs = Writer(**json.loads(place.read_bytes()))
    if theirs.id != ours.id:
        raise ForeignWriter(
            f"The tables in {settings.lake} are written by the Spark server of {theirs.where}: a second would lose "
            "commits. Use that one (LAKEHOUSE_SPARK_REMOTE), or another prefix (LAKEHOUSE_LAKE). If it is "
            "stopped for good: lakehouse spark take-over"
        )


def take_over(settings: Settings) -> Writer:
    """Let this home's Spark server write the lake from now on. Raises LakehouseError for a lake in a folder."""
    if not isinstance(settings.lake, S3Path):
        raise LakehouseError(f"{settings.lake} is a folder: it needs no taking over.")
    writer = _writer(settings)
    prove_conditional_puts(settings.lake)
    (settings.lake / CLAIM).write_bytes(json.dumps(asdict(writer)).encode())
    return writer


def _writer(settings: Settings) -> Writer:
    """This home, or the cluster that it uses. A server on loopback is another one on every machine."""
    remote = settings.spark_remote
    if remote and (urlsplit(remote).hostname or "") not in LOOPBACK:
        return Writer(remote.partition(";")[0], remote.partition(";")[0])
    own, where = _name_of(settings.spark_dir), f"{settings.home.absolute()} on {socket.gethostname()}"
    return Writer(f"{own} {remote.partition(';')[0]}" if remote else own, where)  # a home may know two servers


def _name_of(spark_dir: Path) -> str:
    """A name that this home keeps for ever."""
    file = spark_dir / "writer"
    spark_dir.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"writer.{secrets.token_hex(4)}")
    if not file.exists():
        part.write_text(secrets.token_hex(16))
        try:
            file.hardlink_to(part)
        except FileExistsError:
            pass  # another process was first
        finally:
            part.unlink()
    return file.read_text()
