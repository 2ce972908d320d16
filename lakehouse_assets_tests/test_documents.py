"""Documents of a folder: what one of them may be, how many a batch takes, what a look at them costs."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, cast
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from lakehouse_assets.platform.common.source_days import SourceDays
from lakehouse_assets.platform.declare.table import Table, TableKey
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.storage.delta_table import query_rows
from lakehouse_assets.platform.streams.set_aside import NotKept, beside, keep
from lakehouse_assets.platform.streams.stream_ingest import drain, drain_available
from lakehouse_assets.settings import Settings, settings
from lakehouse_assets.streaming import document_places, documents
from lakehouse_assets.streaming.document_places import Object, listed, name_below, normal
from lakehouse_assets.streaming.documents import DayFrom, Documents
from lakehouse_assets.streaming.s3_client import S3Error
from lakehouse_assets_tests.lake_driver import LakeDriver
from lakehouse_assets_tests.test_set_aside import BROKEN

BRONZE = "marketplace/bronze/marketing_place"
WORDS = st.text(st.sampled_from("abç \u0301"), min_size=1, max_size=4)


def table_of(driver: LakeDriver) -> Table:
    return driver.catalog.table(TableKey.parse(BRONZE))


def step(driver: LakeDriver) -> Step:
    return Step(driver.spark, driver.lake, driver.catalog, "stream")


def bring(driver: LakeDriver, source: Documents) -> list[int]:
    """Records of each batch."""
    return [batch.records for batch in drain_available(step(driver), table_of(driver), source)]


def set_aside(driver: LakeDriver) -> list[dict[str, Any]]:
    """What was set aside, by its path."""
    return query_rows(beside(driver.lake.path(table_of(driver).key)), "SELECT * FROM t ORDER BY source_file, etag")


@given(st.lists(WORDS, min_size=1, max_size=3), WORDS, st.sampled_from(["json", "JSON", "Json"]))
@example(["a\u0301"], "x", "JSON")
def test_a_document_is_its_path_below_the_place(below: list[str], name: str, extension: str) -> None:
    """In one Unicode form, in whatever case of the extension, wherever the place lies and however it is written."""
    import unicodedata

    path = "/".join([*below, name])
    forms = [
        name_below(f"{root.rstrip('/')}/{unicodedata.normalize(form, path)}.{extension}", {root})
        for root in ("/old/input", "/new/input/", "s3://bucket/input/")
        for form in ("NFC", "NFD")
    ]
    assert set(forms) == {unicodedata.normalize("NFC", path) + ".json"}


def test_a_place_is_compared_in_one_form(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert {normal(place) for place in ("feeds", "./feeds", "feeds/", f"{tmp_path}/x/../feeds")} == {
        f"{tmp_path}/feeds"
    }
    assert {normal(f"{scheme}://bucket/input/") for scheme in ("s3", "s3a", "s3n")} == {"s3://bucket/input/"}


def odd_members(folder: Path) -> Iterator[str]:
    """Members of a folder that are no documents to be read, with what is said of them."""
    (folder / "old.json").mkdir(parents=True)
    yield "is a folder"
    (folder / "dangling.json").symlink_to(folder / "nowhere")
    yield "is a link to nothing"
    (folder / "loop.json").symlink_to(folder / "loop.json")
    yield "cannot be read"
    os.mkfifo(folder / "pipe.json")
    yield "is no file"


@pytest.mark.timeout(60)
def test_a_listing_says_of_each_member_what_it_is(tmp_path: Path) -> None:
    """Folders, links and pipes called like documents; names that are no text; a folder that cannot be listed."""
    message = list(odd_members(tmp_path))
    (tmp_path / "old.json" / "inside.JSON").write_text("{}")
    (tmp_path / os.fsdecode(b"half\xed\xa0\x80.json")).write_text("{}")
    (tmp_path / "notes.txt").write_text("no document")
    found = {Path(one.path).name: one for one in listed(str(tmp_path), ".json")}
    wrong = {name: one.problem or "" for name, one in found.items() if one.problem}
    assert sorted(wrong) == ["dangling.json", "loop.json", "old.json", "pipe.json"]
    assert all(any(words in problem for problem in wrong.values()) for words in message)
    assert sorted(found.keys() - wrong.keys()) == ["half\\xed\\xa0\\x80.json", "inside.JSON"]


@pytest.mark.slow
def test_one_document_stops_no_other_and_is_told_once(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Odd members, one that cannot be read, of a day of no source, too large: set aside until they are readable."""
    driver, folder = LakeDriver.at(spark, tmp_path), tmp_path / "input"
    odd = list(odd_members(folder))
    for name in ("a", "locked", "early", "late", "never", "large"):
        (folder / f"{name}.json").write_text(json.dumps({"name": name}))
    (folder / os.fsdecode(b"half\xed\xa0\x80.json")).write_text("{}")
    (folder / "large.json").write_text(json.dumps({"name": "x" * 300}))
    for name, year in (("early", 1980), ("late", 2200)):
        at = datetime(year, 1, 1, tzinfo=UTC).timestamp()
        os.utime(folder / f"{name}.json", (at, at))
    os.utime(folder / "never.json", ns=(2**62, 2**62))
    monkeypatch.setattr(documents, "LARGEST", 200)
    monkeypatch.setattr(documents, "ANOTHER_TRY", 0.0)
    reading = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.name == "locked.json" and not (folder / "unlocked").exists():
            raise PermissionError(13, "Permission denied")  # root, who runs tests, may read every file
        return reading(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    source = Documents(str(folder), days=SourceDays(date(2020, 1, 1)))
    assert bring(driver, source) == [2]
    assert [Path(path).name for (path,) in driver.rows(BRONZE, "path")] == ["a.json", "half\\xed\\xa0\\x80.json"]
    told = set_aside(driver)
    rules = {Path(row["source_file"]).name: row["rules"][0] for row in told}
    assert len(told) == len(rules) == len(odd) + 5
    assert {name for name, rule in rules.items() if rule == "day_is_of_the_source"} == {
        "early.json", "late.json", "never.json",
    }  # fmt: skip
    assert rules["large.json"] == "document_is_not_too_large"
    kept = {Path(row["source_file"]).name: row["row"] for row in told}
    assert (kept["late.json"], kept["locked.json"]) == ('{"name": "late"}', "")
    assert source.lag(driver.lake.path(table_of(driver).key)) == 0
    caplog.clear()
    assert bring(driver, source) == bring(driver, Documents(str(folder), days=source.days)) == []
    assert set_aside(driver) == told, "told once, also by the next process"
    assert not caplog.records
    (folder / "unlocked").touch()
    (folder / "old.json").rmdir()
    (folder / "old.json").write_text("{}")
    os.utime(folder / "late.json")
    assert bring(driver, source) == [3], "what can be read now is read"


@pytest.mark.parametrize("broken", BROKEN)
def test_where_nothing_can_be_set_aside_the_good_documents_go_on_before_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Callable[[Path], None]
) -> None:
    """As an error that the stream survives (`NotKept`), and once that table can be read again, they are set aside."""
    folder, path = tmp_path / "input", tmp_path / "lake" / "documents"
    path.parent.mkdir()
    broken(beside(path))
    list(odd_members(folder))
    for name, at in (("early", 1), ("a", 10**9), ("locked", 10**9 + 1), ("b", 10**9 + 2)):
        (folder / f"{name}.json").write_text("{}")
        os.utime(folder / f"{name}.json", (at, at))
    reading = Path.read_bytes

    def read_bytes(file: Path) -> bytes:
        if file.name == "locked.json":
            raise PermissionError(13, "Permission denied")
        return reading(file)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    monkeypatch.setattr(Documents, "_rows", lambda _, __, taken: [Path(one.path).name for one, *_ in taken.documents])
    source = Documents(str(folder), days=SourceDays(date(2001, 1, 1)))
    assert source.lag(path) == 8
    fresh = source.next(cast("SparkSession", None), path, None)
    assert fresh is not None
    assert (fresh.rows, fresh.set_aside) == (["a.json", "b.json"], [])
    (folder / "a.json").unlink()
    (folder / "b.json").unlink()
    fresh = source.next(cast("SparkSession", None), path, None)
    assert fresh is not None
    assert fresh.rows is None
    with pytest.raises(NotKept, match="6 records that no commit may hold cannot be kept"):
        keep(beside(path), fresh.set_aside)


