"""What is behind, from Delta logs alone: no Spark, the commits are made by delta-rs with notes as ours have."""

import shutil
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import CommitProperties, write_deltalake

from lakehouse_assets import defs as domains
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.declare.table import LANDING_LAYER, TableKey
from lakehouse_assets.platform.ingest.landing import land
from lakehouse_assets.platform.orchestration.staleness import Staleness
from lakehouse_assets.platform.orchestration.staleness_sensor import made_of_their_own, requests
from lakehouse_assets.platform.planning.plan import Lake, make_plan
from lakehouse_assets.platform.storage.commit_log import unvalidated
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, InputVersion, Kind

CATALOG: Catalog = discover(domains)
BRONZE, SILVER, GOLD = (TableKey("gmv", layer, "purchase") for layer in ("bronze", "silver", "gold"))
LEDGER = TableKey("gmv", "gold", "gmv")
D1, D2, D3 = (date(2023, 1, n) for n in (1, 2, 3))
TABLES = [table for table in CATALOG.tables if table.key.name != "gmv_current"]


class Lakeside:
    """A lake whose commits are made by hand."""

    def __init__(self, folder: Path) -> None:
        self.lake = Lake(folder / "lake", folder / "landing")
        self.folder = folder
        self.staleness = Staleness(self.lake, CATALOG)

    def land(self, table: str, *days: date, content: str = "1") -> None:
        source = CATALOG.table(TableKey("gmv", "bronze", table)).source
        assert source is not None
        file = self.folder / f"{table}-{'-'.join(map(str, days))}.csv"
        rows = [",".join([str(d) if c == "transaction_date" else content for c in source.columns]) for d in days]
        file.write_text("\n".join([",".join(source.columns), *rows]) + "\n")
        land(self.lake.landing, f"gmv/{table}", source, file, today=date(2026, 1, 1))

    def build(
        self,
        key: TableKey,
        *days: date,
        kind: Kind | None = Kind.STEP,
        base: int | None = None,
        unchanged: frozenset[date] = frozenset(),
        input_versions: Mapping[str, InputVersion] | None = None,
    ) -> None:
        """Commit days of a table as a run does: pinned to what its inputs are now; or as a notebook does, noteless."""
        reads = CATALOG.table(key).reads
        input_versions = input_versions or {
            name: InputVersion(self.lake.version(read.table), "") for name, read in reads.items()
        }
        left = frozenset() if base is not None else frozenset(unvalidated(self.lake.path(key)).keys() - set(days))
        metadata = CommitMetadata(
            table=str(key),
            run_id="run",
            attempt=f"run#{days}",
            days=frozenset(days),
            code_version="code",
            inputs=input_versions,
            base=base,
            unvalidated=left,
            kind=kind or Kind.STEP,
            unchanged=unchanged,
        )
        write_deltalake(
            str(self.lake.path(key)),
            pa.table({"feed_day": pa.array(days, pa.date32())}),
            mode="append",
            commit_properties=CommitProperties(custom_metadata={"userMetadata": metadata.dump()}) if kind else None,
        )

    def stale_days(self, key: TableKey) -> set[date]:
        self.staleness.refresh()
        return set(self.staleness.stale_days(CATALOG.table(key)))

    def asked(self) -> list[tuple[list[str], str]]:
        self.staleness.refresh()
        stale_days = {table.key: frozenset(self.staleness.stale_days(table)) for table in TABLES}
        return [([str(key) for key in r.tables], str(r.days)) for r in requests(TABLES, stale_days)]


@pytest.fixture
def lakeside(tmp_path: Path) -> Lakeside:
    return Lakeside(tmp_path)


def test_a_landed_day_is_behind_until_it_is_built_and_again_when_it_is_landed_again(lakeside: Lakeside) -> None:
    lakeside.land("purchase", D1, D3)
    assert lakeside.stale_days(BRONZE) == {D1, D3}
    lakeside.build(BRONZE, D1, D3)
    assert lakeside.stale_days(BRONZE) == set()
    assert lakeside.stale_days(SILVER) == {D1, D3}
    lakeside.land("purchase", D1, content="2")
    assert lakeside.stale_days(BRONZE) == {D1}


