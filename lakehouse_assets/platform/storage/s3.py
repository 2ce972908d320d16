"""S3: a key of a bucket as a path, the connection to its endpoint, and what goes wrong there, said in seconds.

The endpoint is `LAKEHOUSE_S3_ENDPOINT` (else AWS); credentials come from the environment (`AWS_*`), else from the
machine's role, and are never shown.
"""

import hmac
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from lakehouse_assets.platform.common.errors import LakehouseError

if TYPE_CHECKING:
    from obstore.store import S3Store
    from pyarrow.fs import FileSystem

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
# An endpoint that is not there, or falls silent, is said within half a minute: ANSWER and RETRYING together, as what
# took longer than RETRYING is not asked again. ANSWER is for a whole request: mostly a part of a file, of some MB.
CONNECT, ANSWER, PROBE = "5 seconds", "20 seconds", "10 seconds"
RETRIES, RETRYING = 2, timedelta(seconds=10)
NO_KEY = ("Missing AccessKeyId", "Missing SecretAccessKey", "169.254.169.254")  # the last: a machine without a role
UNKNOWN_KEY = (
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "401 Unauthorized",
    "valid authentication credentials",
)  # fmt: skip
NOT_ALLOWED = ("AccessDenied", "403 Forbidden", "necessary privileges")
OF_S3 = ("S3 error", "AWS Error", "valid authentication credentials", "necessary privileges")
"""How S3, object_store below delta-rs and obstore, and pyarrow say it."""


class StoreError(LakehouseError):
    """S3 does not answer, refuses the credentials, or has no such bucket."""


@dataclass(frozen=True, order=True)
class S3Path:
    """A key of a bucket, or what lies below it. Reading raises FileNotFoundError, and StoreError where S3 fails."""

    bucket: str
    key: str = ""
    endpoint: str | None = None

    def __str__(self) -> str:
        return f"s3a://{self.bucket}/{self.key}".rstrip("/")

    def __truediv__(self, name: str) -> "S3Path":
        return self.joinpath(name)

    def joinpath(self, *names: str) -> "S3Path":
        """What lies below, by its names."""
        return replace(self, key="/".join(part.strip("/") for part in (self.key, *names) if part.strip("/")))

    @property
    def parent(self) -> "S3Path":
        """What this lies in."""
        return replace(self, key=self.key.rpartition("/")[0])

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]

    def absolute(self) -> "S3Path":
        """Itself: a bucket is the same from everywhere."""
        return self

    def exists(self) -> bool:
        """Whether there is an object of this key, or one below it."""
        return self.is_file() or next(self.below(), None) is not None

    def is_file(self) -> bool:
        """Whether there is an object of this key."""
        return self.key != "" and self.version() is not None

    def version(self) -> tuple[str, int] | None:
        """What tells this object from a later one of the same key: its ETag and last change; None: there is none."""
        import obstore

        with _explained(self):
            try:
                found = obstore.head(_store(self), self.key)
            except FileNotFoundError:
                return None
        return found["e_tag"] or "", int(found["last_modified"].timestamp() * 1e9)

    def read_bytes(self) -> bytes:
        """The whole object."""
        import obstore

        with _explained(self):
            return bytes(obstore.get(_store(self), self.key).bytes())

    def read_text(self, encoding: str = "utf-8") -> str:
        """The whole object as text."""
        return self.read_bytes().decode(encoding)

    def open(self, encoding: str = "utf-8") -> io.StringIO:
        """The whole object as lines of text."""
        return io.StringIO(self.read_text(encoding))

    def write_bytes(self, data: bytes) -> None:
        """Put the object, whole or not at all."""
        import obstore

        with _explained(self):
            obstore.put(_store(self), self.key, data)

    def create(self, data: bytes) -> bool:
        """Put the object where there is none of this key; False when there is one. Of several at once, one wins."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with _explained(self):
            try:
                obstore.put(_store(self), self.key, data, mode="create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the object; S3 does not say whether there was one."""
        import obstore

        with _explained(self):
            obstore.delete(_store(self), self.key)

    def below(self) -> Iterator[str]:
        """The keys of all objects below, as the bucket has them."""
        import obstore

        with _explained(self):
            for page in obstore.list(_store(self), f"{self.key}/" if self.key else None):
                yield from (one["path"] for one in page)


def delta_options(place: S3Path) -> dict[str, str]:
    """What delta-rs needs to open a table there; secrets among it. Raises StoreError where S3 does not answer.

    Its commits put an entry only where there is none (`If-None-Match`): of two at once, one wins.
    """
    _store(place)  # answers, or says why not
    return connection(place) | {
        "aws_conditional_put": "etag",
        "max_retries": str(RETRIES),
        "retry_timeout": f"{RETRYING.seconds} seconds",
        "timeout": ANSWER,
        "connect_timeout": CONNECT,
    }


