"""A lake of the former version is read and continued: a small one, made by its code, is carried (`former_lake.md`)."""

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from lakehouse_assets.ops.forget import forget
from lakehouse_assets.platform.declare.table import Table, TableKey
from lakehouse_assets.platform.ingest.pseudonyms import pseudonym
from lakehouse_assets.platform.lineage.provenance import trace
from lakehouse_assets.platform.lineage.replay import Answer, replay
from lakehouse_assets.platform.maintenance import maintenance
from lakehouse_assets.platform.maintenance.maintenance import maintain, stored_tables, survey
from lakehouse_assets.platform.orchestration.staleness import Staleness
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.results.step_result import Status
from lakehouse_assets.platform.scd.scd_table import CHANGES
from lakehouse_assets.platform.storage.commit_actions import actions_of, info_of
from lakehouse_assets.platform.storage.commit_metadata import FORMAT
from lakehouse_assets.platform.storage.delta_table import last_metadata, last_position, version_of
from lakehouse_assets.platform.validation.row_digests import RUN_COLUMNS
from lakehouse_assets.serving.as_of import clauses_as_of
from lakehouse_assets.serving.query import known_tables, query
from lakehouse_assets.settings import Settings, settings
from lakehouse_assets_tests.former_lake import (
    ARRIVED,
    DOCUMENTS,
    GMV,
    LEDGER,
    LOYALTY,
    Lakeside,
    in_order,
    unpack,
)
from lakehouse_assets_tests.traces import traces

pytestmark = pytest.mark.slow

KEY = "a key of these tests, 32 characters or more"
STATES = ("loyalty/silver/clientes", "loyalty/silver/transacao", "marketplace/silver/orders")
PERSONAL = {"gmv/silver/purchase": "buyer_id", "loyalty/bronze/clientes": "email"}
FORMER_DAYS = {
    "gmv/bronze/purchase": GMV[2],
    "gmv/silver/purchase": GMV[1],
    LEDGER: GMV[2],
    "loyalty/silver/clientes": LOYALTY[4],
    "loyalty/silver/transacao": LOYALTY[3],
    "marketplace/silver/products": ARRIVED[1],
}


@pytest.fixture(scope="module", autouse=True)
def key(spark_home: Settings) -> Iterator[None]:
    """The key of the former lake's pseudonyms."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LAKEHOUSE_PSEUDONYM_KEY", KEY)
        settings.cache_clear()
        yield
    settings.cache_clear()


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("unpacked"))


@pytest.fixture(scope="module")
def expected(unpacked: Path) -> dict[str, Any]:
    """What the former version read in its lake."""
    found: dict[str, Any] = json.loads((unpacked / "expected.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def former(spark: SparkSession, unpacked: Path) -> Lakeside:
    """The lake as it was left: for tests that change nothing."""
    return Lakeside.of(spark, unpacked, unpacked / "feeds")


def copy_of(lakeside: Lakeside, folder: Path) -> Lakeside:
    """The same in a folder of a test's own."""
    for name, root in {"lake": lakeside.lake.tables, "landing": lakeside.lake.landing}.items():
        shutil.copytree(str(root), folder / name)
    return Lakeside.of(lakeside.spark, folder, lakeside.feeds)


@pytest.fixture
def own(former: Lakeside, tmp_path: Path) -> Lakeside:
    return copy_of(former, tmp_path)


@dataclass
class Continued:
    """The former lake with a new day in each domain, then with old days that came again; the stream's new records."""

    lakeside: Lakeside
    brought: list[int]
    before: dict[str, int]
    after_new_days: dict[str, int]


@pytest.fixture(scope="module")
def continued(former: Lakeside, tmp_path_factory: pytest.TempPathFactory) -> Continued:
    lakeside = copy_of(former, tmp_path_factory.mktemp("continued"))
    lakeside.known_documents()
    before = versions(lakeside)
    brought = lakeside.next_days()
    after = versions(lakeside)
    lakeside.corrected(GMV[0])
    lakeside.snapshot_again()
    return Continued(lakeside, brought, before, after)


@pytest.fixture(scope="module")
def anew(former: Lakeside, tmp_path_factory: pytest.TempPathFactory) -> Lakeside:
    """A lake of the same files, made by this version alone."""
    lakeside = Lakeside.of(former.spark, tmp_path_factory.mktemp("anew"), former.feeds)
    lakeside.everything()
    return lakeside


