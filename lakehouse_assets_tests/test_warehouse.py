"""Publishing to a real PostgreSQL: whole days, once, only what changed; roles, comments, and what goes wrong."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import psutil
import psycopg2
import pytest
from pydantic import SecretStr

from lakehouse_assets.platform.declare.table import DeclarationError, Publish, TableKey
from lakehouse_assets.serving import postgres
from lakehouse_assets.serving.postgres import WarehouseError, connect
from lakehouse_assets.serving.publish import Published, publish
from lakehouse_assets.serving.published import held_of
from lakehouse_assets.serving.warehouse_schema import postgres_type
from lakehouse_assets.serving.warehouse_tables import fields_of, place, served, warehouse_key
from lakehouse_assets.settings import Settings
from lakehouse_assets_tests.warehouse_lake import (
    CATALOG,
    CURRENT,
    DAYS,
    SALES,
    USERS,
    commit,
    embedded,
    lake_beside,
    published,
    rows_of,
    sale,
)

WRITES = (
    "INSERT INTO store.daily_sales SELECT * FROM store.daily_sales",
    "DELETE FROM store.daily_sales",
    "DROP TABLE store.daily_sales",
    "CREATE TABLE store.mine (a int)",
    "UPDATE lakehouse.published SET rows = 0",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with embedded(tmp_path_factory.mktemp("warehouse") / "my lake x=1 50% #é+'q") as here:
        yield here


@pytest.fixture
def lake(server: Settings, tmp_path: Path) -> Iterator[Settings]:
    with lake_beside(server, tmp_path) as here:
        yield here


# --- days ---


def test_days_are_published_whole_and_a_second_time_nothing_is(lake: Settings) -> None:
    commit(lake, SALES, [sale(day, category=c) for day in DAYS for c in ("casa", "moda")], DAYS)
    assert published(publish(lake, SALES, DAYS, "run-1")) == [(day, 2, True) for day in DAYS]
    assert published(publish(lake, SALES, DAYS, "run-2")) == [(day, 2, False) for day in DAYS]
    found = rows_of(lake, "SELECT feed_day, category, orders, net FROM store.daily_sales ORDER BY 1, 2")
    assert found == [(day, c, 2, Decimal("10.50")) for day in DAYS for c in ("casa", "moda")]
    runs = rows_of(lake, "SELECT DISTINCT run_id FROM lakehouse.published")
    assert runs == [("run-1",)]


def test_only_the_day_that_changed_is_written_again(lake: Settings) -> None:
    commit(lake, SALES, [sale(day) for day in DAYS], DAYS)
    publish(lake, SALES, DAYS, "run-1")
    commit(lake, SALES, [sale(DAYS[1], "99.99"), sale(DAYS[1], "1.00", "livros")], [DAYS[1]])
    assert published(publish(lake, SALES, DAYS, "run-2")) == [
        (day, 2 if day == DAYS[1] else 1, day == DAYS[1]) for day in DAYS
    ]
    commit(lake, SALES, [], [DAYS[2]])
    assert published(publish(lake, SALES, [DAYS[2]], "run-3")) == [(DAYS[2], 0, True)]
    nets = rows_of(lake, "SELECT feed_day, net FROM store.daily_sales ORDER BY feed_day, net")
    expected = [(DAYS[0], "10.50"), (DAYS[1], "1.00"), (DAYS[1], "99.99"), (DAYS[3], "10.50")]
    assert nets == [(day, Decimal(net)) for day, net in expected]


def test_a_day_that_was_never_made_is_not_published(lake: Settings) -> None:
    assert publish(lake, SALES, DAYS, "run") == []
    commit(lake, SALES, [sale(DAYS[0])], [DAYS[0]])
    assert published(publish(lake, SALES, DAYS, "run")) == [(DAYS[0], 1, True)]


def test_a_table_that_is_one_state_is_published_whole(lake: Settings) -> None:
    names = CURRENT.compiled.spark_schema.names
    assert "feed_day" not in names, "the test needs a table without days"
    values = {"gmv_date": DAYS[0], "subsidiary": "nacional", "product_id": 7, "gmv": Decimal("5.00"), "purchases": 1}
    values |= {"effective_date": DAYS[1], "version": 1}
    commit(lake, CURRENT, [{name: values.get(name) for name in names}])
    assert published(publish(lake, CURRENT, DAYS, "run")) == [(None, 1, True)]
    commit(lake, CURRENT, [{name: (values | {"product_id": n}).get(name) for name in names} for n in (8, 9)])
    assert published(publish(lake, CURRENT, DAYS[:1], "run")) == [(None, 2, True)]
    assert rows_of(lake, "SELECT product_id FROM gmv.gmv_current ORDER BY 1") == [(8,), (9,)]


def test_an_older_publisher_that_comes_late_leaves_what_is_newer(lake: Settings) -> None:
    commit(lake, SALES, [sale(DAYS[0], "1.00")], [DAYS[0]])
    publish(lake, SALES, DAYS, "run-1")
    with connect(lake) as connection, connection, connection.cursor() as cursor:
        cursor.execute("UPDATE lakehouse.published SET delta_version = 5")  # as a newer one would have left it
    assert published(publish(lake, SALES, DAYS, "zombie")) == [(DAYS[0], 1, False)]


# --- schema ---


def test_the_schema_is_that_of_the_contract_with_its_comments(lake: Settings) -> None:
    commit(lake, SALES, [sale(DAYS[0])], [DAYS[0]])
    publish(lake, SALES, DAYS, "run")
    found = rows_of(
        lake,
        """SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, col_description(a.attrelid, a.attnum)
           FROM pg_attribute a WHERE a.attrelid = 'store.daily_sales'::regclass AND a.attnum > 0 ORDER BY a.attnum""",
    )
    contract = SALES.compiled
    assert found == [
        (f.name, postgres_type(f.dataType), not f.nullable, contract.comments[f.name]) for f in contract.spark_schema
    ]
    assert rows_of(lake, "SELECT obj_description('store.daily_sales'::regclass)") == [(contract.description,)]


def test_an_older_table_gets_the_contracts_columns_and_keeps_its_rows(lake: Settings) -> None:
    commit(lake, SALES, [sale(day) for day in DAYS[:2]], DAYS[:2])
    publish(lake, SALES, DAYS[:1], "run")
    with connect(lake) as connection, connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE store.daily_sales DROP COLUMN units")
        cursor.execute("ALTER TABLE store.daily_sales ALTER COLUMN orders TYPE integer")
        cursor.execute("ALTER TABLE store.daily_sales ADD COLUMN old text NOT NULL DEFAULT 'x'")
    publish(lake, SALES, DAYS, "run")
    assert rows_of(lake, "SELECT feed_day, units, pg_typeof(orders)::text FROM store.daily_sales ORDER BY 1") == [
        (DAYS[0], None, "bigint"),
        (DAYS[1], 3, "bigint"),
    ]


def test_every_declared_table_has_a_type_for_each_column() -> None:
    for table in CATALOG.tables:
        assert place(table)[1] == table.key.name
        assert all(postgres_type(field.dataType) for field in table.compiled.spark_schema)


# --- what is published, and what is withheld ---


def test_gold_and_chosen_silver_are_published_under_names_of_their_own() -> None:
    tables = served(CATALOG)
    gold = {table.key for table in CATALOG.tables if table.key.layer == "gold"}
    chosen = {str(table.key) for table in tables if table.key not in gold}
    assert {table.key for table in tables} > gold
    assert chosen == {"store/silver/orders", "store/silver/payments", "marketplace/silver/orders"}
    keys = [warehouse_key(table) for table in tables]
    assert len(set(keys)) == len({place(table) for table in tables}) == len(tables)
    orders = CATALOG.table(TableKey("store", "silver", "orders"))
    assert (str(warehouse_key(orders)), place(orders)) == ("store/warehouse/silver_orders", ("store_silver", "orders"))


def test_no_personal_column_is_published_unless_the_table_says_so() -> None:
    for table in served(CATALOG):
        assert not table.compiled.pii & {field.name for field in fields_of(table)}
    marketplace = CATALOG.table(TableKey("marketplace", "silver", "orders"))
    assert "cod_idef_clie" in marketplace.compiled.pii
    with pytest.raises(DeclarationError, match="'state' is no personal column"):
        replace(USERS, publish=Publish(("state",)))


def test_an_analyst_finds_no_personal_column_and_one_that_becomes_personal_goes(lake: Settings) -> None:
    withholding = replace(USERS, publish=Publish())
    user = {"feed_day": DAYS[0], "version": 1, "record_hash": "h", "processed_date": DAYS[0], "state": "SP"}
    commit(lake, USERS, [user | {"user_id": "1", "name": "Ana", "email": "ana@example.com"}], [DAYS[0]])
    publish(lake, USERS, DAYS, "declared")
    assert rows_of(lake, "SELECT name FROM store_silver.users") == [("Ana",)]
    assert "email" not in columns_of(lake, "store_silver", "users")
    publish(lake, withholding, DAYS, "not any more")
    assert not {"name", "email"} & columns_of(lake, "store_silver", "users")
    assert rows_of(lake, "SELECT user_id, state FROM store_silver.users") == [("1", "SP")]
    with connect(lake) as connection, connection.cursor() as cursor:
        cursor.execute("SET ROLE lakehouse_analyst")
        cursor.execute("SELECT * FROM store_silver.users")
        assert "Ana" not in repr(cursor.fetchall())


def columns_of(settings: Settings, schema: str, name: str) -> set[str]:
    found = rows_of(
        settings,
        "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s",
        schema,
        name,
    )
    return {column for (column,) in found}


# --- roles ---


def test_analysts_read_and_nobody_else_writes(lake: Settings) -> None:
    commit(lake, SALES, [sale(DAYS[0])], [DAYS[0]])
    publish(lake, SALES, DAYS, "run")
    with connect(lake) as connection, connection.cursor() as cursor:
        for role, reads in (("lakehouse_analyst", True), ("somebody", False)):
            cursor.execute(f"DO $$ BEGIN CREATE ROLE {role} NOLOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
            cursor.execute("SAVEPOINT s")
            cursor.execute(f"SET LOCAL ROLE {role}")
            if reads:
                cursor.execute("SELECT count(*) FROM store.daily_sales")
                assert cursor.fetchone() == (1,)
            for statement in WRITES:
                cursor.execute("SAVEPOINT t")
                with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                    cursor.execute(statement)
                cursor.execute("ROLLBACK TO SAVEPOINT t")
            cursor.execute("ROLLBACK TO SAVEPOINT s")


def timed_out_of(settings: Settings) -> str:
    started = time.monotonic()
    with pytest.raises(WarehouseError) as message, connect(settings):
        pass
    assert time.monotonic() - started < 30
    assert "Traceback" not in str(message.value)
    assert "geheim" not in str(message.value) + repr(message.value.__cause__) + repr(settings), "no secret is told"
    return str(message.value)


def elsewhere(url: str) -> Settings:
    return Settings(warehouse_url=SecretStr(url))


def test_nothing_listens_there() -> None:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        message = timed_out_of(elsewhere(f"postgresql://me:geheim@127.0.0.1:{free.getsockname()[1]}/db"))
    assert "Nothing listens there" in message
    assert "127.0.0.1" in message


def test_no_answer() -> None:
    with closing(socket.socket()) as silent:  # takes the connection and never says a word
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        message = timed_out_of(elsewhere(f"postgresql://me:geheim@127.0.0.1:{silent.getsockname()[1]}/db"))
    assert "No answer within" in message


def test_no_such_host() -> None:
    assert "No such host" in timed_out_of(elsewhere("postgresql://me:geheim@nowhere.invalid/db?sslmode=require"))


def test_no_such_database(server: Settings) -> None:
    there = postgres.url(server).replace("/postgres?", "/nowhere?")
    assert "Create it first" in timed_out_of(elsewhere(there))


def test_no_url_at_all() -> None:
    assert "is no URL of PostgreSQL" in timed_out_of(elsewhere("postgresql//me:geheim@x"))


def test_a_wrong_password(server: Settings) -> None:
    """On a server that asks for one: the embedded one, told to."""
    folder = server.home.absolute() / "warehouse"
    rules = folder / "pg_hba.conf"
    before = rules.read_text() if rules.exists() else ""
    with connect(server) as connection, connection, connection.cursor() as cursor:
        before = rules.read_text()
        cursor.execute(
            "DO $$ BEGIN CREATE ROLE keyed LOGIN PASSWORD 'right'; EXCEPTION WHEN duplicate_object THEN END $$"
        )
        rules.write_text("local all keyed scram-sha-256\n" + before)
        cursor.execute("SELECT pg_reload_conf()")
    try:
        there = postgres.url(server)
        assert "Wrong user or password" in timed_out_of(elsewhere(there.replace("postgres:@", "keyed:geheim@")))
        with connect(elsewhere(there.replace("postgres:@", "keyed:right@"))) as connection:
            assert connection.status
    finally:
        rules.write_text(before)


def test_a_user_who_may_not_make_roles_is_told_what_an_administrator_has_to_run(server: Settings) -> None:
    with connect(server) as connection, connection, connection.cursor() as cursor:
        cursor.execute("DO $$ BEGIN CREATE ROLE plain LOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
        cursor.execute("DROP ROLE IF EXISTS somebody")
        for role in ("lakehouse_loader", "lakehouse_analyst"):
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
            if cursor.fetchone():
                cursor.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    lake = elsewhere(postgres.url(server).replace("postgres:@", "plain:@").replace("//postgres", "//plain"))
    commit_home = Settings(home=server.home, root=server.home / "plain", warehouse_url=lake.warehouse_url)
    commit(commit_home, SALES, [sale(DAYS[0])], [DAYS[0]])
    with pytest.raises(WarehouseError, match="Have an administrator run: CREATE ROLE lakehouse_loader"):
        publish(commit_home, SALES, DAYS, "run")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "stopped"])
def test_a_server_that_goes_in_the_middle_loses_no_day_and_doubles_none(lake: Settings, how: signal.Signals) -> None:
    many = [DAYS[0] + timedelta(days=n) for n in range(40)]
    commit(lake, SALES, [sale(day, category=f"c{n}") for day in many for n in range(200)], many)
    some, dead = threading.Event(), threading.Event()
    seen: list[date | None] = []

    def on_day(day: Published) -> None:
        seen.append(day.day)
        if len(seen) == 5:
            some.set()
            assert dead.wait(60)

    def kill() -> None:
        assert some.wait(60)
        folder = lake.home.absolute() / "warehouse"
        pid = int((folder / "postmaster.pid").read_text().split()[0])
        os.kill(pid, how)
        psutil.wait_procs([psutil.Process(pid)], timeout=30)
        dead.set()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(WarehouseError, match="connection was lost"):
        publish(lake, SALES, many, "first", on_day)
    killer.join()
    there = dict(rows_of(lake, "SELECT feed_day, count(*) FROM store.daily_sales GROUP BY 1"))
    assert set(seen) <= set(there)
    assert set(there.values()) == {200}, "a day is there whole or not at all"
    again = publish(lake, SALES, many, "second")
    assert [day.day for day in again if not day.changed] == sorted(there)
    assert rows_of(lake, "SELECT count(*), count(DISTINCT (feed_day, category)) FROM store.daily_sales") == [
        (8000, 8000)
    ]
    assert {day: held.rows for day, held in held_of(lake, [str(SALES.key)])[str(SALES.key)].items()} == dict.fromkeys(
        many, 200
    )
