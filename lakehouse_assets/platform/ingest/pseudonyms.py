"""Pseudonyms: HMAC-SHA256 of an identifier, with a key from the environment that is never stored in a table.

The same identifier has the same pseudonym in every table, so tables still join; without the key nobody can tell or
try out whose it is. The key's id is stored beside it: a pseudonym of another key does not compare.

On a machine of one's own, `lakehouse dev` and `lakehouse demo` make a key of that home, called `dev-` and
the first digits of its SHA-256. It is not taken where data are shared: beside a cluster's Spark, a bucket or a
PostgreSQL to publish to, the environment must give a key.
"""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.storage.s3 import S3Path
from lakehouse_assets.settings import Settings, settings

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

KEY_ID = "pseudonym_key_id"
SHORTEST = 32
DEVELOPMENT = "dev-"
_BLOCK = 64


class NoKey(LakehouseError):
    """There is no key to make pseudonyms with, or it is too short."""


@dataclass(frozen=True)
class Key:
    """A key and its name."""

    id: str
    secret: bytes = field(repr=False)


def pseudonym(identifier: str) -> str:
    """The pseudonym of one identifier, 64 hexadecimal digits. Raises NoKey."""
    return hmac.new(key(settings()).secret, identifier.encode(), hashlib.sha256).hexdigest()


def pseudonymized(frame: "DataFrame", *columns: str) -> "DataFrame":
    """The frame with pseudonyms in place of what these text columns say (NULL stays NULL), and `pseudonym_key_id`.

    The key travels as data of a one-row frame, so that no plan, log or error shows it. Raises NoKey.
    """
    from pyspark.sql import functions as F

    from lakehouse_assets.platform.contracts.casting import meant

    known = key(settings())
    secret = known.secret
    block = (hashlib.sha256(secret).digest() if len(secret) > _BLOCK else secret).ljust(_BLOCK, b"\0")
    pads = [bytes(byte ^ pad for byte in block) for pad in (0x36, 0x5C)]
    of_key = frame.sparkSession.createDataFrame([(*pads, known.id)], "_i binary, _o binary, _k string")

    def hidden(name: str) -> "Column":
        inner = F.unhex(F.sha2(F.concat(F.col("_i"), F.encode(meant(F.col(name)), "UTF-8")), 256))
        return F.sha2(F.concat(F.col("_o"), inner), 256)

    return frame.crossJoin(F.broadcast(of_key)).select(
        *[(hidden(name) if name in columns else F.col(name)).alias(name) for name in frame.columns],
        F.col("_k").alias(KEY_ID),
    )


def key(here: Settings) -> Key:
    """The key of these settings, else the home's own for development, if there is one. Raises NoKey."""
    if here.pseudonym_key is not None:
        secret = here.pseudonym_key.get_secret_value().encode()
        if len(secret) < SHORTEST:
            raise NoKey(f"LAKEHOUSE_PSEUDONYM_KEY is too short: it needs {SHORTEST} characters or more.")
        return Key(here.pseudonym_key_id, secret)
    missing = "Personal identifiers are kept as pseudonyms, and there is no key to make them with. Set "
    told = "LAKEHOUSE_PSEUDONYM_KEY in the environment, for example to the output of: openssl rand -hex 32"
    if is_shared(here):
        raise NoKey(f"{missing}{told} (beside a shared cluster, bucket or PostgreSQL no key for development is taken)")
    try:
        secret = development_key_file(here).read_bytes()
    except FileNotFoundError:
        raise NoKey(f"{missing}{told}. Or let `lakehouse dev` make one for development on this machine.") from None
    return Key(DEVELOPMENT + hashlib.sha256(secret).hexdigest()[:8], secret)


def is_shared(here: Settings) -> bool:
    """Whether others work with these data: then a key that one machine made for itself is no key."""
    in_buckets = any(isinstance(root, S3Path) for root in (here.lake, here.landing))
    return in_buckets or here.spark_remote is not None or here.warehouse_url is not None


def development_key_file(here: Settings) -> Path:
    """Where a home keeps its own key."""
    return here.home.absolute() / "pseudonym.key"


def ensure_development_key(here: Settings) -> bool:
    """Make the home's own key, readable by its owner alone, where no key is set and data are not shared.

    True when it was made now.
    """
    file = development_key_file(here)
    if here.pseudonym_key is not None or is_shared(here) or file.exists():
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(secrets.token_hex(SHORTEST))
    try:
        os.link(part, file)  # whole or not at all; of two at once the first one counts
    except FileExistsError:
        return False
    finally:
        part.unlink()
    return True
