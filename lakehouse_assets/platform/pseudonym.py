"""Pseudonyms: HMAC-SHA256 of an identifier, with a key from the environment that is never stored.

The same identifier has the same pseudonym in every table, so tables still join; without the key nobody can tell or
try out whose it is. The key's id is stored beside it: a pseudonym of another key does not compare.
"""

import hashlib
import hmac
from typing import TYPE_CHECKING

from lakehouse_assets.platform.errors import LakehouseError
from lakehouse_assets.platform.parse import meant
from lakehouse_assets.settings import settings

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

KEY_ID = "pseudonym_key_id"
SHORTEST = 32
_BLOCK = 64


class NoKey(LakehouseError):
    """There is no key to make pseudonyms with, or it is too short."""


def pseudonym(identifier: str) -> str:
    """The pseudonym of one identifier, 64 hexadecimal digits. Raises NoKey."""
    return hmac.new(_key(), identifier.encode(), hashlib.sha256).hexdigest()


def pseudonymized(frame: "DataFrame", *columns: str) -> "DataFrame":
    """The frame with pseudonyms in place of what these text columns say (NULL stays NULL), and `pseudonym_key_id`.

    The key travels as data of a one-row frame, so that no plan, log or error shows it. Raises NoKey.
    """
    from pyspark.sql import functions as F

    key = _key()
    block = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    pads = [bytes(byte ^ pad for byte in block) for pad in (0x36, 0x5C)]
    of_key = frame.sparkSession.createDataFrame(
        [(*pads, settings().pseudonym_key_id)], "_i binary, _o binary, _k string"
    )

    def hidden(name: str) -> "Column":
        inner = F.unhex(F.sha2(F.concat(F.col("_i"), F.encode(meant(F.col(name)), "UTF-8")), 256))
        return F.sha2(F.concat(F.col("_o"), inner), 256)

    return frame.crossJoin(F.broadcast(of_key)).select(
        *[(hidden(name) if name in columns else F.col(name)).alias(name) for name in frame.columns],
        F.col("_k").alias(KEY_ID),
    )


def _key() -> bytes:
    given = settings().pseudonym_key
    if given is None:
        raise NoKey(
            "Personal identifiers are kept as pseudonyms, and there is no key to make them with. Set "
            "LAKEHOUSE_PSEUDONYM_KEY in the environment, for example to the output of: openssl rand -hex 32"
        )
    key = given.get_secret_value().encode()
    if len(key) < SHORTEST:
        raise NoKey(f"LAKEHOUSE_PSEUDONYM_KEY is too short: it needs {SHORTEST} characters or more.")
    return key