def made(lakeside: Lakeside) -> list[Table]:
    """The declared tables that are there."""
    return [table for table in lakeside.catalog.tables if lakeside.lake.version(table.key) is not None]


def stale_days(lakeside: Lakeside) -> dict[str, Any]:
    """Days to be made again, of tables that are there."""
    staleness = Staleness(lakeside.lake, lakeside.catalog)
    staleness.refresh()
    return {str(table.key): days for table in made(lakeside) if (days := staleness.stale_days(table))}


def versions(lakeside: Lakeside) -> dict[str, int]:
    """By table that is there, its version."""
    return {str(table.key): lakeside.lake.version(table.key) or 0 for table in made(lakeside)}


def path_of(lakeside: Lakeside, table: str) -> Path:
    return Path(str(lakeside.lake.path(TableKey.parse(table))))


def formats(path: Path) -> list[int | None]:
    """What each commit of a table says of its format."""
    newest = version_of(path) or 0
    return [json.loads((info_of(path, n) or {})["userMetadata"]).get("format") for n in range(newest + 1)]


def ledger_as_of(lakeside: Lakeside, day: date) -> list[Any]:
    """The ledger's figures as they were known on a day."""
    sql = "SELECT gmv_date, subsidiary, product_id, gmv, purchases FROM gmv.gold.gmv"
    return in_order(iter(query(lakeside.settings, sql, as_of=clauses_as_of(lakeside.catalog, day)).rows))


# It is read


def test_every_table_is_read_as_the_former_version_read_it(former: Lakeside, expected: dict[str, Any]) -> None:
    """By `lakehouse sql` all of them, quarantine and changes too; by Spark those that are declared."""
    assert len(expected["tables"]) == 30
    for name, then in expected["tables"].items():
        assert former.sql(name, then["columns"]) == then["rows"], name
    for table in made(former):
        then = expected["tables"][".".join(table.key.parts)]
        stored_tables = [then["columns"].index(name) for name in table.compiled.spark_schema.names]
        rows = former.read(str(table.key)).toArrow().to_pylist()
        assert in_order(row.values() for row in rows) == in_order(
            [row[place] for place in stored_tables] for row in then["rows"]
        ), table.key


def test_the_ledger_is_read_as_of_any_day(former: Lakeside, expected: dict[str, Any]) -> None:
    assert len(expected["as_of"]) == 4
    for day, rows in expected["as_of"].items():
        assert ledger_as_of(former, date.fromisoformat(day)) == rows


def test_days_are_replayed_and_are_said_to_be_of_other_code(former: Lakeside) -> None:
    """The fingerprints are of one scheme; the platform computes otherwise, and the rows come out the same."""
    step = Step(former.spark, former.lake, former.catalog, "replay")
    for table, day in FORMER_DAYS.items():
        found = replay(step, TableKey.parse(table), day)
        assert (found.answer, found.identical) == (Answer.CHANGED_CODE, True), found
        assert "the code is another one now" in found.message
        assert "platform" in found.message
    streamed = replay(step, TableKey.parse(DOCUMENTS), ARRIVED[1])
    assert streamed.answer is Answer.STREAM, streamed


def test_lineage_goes_down_to_the_landed_files(former: Lakeside) -> None:
    tree = list(trace(former.lake, former.catalog, TableKey.parse(LEDGER), GMV[1]).lines())
    assert f"{LEDGER}  {GMV[1]}: version" in tree[0]
    assert "(changed since: " in tree[0]
    assert {"gmv/landing/product_item", "gmv/landing/purchase"} <= {word for line in tree for word in line.split()}
    assert any("landing 2, 7 rows" in line for line in tree), "the file that came again"


def test_nothing_is_behind_because_the_version_is_another(former: Lakeside) -> None:
    assert stale_days(former) == {}


def test_a_former_day_made_again_is_unchanged(own: Lakeside) -> None:
    """Digests are those of the former version: rows that are what they were are not written."""
    days = {
        "gmv/bronze/purchase": GMV[2], "gmv/silver/purchase": GMV[1], LEDGER: GMV[2],
        "loyalty/silver/clientes": LOYALTY[4], "loyalty/silver/transacao": LOYALTY[3],
        "loyalty/gold/points_balance": LOYALTY[5], "marketplace/silver/orders": ARRIVED[0],
        "marketplace/silver/shipments": ARRIVED[1],
    }  # fmt: skip
    for table, day in days.items():
        outcome = own.make(table, [day])
        path = path_of(own, table)
        metadata = last_metadata(path)
        assert [one.status for one in outcome.days] == [Status.COMMITTED]
        assert metadata is not None
        assert (metadata.unchanged, metadata.days) == (frozenset([day]), frozenset()), table
        assert not [action for action in actions_of(path, outcome.version or 0) if {"add", "remove"} & action.keys()]
    assert stale_days(own) == {}, "nobody has to read them again"


