"""Every domain has feeds to try it with, which its sources take."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from lakehouse_assets import defs
from lakehouse_assets.cli import main
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.ingest.landing import land
from lakehouse_assets.samples.demo import Size, samples_of_domains

CATALOG: Catalog = discover(defs)
SAMPLES = samples_of_domains()


def test_the_demo_has_every_domain() -> None:
    assert set(SAMPLES) == set(CATALOG.domains)
    for sample in SAMPLES.values():
        days = sample.days(date(2024, 3, 31), begun=None)
        assert (len(list(days)), days.last) == (sample.length, date(2024, 3, 31))


@pytest.mark.parametrize("domain", SAMPLES)
def test_the_demo_lands_what_it_writes(domain: str, tmp_path: Path) -> None:
    days = SAMPLES[domain].days(date(2024, 3, 31), begun=None)
    feeds = list(SAMPLES[domain].write(tmp_path / "feeds", days, Size(scale=0.05, seed=1, defects=0.01)))
    sources = {table.key.name: table.source for table in CATALOG.tables if table.key.domain == domain and table.source}
    assert {feed.table for feed in feeds} == set(sources), "every source of the domain"
    for feed in feeds:
        source = sources[feed.table]
        today = source.days.today(datetime.now(UTC))
        landed = land(tmp_path / "landing", f"{domain}/{feed.table}", source, feed.files, day=feed.day, today=today)
        assert not landed.already_landed
        assert all(day >= days.first for day in landed.days)


def test_size_scales_rows() -> None:
    assert [Size(scale, 1, 0).rows(150) for scale in (1, 2, 0.001)] == [150, 300, 1]


@pytest.mark.parametrize(("group", "names"), [("generate", set(SAMPLES)), ("produce", {"orders"})])
def test_commands_of_feeds_are_found_in_the_folders(group: str, names: set[str]) -> None:
    """Without a list of them anywhere."""
    help_of_group = CliRunner().invoke(main, [group, "--help"])
    assert help_of_group.exit_code == 0, help_of_group.output
    listed = {line.split()[0] for line in help_of_group.output.partition("Commands:")[2].splitlines() if line.strip()}
    assert listed == names
    for name in names:
        assert CliRunner().invoke(main, [group, name, "--help"]).exit_code == 0
    assert "No such command 'none'" in CliRunner().invoke(main, [group, "none"]).output
