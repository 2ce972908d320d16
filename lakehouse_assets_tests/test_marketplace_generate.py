"""Documents of a marketplace: the same by seed, in pieces as at once; days that continue; every defect, in the lake."""

import json
from datetime import date, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from pyspark.sql import SparkSession

from lakehouse_assets.cli import main
from lakehouse_assets.defs.marketplace import contracts
from lakehouse_assets.defs.marketplace.dictionary import dictionary
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.samples.marketplace.feeds import FIRST_DAY, LIFE_DAYS, STEPS, Generated, generate
from lakehouse_assets_tests.lake_driver import LakeDriver

FIRST = date(2024, 3, 1)
DEFECTS = {
    "duplicate", "missing_order", "unknown_status", "no_items", "from_the_future", "changed_before_created",
    "unknown_field", "negative_price", "half_written",
}  # fmt: skip


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.json"))}


def make(folder: Path, first: int, last: int, orders: int = 30, seed: int = 5, defects: float = 0.02) -> Generated:
    return generate(folder, FIRST + timedelta(days=first), FIRST + timedelta(days=last), orders, seed, defects)


def test_the_same_seed_gives_the_same_files_in_pieces_as_at_once(tmp_path: Path) -> None:
    made = make(tmp_path / "a", 0, 3)
    make(tmp_path / "b", 2, 3)
    make(tmp_path / "b", 0, 1)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert len(content(tmp_path / "a")) == made.files
    make(tmp_path / "c", 0, 3, seed=6)
    assert content(tmp_path / "a") != content(tmp_path / "c")


def test_orders_live_on_from_day_to_day_and_end(tmp_path: Path) -> None:
    generate(tmp_path, FIRST_DAY, FIRST_DAY + timedelta(days=LIFE_DAYS), orders=40, seed=1, defects=0)
    lives: dict[str, list[dict]] = {}
    for name, text in content(tmp_path).items():
        one = json.loads(text)
        assert one["dat_atui"].startswith(name[:10]), "it arrives on the day of the change"
        lives.setdefault(one["txt_detl_idt_pedi_pgto"], []).append(one)
    of_first_day = [
        sorted(life, key=lambda d: d["dat_atui"]) for order, life in lives.items() if order[:8] == f"{FIRST_DAY:%Y%m%d}"
    ]
    assert len(of_first_day) == 40
    for life in of_first_day:
        statuses = [one["stat_pedi"] for one in life]
        assert statuses[0] == STEPS[0]
        assert set(statuses) <= set(contracts.ORDER_STATUS)
        assert {one["stat_pgto"] for one in life} <= set(dictionary()["stat_pgto"].allowed)
    days = [{one["dat_atui"][:10] for one in life} for life in of_first_day]
    assert max(map(len, days)) > 2
    assert sum(life[-1]["stat_pedi"] == "DELIVERED" for life in of_first_day) > 20


def test_what_is_no_range_is_refused(tmp_path: Path) -> None:
    for arguments in ((FIRST, FIRST - timedelta(days=1)), (date(2019, 1, 1), FIRST)):
        with pytest.raises(LakehouseError, match="At least one day"):
            generate(tmp_path, *arguments)
    with pytest.raises(LakehouseError, match="from 0 to 1"):
        generate(tmp_path, FIRST, FIRST, defects=1.5)


def test_the_command_takes_the_options_of_the_others(tmp_path: Path) -> None:
    words = ["--days", str(FIRST), "--orders", "5", "--seed", "2", "--defects", "0", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(
        main, ["generate", "marketplace", *words, "--format", "csv"], env={"LAKEHOUSE_HOME": str(tmp_path)}
    )
    assert done.exit_code == 0, done.output
    assert f"5,{len(content(tmp_path / 'out'))},0" in done.output


@pytest.mark.slow
def test_every_defect_is_accounted_for_in_the_lake(spark: SparkSession, tmp_path: Path) -> None:
    made = make(tmp_path / "feed", 0, 0, orders=60, defects=0.05)
    assert set(made.defects) == DEFECTS
    driver = LakeDriver.at(spark, tmp_path)
    for file in sorted((tmp_path / "feed").rglob("*.json")):
        driver.land("marketplace/marketing_place", file, day=FIRST)
    driver.make("marketplace/bronze/marketing_place", [FIRST])
    (day,) = driver.make("marketplace/silver/orders", [FIRST]).days
    broken = {rule.rule: rule.failed for rule in day.rules if rule.failed}
    assert day.reconciled
    assert day.rows.rows_in == made.files - made.defects["duplicate"], "the same bytes are landed once"
    for rule in (
        "txt_detl_idt_pedi_pgto:not_null", "stat_pedi:isin", "items_are_readable", "not_from_the_future",
        "created_before_changed", "fields_are_known",
    ):  # fmt: skip
        assert broken.get(rule, 0) > 0, (rule, broken)
