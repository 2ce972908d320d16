"""The loyalty domain on the real snapshots and transactions, judged by independent reckoning in plain Python."""

import csv
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from lakehouse_assets.cli import main
from lakehouse_assets.ops.forget import forget
from lakehouse_assets.platform.common.identifier import NormalForm
from lakehouse_assets.platform.declare.table import TableKey
from lakehouse_assets.platform.ingest import erasure
from lakehouse_assets.platform.ingest.file_readers import LandingError
from lakehouse_assets.platform.ingest.pseudonyms import NoKey, pseudonym
from lakehouse_assets.platform.lineage.replay import Answer, replay
from lakehouse_assets.platform.planning.step import Step
from lakehouse_assets.platform.results.step_result import Status
from lakehouse_assets.samples.loyalty import feeds
from lakehouse_assets.serving.as_of import clauses_as_of
from lakehouse_assets.serving.query import QueryError, query
from lakehouse_assets.settings import Settings, settings
from lakehouse_assets_tests.lake_driver import LakeDriver

SHARED = next(
    (p / "shared" / "data" for p in Path(__file__).parents if (p / "shared" / "data").exists()), Path("shared")
)
ORIGINALS = SHARED / "loyalty"
SNAPSHOTS = [date(2025, 3, 6), date(2025, 7, 14), date(2025, 8, 18)]
MARCH = date(2024, 3, 31)
LAST = date(2024, 4, 8)
REAL = (ORIGINALS / "transactions_2024_q1.csv", ORIGINALS / "transactions_cart.parquet")
KEY = "a key of these tests, 32 characters or more"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not ORIGINALS.exists(), reason=f"the real files are not at {ORIGINALS}"),
]


@pytest.fixture(scope="module", autouse=True)
def key(spark_home: Settings) -> Iterator[None]:
    """A key for pseudonyms, in the environment."""
    os.environ["LAKEHOUSE_PSEUDONYM_KEY"] = KEY
    settings.cache_clear()
    yield
    del os.environ["LAKEHOUSE_PSEUDONYM_KEY"]
    settings.cache_clear()


@pytest.fixture(scope="module")
def customers(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, key: None) -> LakeDriver:
    """The three real snapshots of customers and of products, unchanged, in silver."""
    driver = LakeDriver.at(spark, tmp_path_factory.mktemp("customers"))
    for table in ("clientes", "produtos"):
        for day in SNAPSHOTS:
            driver.land(f"loyalty/{table}", ORIGINALS / f"{table}_snapshots" / f"{day}.csv")
        driver.make(f"loyalty/bronze/{table}", SNAPSHOTS)
        outcome = driver.make(f"loyalty/silver/{table}", SNAPSHOTS)
        assert [(d.rows.quarantined, d.reconciled, d.reasons) for d in outcome.days] == [(0, True, ())] * 3
    return driver


def original(table: str, day: date) -> dict[str, tuple[str, ...]]:
    """A real snapshot by key, its drift undone by means of the test's own."""
    file = ORIGINALS / f"{table}_snapshots" / f"{day}.csv"
    with file.open(encoding="utf-8", newline="") as stream:
        header = stream.readline().strip()
        names = [name.strip('"').lower() for name in header.split(";" if ";" in header else ",")]
        rows = list(csv.DictReader(stream, names, delimiter=";" if ";" in header else ","))

    def plain(text: str | None) -> str:
        message = (text or "").removesuffix(" +0000 UTC")
        if message.startswith("0000") or not message:
            return ""
        return datetime.fromisoformat(message).isoformat() if message[4:5] == "-" and ":" in message else message

    wanted = sorted({name for name in names if not name.startswith("id")})
    return {row[names[0]]: tuple(plain(row[name]) for name in wanted) for row in rows}


