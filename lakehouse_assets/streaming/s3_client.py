"""Buckets of any S3 endpoint, by boto3: made, filled, listed, read. Credentials come from the environment alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.settings import Settings
from lakehouse_assets.streaming.s3_server import SERVER

OF_ONE_OBJECT = (
    "NoSuchKey",
    "404",
    "AccessDenied",
    "403",
    "InvalidObjectState",
    "MethodNotAllowed",
    "KMS.DisabledException",
)
NO_TEXT = "\ufffd"
"""In the key of an object, as it is listed: something that is no text. By that key nobody can read it."""
ANSWER_SECONDS = 12  # of silence; asked twice, so that nobody waits for more than half a minute


class S3Error(LakehouseError):
    """S3 does not answer, refuses, or lacks a bucket or path."""


class Unreadable(LakehouseError):
    """An object that is there cannot be read: others can."""


class Moved(LakehouseError):
    """An object is not there any more, or not what it was when it was listed: the next listing says what it is."""


def split(url: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key


def endpoint(settings: Settings) -> str | None:
    """The endpoint of the settings, else this home's running server, else AWS (None)."""
    if settings.s3_endpoint is not None:
        return settings.s3_endpoint
    running = SERVER.running(settings)
    return f"http://127.0.0.1:{running.port}" if running else None


def client(settings: Settings) -> Any:
    """boto3's client. This home's own server takes any credentials; those of others come from AWS_* variables."""
    from botocore.config import Config

    url = endpoint(settings)
    ours = settings.s3_endpoint is None and url is not None
    given = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "us-east-1"} if ours else {}
    config = Config(
        connect_timeout=5, read_timeout=ANSWER_SECONDS, retries={"total_max_attempts": 2},
        s3={"addressing_style": "path"},
    )  # fmt: skip
    environment = frozenset((name, value) for name, value in os.environ.items() if name.startswith("AWS_"))
    return _session(environment).client("s3", endpoint_url=url, config=config, **given)


@lru_cache(maxsize=1)
def _session(environment: frozenset[tuple[str, str]]) -> Any:
    """boto3's session for these AWS_* variables. The one that boto3 shares keeps the credentials it found first."""
    import boto3

    return boto3.Session()


@contextmanager
def explained(settings: Settings, what: str) -> Iterator[None]:
    """S3's errors as S3Error, with where and what to do."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
    from botocore.parsers import ResponseParserError

    where = endpoint(settings) or "AWS"
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in ("NoSuchBucket", "NoSuchKey", "404"):
            raise S3Error(
                f"Path does not exist: {what} at {where}. See what there is: lakehouse bucket list"
            ) from error
        raise S3Error(f"{what} at {where}: {error}") from error
    except NoCredentialsError as error:
        raise S3Error(
            f"{what} at {where}: no credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment."
        ) from error
    except (BotoCoreError, ResponseParserError) as error:
        raise S3Error(
            f"{what}: S3 at {where} does not answer: {error}. This home's own: lakehouse s3 start; another: "
            "LAKEHOUSE_S3_ENDPOINT and AWS_* in the environment."
        ) from error


def create_bucket(settings: Settings, bucket: str) -> bool:
    """Make a bucket; False when it is there. Raises S3Error."""
    with explained(settings, f"bucket {bucket}"):
        if bucket in buckets(settings):
            return False
        client(settings).create_bucket(Bucket=bucket)
        return True


def buckets(settings: Settings) -> list[str]:
    """Names of all buckets. Raises S3Error."""
    with explained(settings, "buckets"):
        return [one["Name"] for one in client(settings).list_buckets()["Buckets"]]


@dataclass(frozen=True)
class StoredObject:
    """An object as a listing names it."""

    key: str
    etag: str
    changed: datetime
    size: int


def list_objects(
    settings: Settings, bucket: str, prefix: str = "", required: bool = True
) -> list[tuple[str, str, datetime]]:
    """Key, ETag and last change of each object below a path. Raises S3Error; if `required`, also for an empty path."""
    found = [(one.key, one.etag, one.changed) for one in listed_objects(settings, bucket, prefix)]
    if required and prefix and not found:
        raise S3Error(f"Path does not exist: s3://{bucket}/{prefix}. See what there is: lakehouse bucket list {bucket}")
    return found


def listed_objects(settings: Settings, bucket: str, prefix: str = "") -> list[StoredObject]:
    """The objects below a path, none where there is none. Raises S3Error."""
    found: list[StoredObject] = []
    with explained(settings, f"s3://{bucket}/{prefix}"):
        for page in client(settings).get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            found += [
                StoredObject(one["Key"], one["ETag"].strip('"'), one["LastModified"], one["Size"])
                for one in page.get("Contents", ())
            ]
    return found


def read_object(settings: Settings, bucket: str, key: str, etag: str) -> bytes:
    """The bytes of an object, if it still is the one with this ETag. Raises Moved, Unreadable, S3Error."""
    from botocore.exceptions import ClientError

    where = f"s3://{bucket}/{key}"
    with explained(settings, where):
        try:
            data: bytes = client(settings).get_object(Bucket=bucket, Key=key, IfMatch=etag)["Body"].read()
            return data
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            gone = code in ("NoSuchKey", "404") and NO_TEXT not in key
            if code in ("PreconditionFailed", "412") or (gone and not _is_listed(settings, bucket, key)):
                raise Moved(f"{where} was changed or removed while it was read.") from error
            if code in OF_ONE_OBJECT:
                raise Unreadable(f"{where} is listed and cannot be read: {error}") from error
            raise


def _is_listed(settings: Settings, bucket: str, key: str) -> bool:
    return any(one.key == key for one in listed_objects(settings, bucket, key))


def put_object(settings: Settings, bucket: str, key: str, file: Path) -> None:
    """Write a file as an object. Raises S3Error."""
    with explained(settings, f"s3://{bucket}/{key}"):
        client(settings).put_object(Bucket=bucket, Key=key, Body=file.read_bytes())