def arrow_filesystem(place: S3Path) -> "FileSystem":
    """The bucket as pyarrow's scans read it. Raises StoreError."""
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    options = connection(place)
    scheme, _, host = (place.endpoint or "").rpartition("://")
    return S3FileSystem(
        access_key=options.get("aws_access_key_id"),
        secret_key=options.get("aws_secret_access_key"),
        session_token=options.get("aws_session_token"),
        region=options.get("aws_region"),
        endpoint_override=host or None,
        scheme=scheme or "https",
        connect_timeout=5,
        request_timeout=8,  # of silence
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=1 + RETRIES),
    )


def hadoop_options(endpoint: str | None, region: str) -> dict[str, str]:
    """What Spark's S3A client is told, as `fs.s3a.<name>`: no credentials, and to give up in seconds."""
    own = {"endpoint": endpoint, "path.style.access": "true"} if endpoint else {}
    return own | {
        "endpoint.region": region,
        "connection.ssl.enabled": str(not (endpoint or "").startswith("http://")).lower(),
        "connection.establish.timeout": "5s",
        "connection.timeout": "15s",  # without a byte; S3A takes no less
        "attempts.maximum": "1",
        "retry.limit": "1",
        "retry.interval": "500ms",
    }


def fingerprint(key: str) -> str:
    """Tells one set of credentials from another, and says nothing about them to whom has not the key."""
    given = "\n".join(os.environ.get(name, "") for name in KEYS)
    return hmac.new(key.encode(), given.encode(), "sha256").hexdigest()[:12]


def region() -> str:
    """The region of the environment."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def connection(place: S3Path) -> dict[str, str]:
    """Where S3 is, and the credentials of the environment; without them, those of the machine's role."""
    given = {name.lower(): value for name in KEYS if (value := os.environ.get(name))}
    given["aws_region"] = region()
    if place.endpoint:
        given |= {
            "aws_endpoint_url": place.endpoint,
            "aws_endpoint_url_s3": place.endpoint,  # else a variable of that name goes before the setting
            "aws_virtual_hosted_style_request": "false",
            "aws_allow_http": str(place.endpoint.startswith("http://")).lower(),
        }
    return given


def _store(place: S3Path) -> "S3Store":
    """The bucket, once it has answered in this process. Raises StoreError."""
    return _answering_store(place.bucket, place.endpoint, tuple(sorted(connection(place).items())))


@cache
def _answering_store(bucket: str, endpoint: str | None, options: tuple[tuple[str, str], ...]) -> "S3Store":
    import obstore

    place = S3Path(bucket, "", endpoint)
    with _explained(place):
        obstore.list_with_delimiter(_connect(bucket, options, PROBE, retries=1), "_lakehouse")
    return _connect(bucket, options, ANSWER, RETRIES)


def _connect(bucket: str, options: tuple[tuple[str, str], ...], answer: str, retries: int) -> "S3Store":
    from obstore.store import S3Store

    config: Any = {name: value for name, value in options if name != "aws_allow_http"}
    return S3Store(
        bucket,
        config=config,
        client_options={
            "allow_http": dict(options).get("aws_allow_http") == "true",
            "connect_timeout": CONNECT,
            "timeout": answer,
        },
        retry_config={"max_retries": retries, "retry_timeout": RETRYING},
    )


@contextmanager
def _explained(place: S3Path) -> Iterator[None]:
    """Errors of S3 as StoreError, but for an object that is not there."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise message(place, error) from None
        raise FileNotFoundError(str(place)) from error
    except BaseError as error:
        raise message(place, error) from None  # its text may hold a session's token


def message(place: S3Path, error: Exception) -> StoreError:
    where, text = place.endpoint or f"AWS ({region()})", str(error)
    if "NoSuchBucket" in text:
        return StoreError(
            f"S3 at {where} has no bucket {place.bucket}. Name another, or make it: "
            f"lakehouse bucket create {place.bucket}"
        )
    if any(sign in text for sign in NO_KEY):
        return StoreError(
            f"There are no credentials for {place}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this "
            "machine a role."
        )
    if any(sign in text for sign in UNKNOWN_KEY):
        return StoreError(
            f"S3 at {where} refuses the credentials for {place}. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a "
            "key and its secret that it knows."
        )
    if any(sign in text for sign in NOT_ALLOWED):
        return StoreError(
            f"S3 at {where} does not let this key (AWS_ACCESS_KEY_ID) use {place}. Grant it to get, put, delete and "
            "list there, or set other credentials."
        )
    if any(sign in text for sign in ("error sending request", "HTTP error", "timed out", "NETWORK_CONNECTION")):
        return StoreError(
            f"S3 at {where} does not answer ({place}). Start it, or set LAKEHOUSE_S3_ENDPOINT; then run the same "
            "again: what is there is not written twice."
        )
    first = re.sub(r"<Token-\d+>.*?</Token-\d+>", "", " ".join(text.split()))  # AWS echoes what it was sent
    return StoreError(f"S3 at {where}, {place}: {first[:300]}")