def expected_changes(table: str) -> list[dict[str, object]]:
    """What an independent diff of the real files finds between each and the one before."""
    before: dict[str, tuple[str, ...]] = {}
    since: date | None = None
    expected: list[dict[str, object]] = []
    for day in SNAPSHOTS:
        now = original(table, day)
        width = max((len(message) for message in before.values()), default=0)
        expected.append({
            "table": f"loyalty/silver/{table}", "day": str(day), "since": since and str(since),
            "inserted": len(now.keys() - before.keys()),
            "updated": sum(
                before[k] != now[k] if width == len(now[k]) else True  # columns that came later say something new
                for k in now.keys() & before.keys()
            ),
            "deleted": len(before.keys() - now.keys()), "live": len(now),
        })  # fmt: skip
        before, since = now, day
    return expected


def test_changes_between_real_snapshots_are_those_of_an_independent_diff(
    customers: LakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `lakehouse quality` prints them, and as `lakehouse history` does of one table."""
    monkeypatch.setenv("LAKEHOUSE_ROOT", str(customers.lake.tables.parent))
    settings.cache_clear()
    try:
        runner = CliRunner()
        printed = runner.invoke(main, ["quality", "--domain", "loyalty", "--changes", "--format", "json"])
        assert printed.exit_code == 0, printed.output
        expected = [*expected_changes("clientes"), *expected_changes("produtos")]
        assert sorted(json.loads(printed.output), key=lambda row: (row["table"], row["day"])) == expected
        assert all(any(row[kind] for row in expected[1:3]) for kind in ("inserted", "updated"))
        shown = runner.invoke(main, ["quality", "--domain", "loyalty"]).output
        last = expected[2]
        numbers = [str(last[name]) for name in ("day", "since", "inserted", "updated", "deleted", "live")]
        assert re.search(r"clientes\W+" + r"\W+".join(numbers), shown), shown
        for table in ("clientes", "produtos"):
            told = runner.invoke(main, ["history", f"loyalty/silver/{table}", "--format", "json"]).output
            moved = [row for row in expected_changes(table) if row["inserted"] or row["updated"] or row["deleted"]]
            assert [tuple(row.values()) for row in json.loads(told)] == [
                (row["day"], row["inserted"], row["updated"], row["deleted"], row["live"]) for row in moved
            ]
    finally:
        monkeypatch.undo()
        settings.cache_clear()


def test_history_has_no_gap_no_overlap_and_one_current_row(customers: LakeDriver) -> None:
    rows = customers.read("loyalty/silver/clientes").select(
        "id_cliente", "effective_from", "effective_to", "is_current", "is_deleted"
    ).toArrow().to_pylist()  # fmt: skip
    by_key = defaultdict(list)
    for row in rows:
        by_key[row["id_cliente"]].append(row)
    for versions in by_key.values():
        versions.sort(key=lambda row: row["effective_from"])
        ends = [row["effective_to"] for row in versions]
        assert ends == [*[row["effective_from"] for row in versions[1:]], None]
        assert [row["is_current"] for row in versions] == [end is None for end in ends]
        assert not versions[0]["is_deleted"]


def test_no_identifier_of_the_source_enters_silver(customers: LakeDriver) -> None:
    ids = set(original("clientes", SNAPSHOTS[-1]))
    found = {row[0] for row in customers.read("loyalty/silver/clientes").select("id_cliente").collect()}
    assert {pseudonym(one) for one in ids} <= found
    assert not found & ids
    assert customers.rows("loyalty/silver/clientes", "pseudonym_key_id")[0] == ("1",)
    silver = customers.lake.path(TableKey.parse("loyalty/silver/clientes"))
    text = b"".join(file.read_bytes() for file in silver.rglob("*.json"))
    assert not any(one.encode() in text for one in ids), "not even in the statistics of the log"
    assert "nome" not in customers.read("loyalty/silver/clientes").columns


def test_without_a_key_nothing_is_made(customers: LakeDriver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LAKEHOUSE_PSEUDONYM_KEY")
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path))  # one without a key of its own
    settings.cache_clear()
    with pytest.raises(NoKey, match="LAKEHOUSE_PSEUDONYM_KEY"):
        customers.make("loyalty/silver/clientes", SNAPSHOTS[:1])
    monkeypatch.setenv("LAKEHOUSE_PSEUDONYM_KEY", "short")
    settings.cache_clear()
    with pytest.raises(NoKey, match="short"):
        customers.make("loyalty/silver/clientes", SNAPSHOTS[:1])
    monkeypatch.undo()
    settings.cache_clear()


def test_a_broken_extract_is_refused(customers: LakeDriver, tmp_path: Path) -> None:
    lines = (ORIGINALS / "clientes_snapshots" / "2025-08-18.csv").read_text().splitlines(keepends=True)
    day = date(2025, 8, 19)
    broken = tmp_path / f"{day}.csv"
    broken.write_text(lines[0])
    with pytest.raises(LandingError, match="without a row"):
        customers.land("loyalty/clientes", broken)
    broken.write_text("".join(lines[:2000]))
    with pytest.raises(LandingError, match=r"1999 rows.*3218.*--allow-shrinking"):
        customers.land("loyalty/clientes", broken)
    broken.write_text("".join(line.replace("QtdePontos", "Pontuacao") for line in lines))
    with pytest.raises(LandingError, match="missing 'qtde_pontos'"):
        customers.land("loyalty/clientes", broken)


def test_a_snapshot_that_is_really_empty_a_new_column_and_a_retyped_one(spark: SparkSession, tmp_path: Path) -> None:
    """All are deleted, and come back; what nobody declared is kept and warned of; what changed its type fails whole."""
    driver = LakeDriver.at(spark, tmp_path)
    days = [date(2025, 1, 1) + timedelta(days=n) for n in range(4)]

    def land(table: str, day: date, text: str) -> None:
        file = tmp_path / table / f"{day}.csv"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        driver.land(f"loyalty/{table}", file, allow_shrinking=True)

    land("produtos", days[0], "IdProduto;DescProduto\n1;Torta\n2;Bolo\n")
    land("produtos", days[1], "IdProduto;DescProduto\n")
    land("produtos", days[3], "IdProduto;DescProduto;Cor\n1;Torta;azul\n")
    driver.make("loyalty/bronze/produtos", days)
    columns = ("id_produto", "effective_from", "is_deleted", "is_current")
    driver.make("loyalty/silver/produtos", days[:1])
    driver.make("loyalty/silver/produtos", days[1:3])
    assert driver.rows("loyalty/silver/produtos", *columns) == [
        ("1", days[0], False, False), ("1", days[1], True, True),
        ("2", days[0], False, False), ("2", days[1], True, True),
    ]  # fmt: skip
    (warned,) = driver.make("loyalty/silver/produtos", days[3:]).days
    assert (warned.status, warned.rows.kept) == (Status.COMMITTED, 1)
    assert [rule.failed for rule in warned.rules if rule.rule == "no_undeclared_columns"] == [1]
    again = [("1", days[0], False, False), ("1", days[1], True, False), ("1", days[3], False, True)]
    assert driver.rows("loyalty/silver/produtos", *columns)[:3] == again
    bronze = driver.read("loyalty/bronze/produtos").where("outras_colunas IS NOT NULL")
    assert [json.loads(row.outras_colunas) for row in bronze.collect()] == [{"Cor": "azul"}]
    driver.make("loyalty/silver/produtos", days[1:])
    assert driver.rows("loyalty/silver/produtos", *columns)[:3] == again, "made again, as a range"

    land("clientes", days[0], "IdCliente;QtdePontos\n" + "".join(f"{n};muitos\n" for n in range(100)))
    driver.make("loyalty/bronze/clientes", days[:1])
    (failed,) = driver.make("loyalty/silver/clientes", days[:1]).days
    assert failed.status is Status.FAILED
    assert "qtde_pontos:parses" in failed.reasons[0]
    assert driver.lake.version(TableKey.parse("loyalty/silver/clientes")) is None, "nothing was written"


# Change data of transactions


@pytest.fixture(scope="module")
def programme(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, key: None) -> LakeDriver:
    """The real transactions as change data of Jan-Apr 2024, with the customers of then; made as one range."""
    folder = tmp_path_factory.mktemp("programme")
    driver = LakeDriver.at(spark, folder)
    first = date(2024, 1, 1)
    real = feeds.real_transactions(*REAL)
    feeds.write_changes(folder / "feeds", real, first, LAST, seed=3, share=0.05)
    days = [first + timedelta(days=n) for n in range((LAST - first).days + 1)]
    driver.land("loyalty/clientes", ORIGINALS / "customers_2024-03.csv", day=MARCH)
    driver.land("loyalty/produtos", ORIGINALS / "products_2024-03.csv", day=MARCH)
    for table in ("transacao", "transacao_produto"):
        for file in sorted((folder / "feeds" / table).iterdir()):
            driver.land(f"loyalty/{table}", file)
    for table in ("clientes", "transacao", "transacao_produto"):
        driver.make(f"loyalty/bronze/{table}", days)
        outcome = driver.make(f"loyalty/silver/{table}", days)
        assert all(d.reconciled and not d.reasons and not d.rows.quarantined for d in outcome.days)
    for table in ("dim_cliente", "fct_transacao", "daily_report", "points_balance", "churn"):
        outcome = driver.make(f"loyalty/gold/{table}", days)
        assert not any(d.reasons for d in outcome.days)
    return driver


def expected_live() -> dict[str, feeds.Transaction]:
    """Transactions that are there in the end, with their last points: by sorting and folding."""
    found = {}
    for t in feeds.real_transactions(*REAL):
        told = [r for day, table, r in feeds.changes(t, 3, 0.05) if table == "transacao" and day <= LAST]
        if not told:
            continue
        last = max(told, key=lambda record: (record[1], record[0] == "D", record[0]))
        if last[0] != "D":
            found[t.id] = t.__class__(t.id, t.cliente, t.time, int(last[5]), t.line, t.product, t.quantity)
    return found


def test_the_current_transactions_are_the_fold_of_their_changes(programme: LakeDriver) -> None:
    live = programme.read("loyalty/silver/transacao").where("NOT is_deleted")
    found = {row.id_transacao: row.qtde_pontos for row in live.select("id_transacao", "qtde_pontos").collect()}
    assert found == {id: t.points for id, t in expected_live().items()}


def test_gold_is_what_python_reckons(programme: LakeDriver) -> None:
    live = expected_live().values()
    report = Counter((t.time.date(), t.product) for t in live)
    gained: Counter[tuple[date, str]] = Counter()
    for t in live:
        gained[t.time.date(), t.product] += max(t.points, 0)
    found = programme.rows("loyalty/gold/daily_report", "dt_dia", "desc_produto", "transacoes", "pontos_entrada")
    assert {row[:2]: row[2:] for row in found} == {k: (n, gained[k]) for k, n in report.items()}
    balance: Counter[str] = Counter()
    for t in live:
        balance[pseudonym(t.cliente)] += t.points
    rows = programme.read("loyalty/gold/points_balance").collect()
    assert {row.id_cliente: row.saldo for row in rows if row.transacoes} == dict(balance)
    stated = {}
    with (ORIGINALS / "customers_2024-03.csv").open() as stream:
        for line in csv.DictReader(stream, delimiter=";"):
            stated[pseudonym(line["UUID"])] = int(line["Points"])
    assert {row.id_cliente: row.saldo_informado for row in rows if row.saldo_informado is not None} == stated
    assert all(row.diferenca == row.saldo_informado - row.saldo for row in rows if row.saldo_informado is not None)
    active = defaultdict(set)
    for t in live:
        active[t.time.date()].add(t.cliente)
    for day, now, before, lost, new in programme.rows(
        "loyalty/gold/churn", "dt_dia", "ativos", "ativos_antes", "perdidos", "novos"
    ):
        late = set().union(*[active[day - timedelta(days=n)] for n in range(28)])
        early = set().union(*[active[day - timedelta(days=n)] for n in range(28, 56)])
        assert (now, before, lost, new) == (len(late), len(early), len(early - late), len(late - early)), day


def test_a_customer_who_comes_later_heals_the_facts(programme: LakeDriver) -> None:
    with (ORIGINALS / "customers_2024-03.csv").open() as stream:
        known = {line["UUID"] for line in csv.DictReader(stream, delimiter=";")}
    live = expected_live().values()

    def inferred() -> int:
        table_metadata = programme.read("loyalty/gold/fct_transacao")
        assert table_metadata.count() == len(expected_live())
        return table_metadata.where("is_inferred").count()

    assert inferred() == sum(t.cliente not in known for t in live) > 4_000
    day = SNAPSHOTS[0]
    programme.land("loyalty/clientes", ORIGINALS / "clientes_snapshots" / f"{day}.csv")
    for table in ("bronze/clientes", "silver/clientes", "gold/dim_cliente", "gold/fct_transacao"):
        programme.make(f"loyalty/{table}", [day])
    known |= set(original("clientes", day))
    assert inferred() == sum(t.cliente not in known for t in live)


def test_a_history_is_read_as_of_any_day(customers: LakeDriver) -> None:
    here = settings().model_copy(update={"root": customers.lake.tables.parent})
    live = "select count(*), count(distinct id_cliente) from loyalty.silver.clientes where not is_deleted"
    for nth, day in enumerate(SNAPSHOTS):
        number = len(original("clientes", day))
        for known in (day, day + timedelta(days=20)):
            assert query(here, live, as_of=clauses_as_of(customers.catalog, known)).rows == [(number, number)], nth
    before = clauses_as_of(customers.catalog, SNAPSHOTS[0] - timedelta(days=1))
    assert query(here, live, as_of=before).rows == [(0, 0)]
    with pytest.raises(QueryError, match="has a history"):
        query(here, "select * from loyalty.bronze.clientes", as_of=before)


def test_days_can_be_replayed(customers: LakeDriver, programme: LakeDriver) -> None:
    for driver, table, day in ((customers, "clientes", SNAPSHOTS[1]), (programme, "transacao", date(2024, 2, 5))):
        step = Step(driver.spark, driver.lake, driver.catalog, "replay")
        found = replay(step, TableKey.parse(f"loyalty/silver/{table}"), day)
        assert (found.answer, found.identical) == (Answer.SAME, True), found.message
        assert found.rows


def test_a_person_is_erased_everywhere_and_does_not_come_back(programme: LakeDriver, tmp_path: Path) -> None:
    live = expected_live().values()
    subject = Counter(t.cliente for t in live if t.time.date() > date(2024, 3, 1)).most_common(9)[-1][0]
    table = TableKey.parse("loyalty/silver/transacao")
    theirs = programme.read(str(table)).where(F.col("id_cliente") == pseudonym(subject))
    (day,) = theirs.select("feed_day").limit(1).collect()
    before = programme.read(str(table)).count()
    forget(programme.spark, programme.lake, programme.catalog, "loyalty/clientes", subject)

    def traces() -> list[str]:
        """Parquet files of lake and landing that hold the person, under whichever name."""
        roots = (programme.lake.tables, programme.lake.landing)
        names = {subject, pseudonym(subject)}
        return [
            str(file)
            for root in roots
            for file in root.rglob("*.parquet")
            if "/_" not in str(file.relative_to(root))
            and any(
                names & set(column.to_pylist())
                for column in pq.ParquetFile(file).read().columns
                if pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
            )
        ]

    assert traces() == []
    gone = sum(t.cliente == subject for t in feeds.real_transactions(*REAL))
    assert before - programme.read(str(table)).count() == gone
    step = Step(programme.spark, programme.lake, programme.catalog, "replay")
    assert replay(step, table, day.feed_day, version=0).answer is Answer.ERASED
    original = ORIGINALS / "customers_2024-03.csv"
    assert programme.land("loyalty/clientes", original, day=MARCH, replace=True).already_landed
    other = tmp_path / original.name
    other.write_bytes(original.read_bytes() + b"\n")  # a blank line: other bytes, the same rows
    assert not programme.land("loyalty/clientes", other, day=MARCH, replace=True).already_landed
    for one in ("bronze/clientes", "silver/clientes", "gold/points_balance"):
        programme.make(f"loyalty/{one}", [MARCH])
    assert traces() == []
    for source in ("clientes", "transacao"):
        who = erasure.Subject("id_cliente", NormalForm.CASELESS, subject)
        assert erasure.rewrite_parts(programme.lake.landing / "loyalty" / source, who) == []
