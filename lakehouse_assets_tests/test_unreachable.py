"""Servers that are not there: one clear error each, within half a minute, and no secret in it."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import SecretStr

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.storage.delta_table import open_table
from lakehouse_assets.platform.storage.location import answering
from lakehouse_assets.platform.storage.s3 import S3Path, StoreError, arrow_filesystem
from lakehouse_assets.settings import Settings
from lakehouse_assets.streaming.kafka_client import KafkaError, topic_state
from lakehouse_assets.streaming.s3_client import S3Error, list_objects

BAR_SECONDS = 30


@contextmanager
def port(listens: bool) -> Iterator[int]:
    """A port on which nothing listens, or something that takes connections and never says a word."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        if listens:
            taken.listen()
        yield taken.getsockname()[1]


def message(error: type[LakehouseError], ask: Callable[[], object]) -> str:
    started = time.monotonic()
    with pytest.raises(error) as found:
        ask()
    assert time.monotonic() - started < BAR_SECONDS
    assert "geheim" not in str(found.value)
    return str(found.value)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "geheim")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def test_an_s3_endpoint_on_which_nothing_listens(tmp_path: Path) -> None:
    with port(listens=False) as free:
        here = Settings(home=tmp_path, s3_endpoint=f"http://127.0.0.1:{free}")
        text = message(S3Error, lambda: list_objects(here, "bucket"))
    assert f"S3 at http://127.0.0.1:{free} does not answer" in text
    assert "LAKEHOUSE_S3_ENDPOINT" in text


@pytest.mark.slow
@pytest.mark.nightly  # it waits for an answer, twice
def test_an_s3_endpoint_that_never_answers(tmp_path: Path) -> None:
    with port(listens=True) as silent:
        here = Settings(home=tmp_path, s3_endpoint=f"http://127.0.0.1:{silent}")
        assert "does not answer" in message(S3Error, lambda: list_objects(here, "bucket"))


class FallsSilent(BaseHTTPRequestHandler):
    """An S3 server that answers until it is told not to."""

    answers: ClassVar[threading.Event] = threading.Event()
    over: ClassVar[threading.Event] = threading.Event()

    def do_GET(self) -> None:
        if self.answers.is_set():
            body = b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        else:
            self.over.wait()

    do_HEAD = do_PUT = do_GET

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.mark.slow
@pytest.mark.nightly  # it waits for answers
@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda place: (place / "x").read_text(), id="a file"),
        pytest.param(open_table, id="a table, by delta-rs"),
        pytest.param(lambda place: _scanned(place), id="a scan, by pyarrow"),
    ],
)
def test_an_s3_endpoint_that_falls_silent_in_the_middle(ask: Callable[[S3Path], object]) -> None:
    FallsSilent.over.clear()
    FallsSilent.answers.set()
    with ThreadingHTTPServer(("127.0.0.1", 0), FallsSilent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = S3Path("shop", "raw", f"http://127.0.0.1:{server.server_port}")
        try:
            assert list(place.below()) == []
            FallsSilent.answers.clear()
            assert "does not answer" in message(StoreError, lambda: ask(place))
        finally:
            FallsSilent.over.set()
            server.shutdown()


def _scanned(place: S3Path) -> object:
    with answering(place):
        return arrow_filesystem(place).get_file_info(f"{place.bucket}/x").type


def test_s3_without_credentials_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with port(listens=False) as free:
        here = Settings(home=tmp_path, s3_endpoint=f"http://127.0.0.1:{free}")
        assert "Set AWS_ACCESS_KEY_ID" in message(S3Error, lambda: list_objects(here, "bucket"))


@pytest.mark.slow
@pytest.mark.nightly  # a broker that is finding its feet is given 20 seconds
def test_kafka_where_nothing_listens(tmp_path: Path) -> None:
    with port(listens=False) as free:
        here = Settings(
            home=tmp_path,
            kafka_bootstrap=f"127.0.0.1:{free}",
            kafka_security_protocol="SASL_PLAINTEXT",
            kafka_sasl_mechanism="PLAIN",
            kafka_username="me",
            kafka_password=SecretStr("geheim"),
        )
        text = message(KafkaError, lambda: topic_state(here, "orders"))
    assert f"Kafka at 127.0.0.1:{free}: topic orders" in text
