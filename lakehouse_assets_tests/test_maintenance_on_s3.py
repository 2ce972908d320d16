"""Maintenance and erasure of tables in a bucket of a real S3 server, without Spark."""

from collections.abc import Iterator
from datetime import timedelta

import pyarrow.parquet as pq
import pytest

from lakehouse_assets.platform.maintenance.maintenance import FEWEST, maintain, survey
from lakehouse_assets.platform.storage import unnamed_files
from lakehouse_assets.platform.storage.commit import Swap, commit
from lakehouse_assets.platform.storage.commit_actions import log_file
from lakehouse_assets.platform.storage.commit_metadata import Kind
from lakehouse_assets.platform.storage.location import Location, parquet, version_of_file
from lakehouse_assets.platform.storage.s3 import S3Path
from lakehouse_assets.platform.storage.sweep import sweep
from lakehouse_assets.platform.storage.unnamed_files import RETENTION, stored_files
from lakehouse_assets.settings import settings
from lakehouse_assets_tests.plain_table import DAYS, PlainTable, metadata, rows_of
from lakehouse_assets_tests.s3_lake import BUCKET, s3_lake

pytestmark = [pytest.mark.slow, pytest.mark.nightly]  # resolves the S3 server's jars, which takes minutes


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_lake(tmp_path_factory.mktemp("s3")):
        yield BUCKET


@pytest.fixture
def table(bucket: str, request: pytest.FixtureRequest) -> PlainTable:
    return PlainTable(S3Path(bucket, f"{request.node.name} x=1/t", settings().s3_endpoint)).fill()


def test_files_are_merged_and_old_ones_go(table: PlainTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bucket tells when an object came; here the table keeps nothing, as if a month had passed."""
    killed, base = table.write(rows_of(DAYS[0], 100)), table.newest
    assert maintain(survey(table.place)).removed == 0
    assert (len(table.named()), table.numbers(), table.numbers(base)) == (1, [*range(FEWEST)], [*range(FEWEST)])
    table.opened().alter.set_table_properties({RETENTION: "interval 0 seconds"})
    assert maintain(survey(table.place)).removed == 0, "a week is the least"
    monkeypatch.setattr(unnamed_files, "retention", lambda _: timedelta(0))
    assert maintain(survey(table.place)).removed == FEWEST + 1
    assert not killed.exists()
    assert (len(stored_files(table.path)), table.numbers()) == (1, [*range(FEWEST)])


def test_an_erasure_removes_what_older_attempts_left_and_nothing_of_newer_ones(table: PlainTable) -> None:
    killed, base = table.write(rows_of(DAYS[0], 666)), table.newest
    erasure = commit(table.target, metadata("erasure", DAYS[0], kind=Kind.ERASURE), base, Swap([], [], lambda _: True))
    fence = version_of_file(log_file(table.path, erasure))
    assert fence is not None
    after, held = table.write(rows_of(DAYS[1], 100)), table.write(rows_of(DAYS[1], 666))

    def holds(file: Location) -> bool:
        return 666 in pq.read_table(parquet(file), columns=["n"])["n"].to_pylist()

    assert sweep(table.path, fence[1] / 1e9, holds) == 2
    assert [folder.exists() for folder in (killed, after, held)] == [False, True, False]
    commit(table.target, metadata("after", DAYS[1]), erasure, Swap(table.files(after), [], lambda _: False))
    assert table.numbers() == [*range(FEWEST), 100]
