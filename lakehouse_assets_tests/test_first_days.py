"""Partitions begin where the data of a lakehouse begin, if it says so; else where the domain declares."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from lakehouse_assets import defs as domains
from lakehouse_assets.ops.first_days import (
    DECLARED,
    chosen_first_days,
    first_days_file,
    partition_starts,
    write_first_days,
)
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.ingest.delivery_names import one
from lakehouse_assets.platform.ingest.landing import land
from lakehouse_assets.settings import Settings, SettingsError, read_settings

CATALOG = discover(domains)
DECLARED_DAYS = {"gmv": date(2020, 1, 1), "store": date(2016, 1, 1)}
CHOSEN = date(2024, 1, 16)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home that says nothing yet."""
    monkeypatch.delenv("LAKEHOUSE_FIRST_DAYS", raising=False)
    return Settings(home=tmp_path / "home")


def starts(here: Settings) -> dict[str, date]:
    return partition_starts(DECLARED_DAYS, CATALOG, here)


def land_purchases(here: Settings, day: date) -> None:
    source = CATALOG.table(TableKey("gmv", "bronze", "purchase")).source
    assert source is not None
    file = here.home / f"{day}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(",".join(source.columns) + "\n" + ",".join("1" for _ in source.columns) + "\n")
    land(here.landing, "gmv/purchase", source, one(file), day=day, today=day)


def test_without_a_word_they_begin_where_the_domain_declares(here: Settings) -> None:
    assert starts(here) == DECLARED_DAYS


def test_a_home_says_where_the_data_of_a_domain_begin(here: Settings) -> None:
    write_first_days(here, {"gmv": CHOSEN})
    assert starts(here) == DECLARED_DAYS | {"gmv": CHOSEN}
    write_first_days(here, {"store": CHOSEN})
    assert starts(here) == {"gmv": CHOSEN, "store": CHOSEN}


def test_the_setting_goes_before_the_home(here: Settings) -> None:
    write_first_days(here, {"gmv": CHOSEN})
    later = date(2024, 3, 1)
    assert starts(here.model_copy(update={"first_days": f"gmv={later}"})) == DECLARED_DAYS | {"gmv": later}
    assert starts(here.model_copy(update={"first_days": DECLARED})) == DECLARED_DAYS


def test_no_day_before_the_declared_one_is_a_partition(here: Settings) -> None:
    write_first_days(here, {"gmv": date(2010, 1, 1)})
    assert starts(here) == DECLARED_DAYS


def test_an_older_day_that_was_landed_is_a_partition_all_the_same(here: Settings) -> None:
    write_first_days(here, {"gmv": CHOSEN})
    land_purchases(here, date(2024, 2, 1))
    assert starts(here)["gmv"] == CHOSEN
    land_purchases(here, date(2023, 12, 31))
    assert starts(here)["gmv"] == date(2023, 12, 31)


def test_a_file_that_says_no_day_is_named_with_what_belongs_there(here: Settings) -> None:
    first_days_file(here).parent.mkdir(parents=True)
    first_days_file(here).write_text("gmv=soon\n")
    with pytest.raises(LakehouseError, match=r"first_days: 'soon' is not a day.*Write it as gmv=2023-01-01"):
        chosen_first_days(here)


def test_a_setting_that_says_no_days_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_FIRST_DAYS", "gmv:2023")
    with pytest.raises(SettingsError, match="LAKEHOUSE_FIRST_DAYS"):
        read_settings()


def test_the_partitions_of_every_asset_begin_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As another process loads them: tables, their landed files and what is published of them."""
    code = """
import json
from lakehouse_assets.definitions import definitions
assets = definitions.resolve_asset_graph()
print(json.dumps({
    "/".join(key.path): assets.get(key).partitions_def.get_first_partition_key()
    for key in assets.get_all_asset_keys() if assets.get(key).is_partitioned
}))
"""
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path))
    monkeypatch.delenv("LAKEHOUSE_FIRST_DAYS", raising=False)
    write_first_days(Settings(home=tmp_path), {"gmv": CHOSEN})
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert {first for key, first in found.items() if key.startswith("gmv/")} == {str(CHOSEN)}
    assert {first for key, first in found.items() if key.startswith("store/")} == {"2016-01-01"}
    assert "gmv/gold/gmv" in found
    assert "gmv/landing/purchase" in found


def test_a_setting_that_names_no_domain_is_refused(here: Settings) -> None:
    with pytest.raises(LakehouseError, match=r"names gvm, which is no domain\. Domains are: gmv, store\."):
        partition_starts(DECLARED_DAYS, CATALOG, here.model_copy(update={"first_days": "gvm=2024-01-01"}))