def test_an_update_while_the_reader_runs_is_not_lost(lakeside: Lakeside) -> None:
    lakeside.build(BRONZE, D1)
    pinned = Lakeside(lakeside.folder)
    pinned.build(SILVER, D1)
    lakeside.build(BRONZE, D1)  # after silver pinned its input
    assert lakeside.stale_days(SILVER) == {D1}


def test_only_the_day_that_changed_is_behind(lakeside: Lakeside) -> None:
    lakeside.build(BRONZE, D1, D2, D3)
    lakeside.build(SILVER, D1, D2, D3)
    lakeside.build(BRONZE, D2)
    assert lakeside.stale_days(SILVER) == {D2}


def test_a_day_that_came_out_as_it_was_is_current_and_its_readers_are(lakeside: Lakeside) -> None:
    lakeside.land("purchase", D1, D2)
    lakeside.build(BRONZE, D1, D2)
    lakeside.build(SILVER, D1, D2)
    lakeside.land("purchase", D1, D2, content="2")
    assert lakeside.stale_days(BRONZE) == {D1, D2}
    lakeside.build(BRONZE, D2, unchanged=frozenset({D1}))
    assert lakeside.stale_days(BRONZE) == set()
    assert lakeside.stale_days(SILVER) == {D2}


def test_a_commit_by_a_notebook_counts_when_it_is_adopted(lakeside: Lakeside) -> None:
    lakeside.build(BRONZE, D1, D2)
    lakeside.build(SILVER, D1, D2)
    lakeside.build(BRONZE, D2, kind=None)
    assert unvalidated(lakeside.lake.path(BRONZE)) == {D2: 1}
    assert lakeside.stale_days(SILVER) == set(), "nobody has checked it yet"
    lakeside.build(BRONZE, D2, kind=Kind.ADOPTION)
    assert unvalidated(lakeside.lake.path(BRONZE)) == {}
    assert lakeside.stale_days(SILVER) == {D2}
    assert lakeside.stale_days(BRONZE) == set()


def test_what_nobody_has_checked_stays_so_through_other_commits(lakeside: Lakeside) -> None:
    lakeside.build(BRONZE, D1, D2)
    lakeside.build(BRONZE, D1, D2, kind=None)
    lakeside.build(BRONZE, D1)
    assert unvalidated(lakeside.lake.path(BRONZE)) == {D2: 2}, "the first day was made anew"
    lakeside.build(BRONZE, D3)
    assert set(unvalidated(lakeside.lake.path(BRONZE))) == {D2}
    assert lakeside.stale_days(SILVER) == {D1, D3}
    lakeside.build(BRONZE, D2)
    assert unvalidated(lakeside.lake.path(BRONZE)) == {}
    assert lakeside.stale_days(SILVER) == {D1, D2, D3}


def test_a_foreign_commit_between_a_steps_base_and_its_commit_is_not_lost(lakeside: Lakeside) -> None:
    lakeside.build(BRONZE, D1, D2)
    lakeside.build(SILVER, D1, D2)
    lakeside.build(BRONZE, D1, kind=None)
    lakeside.build(BRONZE, D2, base=0)  # planned before the foreign commit, committed after it
    assert unvalidated(lakeside.lake.path(BRONZE)) == {D1: 1}
    assert lakeside.stale_days(SILVER) == {D2}


def test_a_reader_notices_that_its_input_was_made_anew(lakeside: Lakeside) -> None:
    for _ in range(3):
        lakeside.build(BRONZE, D1)
    lakeside.build(SILVER, D1)
    assert lakeside.stale_days(SILVER) == set()
    shutil.rmtree(lakeside.lake.path(BRONZE))
    lakeside.build(BRONZE, D1)
    assert lakeside.stale_days(SILVER) == {D1}