# It is continued


def rows_without_runs(lakeside: Lakeside, name: str) -> list[Any]:
    """Rows of a table without what differs from run to run; of documents, their names without the folder."""
    found = query(lakeside.settings, f"SELECT * FROM {name}")  # noqa: S608
    kept = [n for n, column in enumerate(found.columns) if column not in RUN_COLUMNS | {"bucket"}]
    files = {n for n, column in enumerate(found.columns) if column in ("path", "source_file")}
    return in_order([Path(row[n]).name if n in files and row[n] else row[n] for n in kept] for row in found.rows)


def test_continued_it_is_what_this_version_makes_of_the_same_files(continued: Continued, anew: Lakeside) -> None:
    """New days, and old ones that came again, in every table, beside it and by every reader."""
    lakeside = continued.lakeside
    names = [name for name in known_tables(lakeside.settings) if name.count(".") == 2 and not name.startswith("ops.")]
    assert len(names) >= 30
    for name in names:
        assert rows_without_runs(lakeside, name) == rows_without_runs(anew, name), name
    for table in made(lakeside):
        by_delta = lakeside.spark.read.format("delta").load(str(lakeside.lake.path(table.key)))
        columns = table.compiled.spark_schema.names
        ours = in_order(row.values() for row in lakeside.read(str(table.key)).toArrow().to_pylist())
        assert in_order(row.values() for row in by_delta.select(*columns).toArrow().to_pylist()) == ours, table.key


def test_tables_with_a_state_are_merged_into(continued: Continued) -> None:
    """The new day's changes are folded in; nothing is folded anew, and parts without a changed key stay."""
    for table in STATES:
        path = path_of(continued.lakeside, table)
        for version in range(continued.before[table] + 1, continued.after_new_days[table] + 1):
            metadata = last_metadata(path, version)
            assert metadata is not None
            (input_version,) = [
                input_version for name, input_version in metadata.inputs.items() if name.startswith(CHANGES)
            ]
            assert input_version.days != "all", table
    orders = path_of(continued.lakeside, "marketplace/silver/orders")
    actions = [
        action
        for version in range(continued.before[STATES[2]] + 1, continued.after_new_days[STATES[2]] + 1)
        for action in actions_of(orders, version)
    ]
    assert 0 < sum("remove" in action for action in actions) < 4, "two of the parts had a key of a new document"


def test_the_ledger_only_grows(continued: Continued, expected: dict[str, Any]) -> None:
    then = expected["tables"]["gmv.gold.gmv"]
    now = continued.lakeside.sql("gmv.gold.gmv", then["columns"])
    assert all(row in now for row in then["rows"])
    assert len(now) > len(then["rows"])
    path = path_of(continued.lakeside, LEDGER)
    newest = continued.lakeside.lake.version(TableKey.parse(LEDGER)) or 0
    new = range(continued.before[LEDGER] + 1, newest + 1)
    assert not [version for version in new for action in actions_of(path, version) if "remove" in action]
    for day, rows in expected["as_of"].items():
        if day < str(GMV[3]):
            known = clauses_as_of(continued.lakeside.catalog, date.fromisoformat(day))
            sql = "SELECT gmv_date, subsidiary, product_id, gmv, purchases FROM gmv.gold.gmv"
            assert in_order(iter(query(continued.lakeside.settings, sql, as_of=known).rows)) == rows, (
                "closed days stand"
            )


def test_the_stream_reads_on_from_where_it_was(continued: Continued) -> None:
    lakeside = continued.lakeside
    assert continued.brought == [3]
    assert lakeside.documents(3) == []
    held = [Path(path).name for (path,) in lakeside.rows(DOCUMENTS, "path")]
    assert len(held) == len(set(held)) == 11, "seven were there, three came, one was landed"
    position = last_position(path_of(lakeside, DOCUMENTS))
    assert position is not None
    assert len(position["places"]) == 2