@pytest.mark.slow
def test_a_document_that_changes_while_it_is_read_holds_up_no_other(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, folder = LakeDriver.at(spark, tmp_path), tmp_path / "input"
    folder.mkdir()
    for name in ("busy", "gone", "still"):
        (folder / f"{name}.json").write_text("{}")
    reading = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.name == "busy.json":
            path.write_text("{" + str(time.monotonic_ns()))
        if path.name == "gone.json":
            path.unlink()
        return reading(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert bring(driver, Documents(str(folder))) == [1]
    monkeypatch.setattr(Path, "read_bytes", reading)
    assert bring(driver, Documents(str(folder))) == [1]
    assert set_aside(driver) == []


@pytest.mark.slow
def test_a_batch_of_documents_is_bounded_by_number_and_by_bytes(
    spark_home: Settings, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_STREAM_BATCH_BYTES", "10000")
    settings.cache_clear()
    try:
        driver, folder = LakeDriver.at(spark, tmp_path), tmp_path / "input"
        folder.mkdir()
        for number, size in enumerate((4_000, 4_000, 4_000, 30_000, 1, 1, 1, 1)):
            file = folder / f"{number}.json"
            file.write_text("x" * size)
            at = datetime.now(UTC).timestamp() - 100 + number
            os.utime(file, (at, at))
        assert bring(driver, Documents(str(folder), batch=3)) == [2, 1, 1, 3, 1]
    finally:
        monkeypatch.undo()
        settings.cache_clear()


@pytest.mark.slow
def test_a_look_costs_what_is_new(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files opened and queries over the table: none at an idle look, the new ones' where there are new ones."""
    from lakehouse_assets.streaming import known_documents

    driver, folder = LakeDriver.at(spark, tmp_path), tmp_path / "input"
    folder.mkdir()

    def write(*numbers: int) -> None:
        for number in numbers:
            (folder / f"{number}.json").write_text(str(number))

    opened: list[str] = []
    reading, asking = document_places.bytes_of, known_documents.query_rows

    def bytes_of(one: Object) -> bytes:
        opened.append(Path(one.path).name)
        return reading(one)

    def asked(*of: Any) -> Any:
        opened.append("table")
        return asking(*of)

    monkeypatch.setattr(documents, "bytes_of", bytes_of)
    monkeypatch.setattr(known_documents, "query_rows", asked)
    source = Documents(str(folder))
    write(*range(20))
    assert bring(driver, source) == [20]
    assert sorted(name for name in opened if name != "table") == sorted(f"{number}.json" for number in range(20))
    opened.clear()
    for _ in range(3):
        assert drain(step(driver), table_of(driver), source) is None
    assert opened == []
    write(20, 21)
    assert bring(driver, source) == [2]
    assert sorted(opened) == ["20.json", "21.json"]
    opened.clear()
    (folder / "3.json").write_text("another")
    assert bring(driver, source) == [1]
    assert set(opened) == {"3.json"}


@pytest.mark.slow
def test_the_day_of_a_document_is_what_the_source_declares(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its path, or its last change in the source's zone; where that is another day than its path says, it is told."""
    folder = tmp_path / "input"
    for name in ("2024-03-01/a.json", "2024-03-02/b-2024-03-05.json", "undated.json", "2024-02-31/c.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
        at = datetime(2024, 3, 10, 23, tzinfo=UTC).timestamp()
        os.utime(folder / name, (at, at))
    days = SourceDays(date(2020, 1, 1), zone="Pacific/Auckland")
    by_path, by_change = LakeDriver.at(spark, tmp_path / "path"), LakeDriver.at(spark, tmp_path / "change")
    bring(by_path, Documents(str(folder), days=days, day_from=DayFrom.PATH))
    assert [day for (day,) in by_path.rows(BRONZE, "feed_day")] == [date(2024, 3, 1), date(2024, 3, 5)]
    assert sorted(row["reason"] for row in set_aside(by_path)) == [
        "2024-02-31 in its path is no day", "no name in its path says its day",
    ]  # fmt: skip
    assert "path says another" not in caplog.text
    bring(by_change, Documents(str(folder), days=days))
    assert {day for (day,) in by_change.rows(BRONZE, "feed_day")} == {date(2024, 3, 10) + timedelta(days=1)}
    assert "3 of 4 documents are of the day of their last change, and their path says another" in caplog.text


@pytest.mark.slow
def test_a_document_that_comes_again_from_another_folder_is_known(spark: SparkSession, tmp_path: Path) -> None:
    """Copied with the place, under another time and form of its name; the place written otherwise."""
    driver = LakeDriver.at(spark, tmp_path)
    for place, names in (("one", ("é.json", "b/x.json")), ("two", ("e\u0301.JSON", "b/x.json"))):
        for name in names:
            (tmp_path / place / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / place / name).write_text("{}")
    assert bring(driver, Documents(str(tmp_path / "one"))) == [2]
    for place in ("two", "one", "two/../one/", "two/b/.."):
        assert bring(driver, Documents(f"{tmp_path}/{place}")) == [], place


class Store(BaseHTTPRequestHandler):
    """A bucket in which some objects cannot be read: nobody may, their key is no text, they moved."""

    keys: ClassVar[dict[str, tuple[int, bytes]]] = {
        "input/a.json": (200, b"{}"),
        "input/denied.json": (403, b"AccessDenied"),
        "input/half%ED%A0%80.json": (404, b"NoSuchKey"),
        "input/missing.json": (404, b"NoSuchKey"),
        "input/moved.json": (412, b"PreconditionFailed"),
        "input/z.json": (200, b"[]"),
    }
    down: ClassVar[bool] = False

    def do_GET(self) -> None:
        """Answer a listing or an object."""
        key = self.path.partition("?")[0].removeprefix("/bucket/").removeprefix("/bucket")
        if self.down:
            self._answer(503, b"<Error><Code>SlowDown</Code></Error>")
        elif not key:
            prefix = parse_qs(urlsplit(self.path).query)["prefix"][0]
            entries = "".join(
                f"<Contents><Key>{one}</Key><LastModified>2024-03-01T00:00:00.000Z</LastModified>"
                f"<ETag>&quot;{place}&quot;</ETag><Size>2</Size></Contents>"
                for place, one in enumerate(self.keys)
                if one.startswith(prefix)
            )
            listing = f"<ListBucketResult><EncodingType>url</EncodingType>{entries}</ListBucketResult>"
            self._answer(200, listing.encode())
        else:
            status, body = self.keys.get(key, (404, b"NoSuchKey"))
            self._answer(status, body if status == 200 else b"<Error><Code>" + body + b"</Code></Error>")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_an_object_that_cannot_be_read_hides_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the store itself does not answer, nothing is set aside: that passes."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("LAKEHOUSE_S3_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "DEFAULT_REGION"):
        monkeypatch.setenv(f"AWS_{name}", "any")
    settings.cache_clear()
    try:
        source = Documents("s3a://bucket/input/")
        there = source.end(tmp_path)
        assert there is not None
        taken = source._take(sorted(there), set())
        assert [one.path for one, *_ in taken.documents] == ["s3://bucket/input/a.json", "s3://bucket/input/z.json"]
        left = {one.source_file.rpartition("/")[2]: one.rule for one in taken.set_aside}
        assert sorted(left) == ["denied.json", "half\ufffd\ufffd\ufffd.json", "missing.json"]
        assert set(left.values()) == {"document_is_readable"}
        assert taken.looked_at == len(Store.keys)
        monkeypatch.setattr(Store, "down", True)
        with pytest.raises(S3Error):
            source._take(sorted(there), set())
    finally:
        server.shutdown()
        monkeypatch.undo()
        settings.cache_clear()
