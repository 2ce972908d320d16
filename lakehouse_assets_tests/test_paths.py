"""Any folder that the file system allows: everything works in it, or the first command refuses it."""

import json
import os
import subprocess
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from click.testing import CliRunner
from deltalake import DeltaTable, write_deltalake
from hypothesis import example, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from lakehouse_assets.cli import main
from lakehouse_assets.platform.lineage.replay import Answer
from lakehouse_assets.platform.runtime.jars import find_java
from lakehouse_assets.platform.runtime.spark_launch import _environment
from lakehouse_assets.platform.storage.changed_days import is_readable
from lakehouse_assets.platform.storage.location import files_of
from lakehouse_assets.serving.query import query
from lakehouse_assets.settings import MISREAD, Settings, SettingsError, settings
from lakehouse_assets_tests.dagster_lake import dagster_lake, marketplace_day

ODD = "my lake x=1 50% #é+'q &;b"
DAY = date(2023, 2, 1)

NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1, max_size=12).filter(
    lambda name: not MISREAD.search(name) and name not in (".", "..")
)
VALUES = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)


@given(NAMES, st.lists(VALUES, min_size=1, max_size=3, unique=True))
@example(ODD, ['x=1/%20é#+"', "a b", ""])
@example("my lake", ["01"])
@example("x=1", ["1"])
@example("50%", ["50%"])
@example("a#b", ["a#b?"])
@limits(max_examples=20, deadline=None)
def test_every_reader_finds_the_files_of_a_table_in_any_folder(name: str, values: list[str]) -> None:
    with TemporaryDirectory() as folder:
        here = Settings(home=Path(folder) / name)
        path = here.lake / "their" / "silver" / "one"
        rows = pa.table({"id": list(range(len(values))), "part": values})
        write_deltalake(str(path), rows, partition_by=["part"])
        files = files_of(path, DeltaTable(str(path)))
        assert len(files) == len(values)
        assert all(file.is_file() for file in files)
        assert is_readable(path, 0)
        dead = DeltaTable(str(path)).vacuum(0, dry_run=True, enforce_retention_duration=False, full=True)
        assert dead == [], "maintenance takes no file that the table has"
        found = query(here, "SELECT id, coalesce(part, '') FROM their.silver.one ORDER BY id").rows
        assert found == list(enumerate(values))


@pytest.mark.parametrize(
    "name", ["a[1]", "a|b", "a^b", "a{1}", "a*", "a?", "a,b", 'q"q', "$x", "a`b", "a\\b", "a\nb", "50%20x"]
)
@pytest.mark.parametrize("setting", ["HOME", "ROOT", "LAKE", "LANDING"])
def test_a_path_that_would_be_misread_is_refused_by_the_first_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, name: str
) -> None:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path))
    monkeypatch.setenv(f"LAKEHOUSE_{setting}", str(tmp_path / name))
    settings.cache_clear()
    for command in (["doctor"], ["gmv"]):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 1
        assert f"LAKEHOUSE_{setting}: has " in result.output
        assert isinstance(result.exception, SystemExit)
    with pytest.raises(SettingsError):
        settings()
    assert not os.listdir(tmp_path)


def test_java_names_files_in_utf_8_in_any_locale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a cron job, whose locale knows no accents."""
    monkeypatch.setenv("LC_ALL", "C")
    asked = [str(find_java().path), "-XshowSettings:properties", "-version"]
    told = subprocess.run(asked, env=_environment(tmp_path), capture_output=True, text=True, check=True).stderr
    assert "sun.jnu.encoding = UTF-8" in told


@pytest.mark.slow
def test_the_whole_way_in_a_folder_with_an_odd_name(spark_home: Settings, tmp_path: Path) -> None:
    with dagster_lake(tmp_path / ODD) as lake:
        lake.land(marketplace_day(DAY, 4))
        for layer in ("bronze", "silver"):
            done = lake.run(
                [f"gmv/{layer}/{name}" for name in ("product_item", "purchase", "purchase_extra_info")], DAY
            )
            assert done.success, lake.why(done)
        done = lake.run(["gmv/gold/gmv", "gmv/gold/gmv_current"], DAY)
        assert done.success, lake.why(done)
        assert lake.sql("SELECT count(*) FROM gmv.silver.purchase") == [(4,)]
        assert lake.sql("SELECT count(*) FROM gmv.landing.purchase") == [(1,)]
        assert lake.sql("SELECT count(*) FROM gmv.audit WHERE \"table\" = 'gmv/silver/purchase'") == [(1,)]
        figures = json.loads(lake.cli("gmv", "--as-of", str(DAY), "--format", "json").stdout)
        assert sum(row["purchases"] for row in figures) == 4
        as_of = "SELECT sum(purchases)::INT AS n FROM gmv.gold.gmv"
        assert json.loads(lake.cli("sql", as_of, "--as-of", str(DAY), "--format", "json").stdout) == [{"n": 4}]
        assert "purchase-2023-02-01.csv" in lake.cli("lineage", "gmv/gold/gmv", "--day", str(DAY)).output
        for table in ("gmv/silver/purchase", "gmv/gold/gmv"):
            told = json.loads(lake.cli("replay", table, "--day", str(DAY), "--format", "json").stdout)
            assert told["answer"] == Answer.SAME.value, told
        lake.cli("maintain", "gmv")
        assert lake.sql("SELECT count(*) FROM gmv.silver.purchase") == [(4,)]