def test_an_old_day_that_comes_again_replaces_its_rows(continued: Continued) -> None:
    lakeside = continued.lakeside
    values = lakeside.rows("gmv/silver/product_item", "feed_day", "product_id", "purchase_value")
    assert [str(value) for day, product, value in values if (day, product) == (GMV[0], 600222)] == ["247.00"]
    delivered = (lakeside.feeds / "loyalty" / "clientes_again" / f"{LOYALTY[3]}.csv").read_text().splitlines()
    days = [day for (day,) in lakeside.rows("loyalty/bronze/clientes", "feed_day")]
    assert days.count(LOYALTY[3]) == len(delivered) - 1 == 4
    restated = lakeside.rows(LEDGER, "product_id", "gmv", "effective_date", "reason")
    assert [(str(gmv), day) for product, gmv, day, reason in restated if (product, reason) == (600222, "restatement")]


def test_the_first_new_commit_of_each_table_says_its_format(continued: Continued) -> None:
    message = {}
    for table, before in continued.before.items():
        path = path_of(continued.lakeside, table)
        found = formats(path)
        assert set(found[: before + 1]) == {None}
        message[table] = set(found[before + 1 :])
    assert message == {table: {FORMAT} for table in continued.before}


# It is kept in order


def personal_bounds(lakeside: Lakeside) -> set[str]:
    """Tables whose log tells the least or greatest value of a personal column."""
    found = set()
    for table, column in PERSONAL.items():
        for entry in (path_of(lakeside, table) / "_delta_log").glob("*.json"):
            for line in entry.read_text(encoding="utf-8").splitlines():
                action = json.loads(line)
                stats = json.loads((action.get("add") or {}).get("stats") or "{}")
                if column in stats.get("minValues", {}) or column in stats.get("maxValues", {}):
                    found.add(table)
    return found


def test_maintenance_takes_bounds_of_personal_columns_out_of_logs(own: Lakeside, expected: dict[str, Any]) -> None:
    assert personal_bounds(own) == set(PERSONAL), "the test has something to find"
    for place in stored_tables(own.lake, own.catalog):
        assert not maintain(survey(place)).message, place.name
    assert personal_bounds(own) == set()
    path = path_of(own, "gmv/silver/purchase")
    assert formats(path)[-1] == FORMAT, "its properties are those that the contract says"
    for name, then in expected["tables"].items():
        assert own.sql(name, then["columns"]) == then["rows"], name


def test_files_of_both_versions_are_compacted(
    continued: Continued, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row changes, no day is behind for it, and the next step finds in them what it needs."""
    lakeside = copy_of(continued.lakeside, tmp_path)
    names = [name for name in known_tables(lakeside.settings) if name.count(".") == 2 and not name.startswith("ops.")]
    before = {name: lakeside.sql(name) for name in names}
    monkeypatch.setattr(maintenance, "FEWEST", 2)
    done = [maintain(survey(place)) for place in stored_tables(lakeside.lake, lakeside.catalog)]
    assert sum(one.files < one.before.files for one in done) > 10
    assert {name: lakeside.sql(name) for name in names} == before
    assert all(formats(path_of(lakeside, table))[-1] == FORMAT for table in continued.before)
    assert stale_days(lakeside) == {}
    table = "loyalty/silver/clientes"
    lakeside.make_all([table], [LOYALTY[4]])
    metadata = last_metadata(path_of(lakeside, table))
    assert metadata is not None
    assert metadata.unchanged == {LOYALTY[4]}


def test_a_person_is_erased(own: Lakeside) -> None:
    with (own.feeds / "loyalty" / "clientes" / f"{LOYALTY[5]}.csv").open(encoding="utf-8") as stream:
        person = next(iter(csv.DictReader(stream, delimiter=";")))
    words = {person["IdCliente"], person["Email"], pseudonym(person["IdCliente"]), pseudonym(person["Email"])}

    def told() -> list[str]:
        found = [*traces(Path(str(own.lake.tables)), words), *traces(Path(str(own.lake.landing)), words)]
        return [line for line in found if not line.startswith("loyalty/_erased/")]  # by pseudonym, lest they come back

    assert len(told()) > 8, "the test has something to find"
    others = [row for row in own.rows("loyalty/silver/clientes", "id_cliente") if row[0] not in words]
    forget(own.spark, own.lake, own.catalog, "loyalty/clientes", person["IdCliente"])
    assert told() == []
    assert own.rows("loyalty/silver/clientes", "id_cliente") == others
