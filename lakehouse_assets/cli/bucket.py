"""`lakehouse bucket`: make, fill and list buckets of any S3 endpoint."""

from pathlib import Path

import click

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.settings import settings


@click.group()
def bucket() -> None:
    """Buckets of the local S3 server, or of LAKEHOUSE_S3_ENDPOINT."""


@bucket.command()
@click.argument("name")
def create(name: str) -> None:
    """Create a bucket; no error if it exists."""
    from lakehouse_assets.streaming.s3_client import create_bucket

    click.echo(f"{name}: {'made' if create_bucket(settings(), name) else 'is there already'}")


@bucket.command()
@click.argument("name")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--path", default="input/", show_default=True, help="Where in the bucket.")
def put(name: str, files: tuple[Path, ...], path: str) -> None:
    """Put FILES (of a folder: its files) into a bucket."""
    from lakehouse_assets.streaming.s3_client import put_object

    every = [one for file in files for one in (sorted(file.iterdir()) if file.is_dir() else [file]) if one.is_file()]
    for file in every:
        put_object(settings(), name, f"{path.strip('/')}/{file.name}".lstrip("/"), file)
    click.echo(f"{len(every)} objects in s3://{name}/{path}")


@bucket.command("list")
@click.argument("name", required=False)
@click.option("--path", default="", help="Only below this path; an error where there is none.")
@format_option
def list_(name: str | None, path: str, output: str) -> None:
    """List the objects of a bucket, or without NAME all buckets."""
    from lakehouse_assets.streaming.s3_client import buckets, list_objects

    if name is None or name == "all":
        show(Rows(("bucket",), [(one,) for one in buckets(settings())]), output)
        return
    found = list_objects(settings(), name, path)
    show(Rows(("object", "etag", "changed"), [(key, etag, str(at)) for key, etag, at in found]), output)
