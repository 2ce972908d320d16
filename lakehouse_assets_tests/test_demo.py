# ruff: noqa: S608  (names are the test's own)
"""The demo fills every domain until the day it is given, so that every dashboard and notebook shows something."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click
import pytest

from lakehouse_assets import defs as domains
from lakehouse_assets.bi.discover import dashboards
from lakehouse_assets.notebook.lab import SHIPPED
from lakehouse_assets.ops.first_days import chosen_first_days
from lakehouse_assets.platform.common.days import DayRange
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.ingest.landing import land
from lakehouse_assets.samples.demo import LONGEST_PAUSE, Feed, Sample, Size, samples_of_domains
from lakehouse_assets.serving.query import query
from lakehouse_assets.settings import Settings, settings
from lakehouse_assets_tests.notebooks import executed

CATALOG = discover(domains)
UNTIL = date(2024, 2, 29)
SAMPLES = samples_of_domains()
SMALL = Size(scale=0.1, seed=7, defects=0.02)
OWN = {table.key for table in CATALOG.tables}
SHOWN = sorted(
    {
        c.source.table.key
        for board in dashboards(domains)
        for row in board.charts
        for c in row
        if c.source.table.key in OWN
    }
)
"""The tables of domains that charts read; those of quality are made when the warehouse is published to."""

sample = pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
of_domain = pytest.mark.parametrize("domain", SAMPLES)


# --- what is generated ---


def test_every_domain_has_a_sample() -> None:
    assert SAMPLES.keys() == {table.key.domain for table in CATALOG.tables}


@sample
def test_its_days_end_with_the_day_asked_for(sample: Sample) -> None:
    days = sample.days(UNTIL, begun=None)
    assert (days.last, len(list(days))) == (UNTIL, sample.length)


@sample
def test_a_demo_is_continued_without_a_gap_unless_it_ended_long_ago(sample: Sample) -> None:
    first = sample.days(UNTIL, begun=None).first
    for pause in (timedelta(0), timedelta(days=1), LONGEST_PAUSE):
        assert sample.days(UNTIL + pause, begun=first) == DayRange(first, UNTIL + pause)
    late = UNTIL + LONGEST_PAUSE + timedelta(days=1)
    assert sample.days(late, begun=first) == sample.days(late, begun=None)
    assert sample.days(UNTIL - timedelta(days=1), begun=first) == sample.days(UNTIL - timedelta(days=1), begun=None)


@sample
def test_the_same_days_are_the_same_files(sample: Sample, tmp_path: Path) -> None:
    days = DayRange(UNTIL - timedelta(days=2), UNTIL)
    contents = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        feeds = list(sample.write(folder, days, SMALL))
        contents.append(
            [(feed.table, feed.day, f.name, f.path.read_bytes()) for feed in feeds for f in feed.files.files]
        )
    assert contents[0] == contents[1] != []


@of_domain
def test_all_files_are_taken_on_the_day_after(domain: str, tmp_path: Path) -> None:
    """Every bronze table has files of every day, and no row is of a later one."""
    days = DayRange(UNTIL - timedelta(days=3), UNTIL)
    landed: dict[str, set[date]] = {}
    for feed in SAMPLES[domain].write(tmp_path / "feeds", days, SMALL):
        landed.setdefault(feed.table, set()).update(landed_days(tmp_path, domain, feed))
    expected = {t.key.name for t in CATALOG.tables if t.key.domain == domain and t.source}
    assert landed.keys() == expected
    complete = {day for of_table in landed.values() for day in of_table}
    assert (max(complete), min(complete)) == (days.last, days.first)


def landed_days(folder: Path, domain: str, feed: Feed) -> set[date]:
    source = CATALOG.table(TableKey(domain, "bronze", feed.table)).source
    assert source is not None
    name = f"{domain}/{feed.table}"
    return set(land(folder, name, source, feed.files, day=feed.day, today=UNTIL + timedelta(days=1)).days)


# --- the command ---


def run_demo(environment: dict[str, str], *words: str) -> str:
    lakehouse = str(Path(sys.executable).with_name("lakehouse"))
    done = subprocess.run([lakehouse, "demo", *words], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def environment(spark_home: Settings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of commands on a lake of the demo's own, with the Spark server of the test run."""
    root = tmp_path_factory.mktemp("demo")
    given = {name: value for name, value in os.environ.items() if name != "LAKEHOUSE_FIRST_DAYS"}
    own = {"LAKEHOUSE_ROOT": str(root), "DAGSTER_HOME": str(root / "dagster"), "LAKEHOUSE_HOME": str(spark_home.home)}
    return given | own


@pytest.fixture(scope="module")
def demo(environment: dict[str, str]) -> Iterator[Settings]:
    run_demo(environment, "--until", str(UNTIL), "--scale", "0.15")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("LAKEHOUSE_FIRST_DAYS", raising=False)
        for name in ("LAKEHOUSE_ROOT", "DAGSTER_HOME", "LAKEHOUSE_HOME"):
            patch.setenv(name, environment[name])
        settings.cache_clear()
        yield settings()
    settings.cache_clear()


def figure(demo: Settings, sql: str) -> object:
    ((found,),) = query(demo, sql).rows
    return found


@pytest.mark.slow
def test_the_data_of_every_table_begin_with_the_partitions_and_end_with_the_day(demo: Settings) -> None:
    first = chosen_first_days(demo)
    for table in CATALOG.tables:
        if table.source:
            name = ".".join(table.key.parts)
            assert figure(demo, f"SELECT max(feed_day) FROM {name}") == UNTIL, name
            assert first[table.key.domain] <= figure(demo, f"SELECT min(feed_day) FROM {name}"), name  # type: ignore[operator]


@pytest.mark.slow
@pytest.mark.parametrize("table", SHOWN, ids=str)
def test_every_table_of_a_chart_has_rows(demo: Settings, table: TableKey) -> None:
    assert figure(demo, f"SELECT count(*) FROM {'.'.join(table.parts)}")


@pytest.mark.slow
def test_a_second_time_nothing_is_left_to_make(demo: Settings, environment: dict[str, str]) -> None:
    message = run_demo(environment, "--until", str(UNTIL), "--scale", "0.15")
    for domain in SAMPLES:
        assert f"Every day of {domain} is made of these files already." in message


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.name for path in SHIPPED.glob("*.ipynb")))
def test_the_notebooks_run_on_it_and_plot(demo: Settings, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = executed(SHIPPED / name, Path(str(demo.root)), monkeypatch)
    outputs = [output for cell in cells for output in cell.outputs]
    assert [output for output in outputs if "image/png" in output.get("data", {})], "a plot"


def test_a_domain_whose_days_begin_after_the_data_is_left_out_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    from lakehouse_assets.cli.demo import samples_with_days_until

    first = CATALOG.domains["loyalty"].first_day
    earliest = first + (SAMPLES["loyalty"].length - 1) * timedelta(days=1)
    assert samples_with_days_until(earliest).keys() == SAMPLES.keys()
    assert capsys.readouterr().err == ""
    assert samples_with_days_until(earliest - timedelta(days=1)).keys() == SAMPLES.keys() - {"loyalty"}
    assert capsys.readouterr().err == f"loyalty is left out: its demo needs --until {earliest} or later.\n"
    with pytest.raises(click.BadParameter, match="no domain has data of these days"):
        samples_with_days_until(date(2000, 1, 1))


def test_it_ends_yesterday_unless_told_otherwise() -> None:
    from lakehouse_assets.cli.demo import yesterday

    assert yesterday(datetime(2024, 3, 1, 0, 30, tzinfo=UTC)) == UNTIL
