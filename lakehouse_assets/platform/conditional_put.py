"""Proof that an S3 server honours `If-None-Match`: else, of two commits of delta-rs at once, one is lost in silence."""

import secrets

from lakehouse_assets.platform.errors import LakehouseError
from lakehouse_assets.platform.s3 import S3Path


def prove_conditional_puts(place: S3Path) -> None:
    """Put an object twice where there is none, and take it away. Raises StoreError; LakehouseError if both succeed."""
    probe = place / f"_probe-{secrets.token_hex(8)}"
    try:
        if probe.create(b"") and probe.create(b""):
            raise LakehouseError(
                f"S3 at {place.endpoint or 'AWS'} ignores If-None-Match: of two commits at once both would succeed and "
                "one be lost. Use an S3 server that honours conditional puts. Nothing was written."
            )
    finally:
        probe.unlink()