def test_a_reader_notices_that_its_input_was_made_anew_while_it_ran(lakeside: Lakeside) -> None:
    """The new table has as many versions as the one that the reader pinned, and more."""
    lakeside.land("purchase", D1)
    for key, source in ((BRONZE, lakeside.lake.landing), (SILVER, lakeside.lake.path(BRONZE))):
        plan = make_plan(lakeside.lake, CATALOG.table(key), [D1])
        assert isinstance(source, Path)
        shutil.rmtree(source)
        if key == BRONZE:
            lakeside.land("purchase", D1, content="2")
        else:
            lakeside.build(BRONZE, D1)
            lakeside.build(BRONZE, D2)
        lakeside.build(key, D1, input_versions=plan.input_versions)
        assert D1 in lakeside.stale_days(key), key


def test_a_pin_without_a_time_is_read_and_written_as_before() -> None:
    former = {"version": 3, "days": "2023-01-01"}
    assert InputVersion(**former).as_json() == former
    assert InputVersion(**former) == InputVersion(**former, at=1), "what was read is the same"


def test_a_table_made_anew_is_read_anew(lakeside: Lakeside) -> None:
    lakeside.build(BRONZE, D1, D2)
    assert lakeside.stale_days(SILVER) == {D1, D2}
    shutil.rmtree(lakeside.lake.path(BRONZE))
    lakeside.build(BRONZE, D3)
    assert lakeside.stale_days(SILVER) == {D3}


def test_a_lost_cursor_changes_nothing(lakeside: Lakeside) -> None:
    lakeside.build(BRONZE, D1, D2)
    lakeside.build(SILVER, D1)
    known = lakeside.stale_days(SILVER)
    assert Lakeside(lakeside.folder).stale_days(SILVER) == known == {D2}


def test_the_ledger_is_behind_when_one_of_three_inputs_changed(lakeside: Lakeside) -> None:
    for name in ("purchase", "product_item", "purchase_extra_info"):
        lakeside.build(TableKey("gmv", "silver", name), D1)
    lakeside.build(LEDGER, D1)
    assert lakeside.stale_days(LEDGER) == set()
    lakeside.build(TableKey("gmv", "silver", "product_item"), D2)
    assert lakeside.stale_days(LEDGER) == {D2}


def test_a_landed_day_is_asked_for_with_everything_downstream_in_one_run(lakeside: Lakeside) -> None:
    lakeside.land("purchase", D1, D2)
    together = ["gmv/bronze/purchase", "gmv/silver/purchase", "gmv/gold/gmv", "gmv/gold/gmv_current"]
    assert lakeside.asked() == [(together, "2023-01-01..2023-01-02")]


def test_gold_waits_when_its_inputs_are_behind_on_different_days(lakeside: Lakeside) -> None:
    lakeside.land("purchase", D1)
    lakeside.land("product_item", D2)
    assert lakeside.asked() == [
        (["gmv/bronze/product_item", "gmv/silver/product_item"], "2023-01-02"),
        (["gmv/bronze/purchase", "gmv/silver/purchase"], "2023-01-01"),
    ]


def test_days_apart_are_asked_for_as_ranges(lakeside: Lakeside) -> None:
    lakeside.land("purchase", D1, D3)
    assert [days for _, days in lakeside.asked()] == ["2023-01-01", "2023-01-03"]


def test_landing_is_no_table_to_make(lakeside: Lakeside) -> None:
    lakeside.land("purchase", D1)
    assert all(LANDING_LAYER not in name for tables, _ in lakeside.asked() for name in tables)


@pytest.mark.parametrize("domain", sorted({table.key.domain for table in CATALOG.tables}))
def test_a_day_that_all_sources_of_a_domain_deliver_is_one_run_of_all_its_tables(domain: str) -> None:
    tables = made_of_their_own(domain, CATALOG)
    delivered = {table.key: frozenset({D1}) for table in tables if table.key.layer == "bronze"}
    (request,) = requests(tables, delivered)
    assert set(request.tables) == {table.key for table in CATALOG.tables if table.key.domain == domain}
