"""Landing, journals and queries on a real S3 server without Spark; and an S3 that is down, wrong or not there."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest
from click.testing import CliRunner
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from pydantic import ValidationError
from pyspark.sql.types import LongType, StructField, StructType

from lakehouse_assets.cli import main
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.common.plaintext import S3_ENDPOINTS
from lakehouse_assets.platform.declare.source_files import EventFiles
from lakehouse_assets.platform.ingest.file_readers import LandingError
from lakehouse_assets.platform.ingest.landing import land, parts, verify
from lakehouse_assets.platform.ingest.landing_status import read_landed
from lakehouse_assets.platform.results.audit_log import AUDIT, append_audit
from lakehouse_assets.platform.runtime.spark_launch import config_of, spark_conf
from lakehouse_assets.platform.storage.commit import Swap, commit
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata
from lakehouse_assets.platform.storage.data_files import new_attempt
from lakehouse_assets.platform.storage.location import location, missing, storage_options
from lakehouse_assets.platform.storage.s3 import S3Path, StoreError, arrow_filesystem
from lakehouse_assets.platform.storage.target import Target
from lakehouse_assets.serving.query import known_tables, query
from lakehouse_assets.settings import Settings, settings
from lakehouse_assets_tests.dagster_lake import DagsterLake, marketplace_day
from lakehouse_assets_tests.gmv_histories import write_csv
from lakehouse_assets_tests.s3_lake import BUCKET, PASSWORD, SERVER, s3_lake

served = [pytest.mark.slow, pytest.mark.nightly]  # resolves the S3 server's jars, which takes minutes
SOURCE = EventFiles(columns=("id", "value"))
TABLE, D1, TODAY = "shop/orders", date(2026, 1, 1), date(2026, 2, 1)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterLake]:
    """A lake in a bucket, without a Spark server."""
    with s3_lake(tmp_path_factory.mktemp("s3")) as lake:
        yield lake


@pytest.fixture
def root(lake: DagsterLake, request: pytest.FixtureRequest) -> S3Path:
    """A prefix of the test's own."""
    return S3Path(BUCKET, request.node.name, settings().s3_endpoint)


def delivery(folder: Path, name: str, *rows: tuple[int, str]) -> Path:
    """A CSV file."""
    file = folder / name
    file.write_text("id,value\n" + "".join(f"{number},{value}\n" for number, value in rows))
    return file


@pytest.mark.parametrize("scheme", ["s3a", "s3", "s3n"])
def test_a_root_may_be_a_bucket_by_any_of_its_schemes(scheme: str, tmp_path: Path) -> None:
    here = Settings(home=tmp_path, lake=f"{scheme}://shop/lake/", s3_endpoint="http://127.0.0.1:9")  # type: ignore[arg-type]
    assert here.lake == S3Path("shop", "lake", "http://127.0.0.1:9")
    assert str(here.lake / "gmv" / "audit") == "s3a://shop/lake/gmv/audit"
    assert here.landing == tmp_path / "landing"
    assert location("s3a://shop") / "a" == S3Path("shop", "a")


def test_a_copy_of_settings_has_its_tables_in_its_own_root(tmp_path: Path) -> None:
    here = Settings(home=tmp_path, lake="s3a://shop/lake")  # type: ignore[arg-type]
    copy = here.model_copy(update={"root": tmp_path / "other"})
    assert (here.landing, copy.landing) == (tmp_path / "landing", tmp_path / "other" / "landing")
    assert copy.lake == here.lake


def test_what_cannot_be_a_bucket_is_refused(tmp_path: Path) -> None:
    """As a path, `s3a://b/x` would be the folder `s3a:`."""
    for name in ("home", "root", "drop", "inbox"):
        with pytest.raises(ValidationError, match="is a folder of this machine"):
            Settings(**{"home": tmp_path, name: "s3a://shop/lake"})
    with pytest.raises(ValidationError, match="names no bucket"):
        Settings(home=tmp_path, lake="s3a:///lake")  # type: ignore[arg-type]


