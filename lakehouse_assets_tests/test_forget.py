"""A person is erased from a domain of every kind of table, also while runs are under way: nothing tells of them."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from types import MappingProxyType

import pyspark.sql.types as T
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse_assets.ops.forget import NoSubject, forget
from lakehouse_assets.platform.common.fault_injection import Failpoint
from lakehouse_assets.platform.common.identifier import NormalForm
from lakehouse_assets.platform.contracts.base_contracts import CurrentState
from lakehouse_assets.platform.contracts.casting import parse
from lakehouse_assets.platform.contracts.contract import Contract, column, landed_contract, table_metadata
from lakehouse_assets.platform.contracts.rules import Rate
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.domain import Domain
from lakehouse_assets.platform.declare.scd import scd1
from lakehouse_assets.platform.declare.source_files import EventFiles
from lakehouse_assets.platform.declare.table import ReplaceDays, Table, TableKey, day, rolling_window
from lakehouse_assets.platform.lineage.provenance import trace
from lakehouse_assets.platform.lineage.replay import Answer, replay
from lakehouse_assets.platform.maintenance import maintenance
from lakehouse_assets.platform.orchestration.staleness import Staleness
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.storage import commit as commits_of_files
from lakehouse_assets.platform.storage.log_cleaning import named_files
from lakehouse_assets.platform.transform import materialize as steps
from lakehouse_assets.settings import settings
from lakehouse_assets_tests.lake_driver import LakeDriver
from lakehouse_assets_tests.traces import traces

pytestmark = pytest.mark.slow
ALL = Rate(1.0)
D1, D2, D3 = DAYS = [date(2025, 1, n) for n in (1, 2, 3)]


class Visit(CurrentState):
    """Visits of people."""

    visit: T.LongType = column("visit", source=True)
    at: T.TimestampNTZType = column("when", source=True)
    who: T.StringType = column("person", source=True, pii=True)
    email: T.StringType = column("address", source=True, nullable=True, pii=True)
    minutes: T.LongType = column("how long", source=True, nullable=True, ge=0, tolerate=ALL)

    class Config:
        metadata = table_metadata(event_time="at")


class Plain(Contract):
    """Visits of a day."""

    visit: T.LongType = column("visit", source=True)
    at: T.TimestampNTZType = column("when", source=True)
    who: T.StringType = column("person", source=True, pii=True)
    email: T.StringType = column("address", source=True, nullable=True, pii=True)
    minutes: T.LongType = column("how long", source=True, nullable=True, ge=0, tolerate=ALL)
    feed_day: T.DateType = column("feed day")


class Recent(Contract):
    """Who came in the last three days."""

    feed_day: T.DateType = column("feed day")
    who: T.StringType = column("person", pii=True)
    visits: T.LongType = column("visits")


def _parsed(contract: type[Contract]) -> Callable[..., DataFrame]:
    return lambda landed: parse(landed, contract)


def _recent(visits: DataFrame) -> DataFrame:
    days = F.explode(F.sequence("feed_day", F.date_add("feed_day", 2)))
    counted = visits.select(days.alias("feed_day"), "who").groupBy("feed_day", "who")
    return counted.agg(F.count("*").alias("visits"))


def _table(layer: str, name: str, *rest: object, **reads: object) -> Table:
    contract, function, write = rest
    return Table(TableKey("people", layer, name), contract, function, MappingProxyType(reads), write)  # type: ignore[arg-type]


SOURCE = EventFiles(("visit", "at", "who", "email", "minutes"), subject="who", subject_form=NormalForm.CASELESS)
PEOPLE = Domain("people", first_day=date(2000, 1, 1))
bronze = PEOPLE.bronze(landed_contract("LandedVisit", Plain), SOURCE, name="visits")
visits = _table("silver", "visits", Plain, _parsed(Plain), ReplaceDays(), landed=day(bronze))
newest = _table("silver", "newest", Visit, _parsed(Visit), scd1(("visit",), "at", buckets=2), landed=day(bronze))
recent = _table("gold", "recent", Recent, _recent, ReplaceDays(), visits=rolling_window(3, visits))
CATALOG = Catalog((bronze, visits, newest, recent))
IN_ORDER = (bronze, visits, newest, recent)
ROWS = {
    D1: "1,2025-01-01 10:00:00,ana-1,Ana@example.org,5\n2,2025-01-01 11:00:00,bia-2,bia@example.org,-1\n"
    "3,2025-01-01 12:00:00,Zoe-9,zoe@example.org,3\n4,2025-01-01 13:00:00,ana-1,ana@example.org,-7\n",
    D2: "5,2025-01-02 10:00:00, ANA-1,ana@example.org,5\n6,2025-01-02 11:00:00,eva-3,eva@example.org,5\n",
    D3: "7,2025-01-03 10:00:00,eva-3,eva@example.org,6\n8,2025-01-03 10:00:00,BIA-2,bia@example.org,6\n",
}


@dataclass
class People(LakeDriver):
    """The lake of these tables."""

    def erase(self, subject: str) -> None:
        forget(self.spark, self.lake, CATALOG, "people/visits", subject)

    def tells_of(self, *values: str) -> list[str]:
        return [*traces(self.lake.tables, values), *traces(self.lake.landing, values)]


@pytest.fixture(scope="module")
def people(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> People:
    folder = tmp_path_factory.mktemp("people")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LAKEHOUSE_PSEUDONYM_KEY", "0123456789abcdef0123456789abcdef")
        settings.cache_clear()
        lake = People(spark, Lake(folder / "lake", folder / "landing"), CATALOG)
        for of, text in ROWS.items():
            file = folder / f"{of}.csv"
            file.write_text(f"visit,at,who,email,minutes\n{text}")
            lake.land("people/visits", file, day=of)
        for table in IN_ORDER:
            # What reads three days has something to say of two more.
            lake.make(str(table.key), [*DAYS, *[D3 + timedelta(days=n) for n in (1, 2) if table is recent]])
        yield lake
    settings.cache_clear()


def untouched(lake: Lake) -> list[object]:
    """What sensors, `status` and `lineage` read of days that nobody was erased from, and what is to be done."""
    staleness = Staleness(lake, CATALOG)
    staleness.refresh()
    stale_days = [staleness.stale_days(table) for table in CATALOG.tables]
    unvalidated = [staleness.of(table.key).unvalidated for table in CATALOG.tables]
    return [stale_days, unvalidated, [sorted(staleness.of(table.key).built) for table in CATALOG.tables]]


def test_nothing_tells_of_a_person_who_was_erased(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    path = people.lake.path(bronze.key)
    orphan = path / "attempt" / "part-0.parquet"  # of a run that was killed before its commit
    orphan.parent.mkdir()
    orphan.write_bytes((path / sorted(named_files(path))[0]).read_bytes())
    os.utime(orphan, (0, 0))
    monkeypatch.setattr(maintenance, "FEWEST", 2)
    done = [
        maintenance.maintain(maintenance.survey(place)) for place in maintenance.stored_tables(people.lake, CATALOG)
    ]
    assert any(one.files < one.before.files for one in done), "merged files hold the person's rows too"
    assert len(people.tells_of("ana-1", "ana@example.org")) > 8, "the test has something to find"
    before = untouched(people.lake)
    assert before[0] == [{}] * len(IN_ORDER)
    people.erase("Ana-1 ")
    assert people.tells_of("ana-1", "ana@example.org") == []
    assert untouched(people.lake) == before
    assert people.rows("people/silver/visits", "visit") == [(3,), (6,), (7,), (8,)]
    assert people.rows("people/silver/newest", "visit") == [(3,), (6,), (7,), (8,)]
    assert people.rows("people/gold/recent", "feed_day", "who", "visits").count((D3, "eva-3", 2)) == 1
    step = Step(people.spark, people.lake, CATALOG, "replay")
    assert replay(step, visits.key, D1, version=0).answer is Answer.ERASED
    assert replay(step, visits.key, D1).answer is Answer.SAME
    tree = list(trace(people.lake, CATALOG, visits.key, D1).lines())
    assert any("erased from " in line for line in tree), tree
    assert list(trace(people.lake, CATALOG, recent.key, D3).lines())


@pytest.mark.parametrize(
    ("subject", "place", "table"),
    [
        ("bia-2", Failpoint.BEFORE_SWAP, "people/silver/visits__quarantine"),
        ("eva-3", Failpoint.BEFORE_WRITE, "people/bronze/visits"),
    ],
)
def test_a_run_under_way_starts_again_without_the_person(
    people: People, monkeypatch: pytest.MonkeyPatch, subject: str, place: Failpoint, table: str
) -> None:
    """The run has read the person's rows; the erasure comes and ends before it commits."""
    # A day that comes out as it was is not written: one more row, and one more in quarantine.
    file = people.lake.landing.parent / "more.csv"  # type: ignore[operator]
    file.write_text(
        f"visit,at,who,email,minutes\n90,2025-01-01 09:00:00,{subject},,1\n91,2025-01-01 09:00:00,{subject},,-1\n"
    )
    people.land("people/visits", file, day=D1)
    if not table.startswith("people/bronze"):
        people.make("people/bronze/visits", [D1])
    erased: list[str] = []

    def reach(where: Failpoint, of: object) -> None:
        if where is place and str(of) == table and not erased:
            erased.append(subject)
            people.erase(subject)

    monkeypatch.setattr(steps, "inject_fault", reach)
    monkeypatch.setattr(commits_of_files, "inject_fault", reach)
    outcome = people.make(table.removesuffix("__quarantine"), DAYS)
    assert erased == [subject]
    assert [one.status.value for one in outcome.days] == ["committed"] * 3
    assert people.tells_of(subject) == []


def test_a_key_that_names_nobody_erases_nobody(people: People) -> None:
    with pytest.raises(NoSubject, match="names nobody"):
        people.erase(" \t")
