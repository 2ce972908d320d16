"""Proof that an S3 server honours `If-None-Match`: else, of two commits of delta-rs at once, one is lost in silence."""

import secrets

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.storage.location import Location
from lakehouse_assets.platform.storage.s3 import S3Path

_proved: set[tuple[str, str | None]] = set()
"""Buckets, by their endpoints, that this process has seen honour it."""


def prove_conditional_puts(place: Location) -> None:
    """Put an object twice where there is none, and take it away: once a process and bucket. Of a folder: nothing.

    Called before anything is written that a commit will name. Raises StoreError; LakehouseError if both puts succeed.
    """
    if not isinstance(place, S3Path) or (place.bucket, place.endpoint) in _proved:
        return
    probe = place / f"_probe-{secrets.token_hex(8)}"
    try:
        if probe.create(b"") and probe.create(b""):
            raise LakehouseError(
                f"S3 at {place.endpoint or 'AWS'} ignores If-None-Match: of two commits at once both would succeed and "
                "one be lost. Use an S3 server that honours conditional puts. Nothing was written."
            )
    finally:
        probe.unlink()
    _proved.add((place.bucket, place.endpoint))