class TestServed:
    """With the server."""

    pytestmark = served

    def test_a_file_is_landed_once_and_superseded_by_its_name(self, root: S3Path, tmp_path: Path) -> None:
        file = delivery(tmp_path, "a.csv", (1, "x"), (2, "y"))
        first = land(root, TABLE, SOURCE, file, day=D1, today=TODAY)
        assert (first.days, first.already_landed, first.version) == ({D1: 2}, False, 0)
        assert land(root, TABLE, SOURCE, file, day=D1, today=TODAY).already_landed
        (part,) = parts(root, TABLE)
        verify(part)
        land(root, TABLE, SOURCE, delivery(tmp_path, "a.csv", (1, "z")), day=D1, today=TODAY)
        (newest,) = parts(root, TABLE)
        assert (newest.landing, newest.rows) == (2, 1)
        assert read_landed(root, TABLE).holds("a.csv", newest.source_sha256), "which an inbox asks"
        assert parts(root, TABLE, version=0) == [part], "old versions stay"
        assert isinstance(part.path, S3Path)
        part.path.unlink()
        assert missing([part.path, newest.path]) == [part.path]
        with pytest.raises(LandingError, match="it is not there"):
            verify(part)

    def test_files_landed_at_once_are_each_landed_once(self, root: S3Path, tmp_path: Path) -> None:
        """There is no lock in a bucket: the manifest's commits are told apart by conditional puts."""
        files = [delivery(tmp_path, f"{n}.csv", (n, "x")) for n in range(6)]
        with ThreadPoolExecutor(6) as pool:
            done = list(pool.map(lambda file: land(root, TABLE, SOURCE, file, day=D1, today=TODAY), [*files, files[0]]))
        assert sum(not landed.already_landed for landed in done) == 6
        found = parts(root, TABLE)
        assert sorted(part.name for part in found) == sorted(file.name for file in files)
        assert missing([part.path for part in found]) == []

    def test_an_object_is_created_once(self, root: S3Path) -> None:
        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(lambda n: (root / "one").create(b"%d" % n), range(8))) == 1

    def test_journals_are_appended_at_once_and_read(self, lake: DagsterLake) -> None:
        rows = [{"table": "shop/x", "run_id": str(n), "status": ("committed", "failed")[n % 2]} for n in range(6)]
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda r: append_audit(settings().lake, "shop", pa.Table.from_pylist([r], AUDIT)), rows))
        assert known_tables(settings()) == ["shop.audit"]
        asked = "select run_id from shop.audit where status = 'failed' order by run_id"
        assert query(settings(), asked).rows == [("1",), ("3",), ("5",)]

    def test_another_password_asks_for_another_spark_server(
        self, lake: DagsterLake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The server that runs would go on with the old one. No configuration holds a password."""
        ours = config_of(settings())
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-password")
        theirs = config_of(settings())
        assert [text.partition(":")[0] for text in theirs.differences(ours)] == ["s3"]
        message = f"{spark_conf(settings().spark_dir, ours)} {spark_conf(settings().spark_dir, theirs)}"
        assert PASSWORD not in message
        assert "another-password" not in message
        folders = Settings(home=settings().home, lake=settings().home, landing=settings().home)
        assert config_of(folders).s3 == ""


class ForgetsConditions(BaseHTTPRequestHandler):
    """An S3 server, as far as it goes, that puts whatever it is given, whether there is something or not."""

    objects: ClassVar[dict[str, bytes]] = {}

    def _given(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_PUT(self) -> None:
        self.objects[self.path] = self._given()
        self._answer(200)

    def do_POST(self) -> None:
        for key in re.findall(r"<Key>(.*?)</Key>", self._given().decode()):
            self.objects.pop(f"/shop/{key}", None)
        self._answer(200, b"<DeleteResult><Deleted><Key>one</Key></Deleted></DeleteResult>")

    def do_HEAD(self) -> None:
        found = self.objects.get(self.path)
        self._answer(404 if found is None else 200, found or b"")

    def do_GET(self) -> None:
        if "list-type=2" in self.path:
            self._answer(200, b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>")
        elif (found := self.objects.get(self.path)) is not None:
            self._answer(200, found)
        else:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Path]:
    """A bucket of such a server."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, PASSWORD)
    with ThreadingHTTPServer(("127.0.0.1", 0), ForgetsConditions) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield S3Path("shop", "raw", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    ForgetsConditions.objects.clear()


def test_a_server_that_loses_one_of_two_commits_is_refused(forgetful: S3Path, tmp_path: Path) -> None:
    """Before files of an attempt are written, and before any commit."""
    target = Target(forgetful / "t", "t", StructType([StructField("n", LongType())]))
    metadata = CommitMetadata("t", "run", "run", frozenset(), "code", {})
    for write in (
        lambda: land(forgetful, TABLE, SOURCE, delivery(tmp_path, "a.csv", (1, "x")), day=D1, today=TODAY),
        lambda: new_attempt(forgetful / "t"),
        lambda: commit(target, metadata, None, Swap([], [], lambda _: True)),
        lambda: append_audit(forgetful, "shop", pa.Table.from_pylist([{"table": "t"}], AUDIT)),
    ):
        with pytest.raises(LakehouseError, match="ignores If-None-Match"):
            write()
    assert ForgetsConditions.objects == {}, "nothing is left there"


def test_a_bucket_proves_it_once(forgetful: S3Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[S3Path] = []

    def create(place: S3Path, data: bytes) -> bool:
        tried.append(place)
        return len(tried) % 2 == 1

    monkeypatch.setattr(S3Path, "create", create)
    new_attempt(forgetful / "t")
    new_attempt(forgetful / "other")
    assert len(tried) == 2
    new_attempt(S3Path("another", "t", forgetful.endpoint))
    assert len(tried) == 4


@pytest.mark.parametrize("name", S3_ENDPOINTS)
def test_the_setting_goes_before_an_endpoint_of_the_environment(
    forgetful: S3Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """For obstore, delta-rs and pyarrow."""
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    (forgetful / "one").write_bytes(b"1")
    assert (forgetful / "one").read_bytes() == b"1"
    with pytest.raises(TableNotFoundError):
        DeltaTable(str(forgetful / "t"), storage_options=storage_options(forgetful))
    with arrow_filesystem(forgetful).open_input_file(f"{forgetful.bucket}/{forgetful.key}/one") as one:
        assert one.size() == 1


def test_nothing_is_taken_over_any_more() -> None:
    """The command of a former version does no harm in a script."""
    message = CliRunner().invoke(main, ["spark", "take-over"])
    assert message.exit_code == 0
    assert "any number of homes" in message.output
    assert "take-over" not in CliRunner().invoke(main, ["spark", "--help"]).output


COMMANDS = [
    ("land", "gmv/purchase", "feed.csv", "--day", "2023-04-01"),
    ("sql", "select * from gmv.silver.purchase"),
    ("lineage", "gmv/silver/purchase", "--day", "2023-04-01"),
    ("doctor",),
    ("shell", "-c", "print(1)"),  # opens a session, and starts no server for it
]


@pytest.fixture
def silent() -> Iterator[str]:
    """An endpoint that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def told(lake: DagsterLake, folder: Path, commands: list[tuple[str, ...]]) -> list[str]:
    """What each command says: one message in less than 30 s."""
    write_csv(folder / "feed.csv", "purchase", marketplace_day(date(2023, 4, 1), 1)["purchase", date(2023, 4, 1)])
    settings.cache_clear()
    message = []
    for command in commands:
        started = time.monotonic()
        output = lake.cli(*(str(folder / word) if word == "feed.csv" else word for word in command), fails=True).output
        assert time.monotonic() - started < 30
        assert PASSWORD not in output
        assert "Traceback" not in output
        message.append(output)
    return message


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        pytest.param("AWS_SECRET_ACCESS_KEY", "wrong", "refuses the credentials", id="wrong password"),
        pytest.param("AWS_ACCESS_KEY_ID", None, "There are no credentials", id="no user"),
        pytest.param("AWS_ACCESS_KEY_ID", "nobody", "refuses the credentials", id="unknown user"),
        pytest.param("LAKEHOUSE_S3_ENDPOINT", "http://127.0.0.1:9", "does not answer", id="nobody listens"),
        pytest.param("LAKEHOUSE_S3_ENDPOINT", "silent", "does not answer", id="silent endpoint"),
        pytest.param("BUCKET", "no-such-bucket", "has no bucket no-such-bucket", id="no bucket"),
    ],
)
@pytest.mark.slow
@pytest.mark.nightly
def test_one_clear_error_within_30_seconds(
    lake: DagsterLake,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    silent: str,
    name: str,
    value: str | None,
    message: str,
) -> None:
    if name == "BUCKET":
        monkeypatch.setenv("LAKEHOUSE_LAKE", f"s3a://{value}/processed")
        monkeypatch.setenv("LAKEHOUSE_LANDING", f"s3a://{value}/raw")
    elif value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, silent if value == "silent" else value)
    try:
        # Each waits 10 s for the silent one, in the same way.
        for message in told(lake, tmp_path, COMMANDS[-1:] if value == "silent" else COMMANDS):
            assert message in message
    finally:
        monkeypatch.undo()
        settings.cache_clear()


@pytest.mark.slow
@pytest.mark.nightly
def test_server_killed_while_files_are_landed(root: S3Path, tmp_path: Path) -> None:
    """Landed again, every file is there once: whether the first try said so or not."""
    files = [delivery(tmp_path, f"{n}.csv", (n, "x")) for n in range(20)]
    third = threading.Event()

    def one_after_the_other() -> list[str]:
        refused = []
        for number, file in enumerate(files):
            if number == 3:
                third.set()
            try:
                land(root, TABLE, SOURCE, file, day=D1, today=TODAY)
            except (StoreError, LandingError) as error:
                refused.append(str(error))
        return refused

    with ThreadPoolExecutor(1) as pool:
        landing = pool.submit(one_after_the_other)
        third.wait(60)
        SERVER.stop(settings(), force=True)
        refused = landing.result(120)
    assert refused
    assert all("does not answer" in text or "nothing was landed" in text for text in refused)
    SERVER.start(settings())
    assert not one_after_the_other()
    found = parts(root, TABLE)
    assert sorted(part.name for part in found) == sorted(file.name for file in files)
    for part in found:
        verify(part)
