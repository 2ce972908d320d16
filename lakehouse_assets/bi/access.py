"""The login by which dashboards read the warehouse: it has the analyst's role and can write nothing."""

from collections.abc import Iterable

from psycopg2 import sql
from pydantic import SecretStr

from lakehouse_assets.platform.declare.table import Table
from lakehouse_assets.serving.postgres import WarehouseError, connect, url
from lakehouse_assets.serving.warehouse_schema import ANALYST, LOADER, prepare
from lakehouse_assets.settings import Settings

LOGIN = "lakehouse_dashboards"
_GRANT = f"CREATE ROLE {LOGIN} LOGIN PASSWORD '…'; GRANT {ANALYST} TO {LOGIN};"


def prepare_tables(settings: Settings, tables: Iterable[Table]) -> None:
    """Let the tables that charts read exist, as their contracts say, also before anything is published."""
    with connect(settings) as connection, connection, connection.cursor() as cursor:
        for table in tables:
            cursor.execute("RESET ROLE")
            prepare(cursor, table)


def dashboards_url(settings: Settings) -> SecretStr:
    """URL of a login that reads the warehouse: LAKEHOUSE_ANALYST_URL, else one of the embedded server.

    Raises WarehouseError where it is missing, or may write.
    """
    if settings.analyst_url is not None:
        _require_reader(settings)
        return settings.analyst_url
    if settings.warehouse_url is not None:
        raise WarehouseError(
            "Dashboards need a login of the warehouse that only reads. As its administrator run:\n"
            f"  {_GRANT}\nthen set LAKEHOUSE_ANALYST_URL=postgresql://{LOGIN}:password@host:5432/database"
        )
    with connect(settings) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (LOGIN,))
        if not cursor.fetchone():
            cursor.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(LOGIN)))
        cursor.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(ANALYST), sql.Identifier(LOGIN)))
    return SecretStr(url(settings).replace("://postgres:", f"://{LOGIN}:", 1))


def _require_reader(settings: Settings) -> None:
    as_analyst = settings.model_copy(update={"warehouse_url": settings.analyst_url})
    try:
        with connect(as_analyst) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT rolname, rolsuper FROM pg_roles WHERE rolname = current_user")
            name, superuser = cursor.fetchone() or ("", False)
            cursor.execute(
                """SELECT rolname FROM pg_roles
                   WHERE rolname IN (%s, %s) AND pg_has_role(current_user, oid, 'MEMBER')""",
                (ANALYST, LOADER),
            )
            roles = {role for (role,) in cursor.fetchall()}
    except WarehouseError as error:
        message = str(error).replace("LAKEHOUSE_WAREHOUSE_URL", "LAKEHOUSE_ANALYST_URL")
        raise WarehouseError(f"The login of dashboards, LAKEHOUSE_ANALYST_URL: {message}") from error
    if superuser or LOADER in roles:
        raise WarehouseError(f"The login {name} in LAKEHOUSE_ANALYST_URL may write. Use one that only reads: {_GRANT}")
    if ANALYST not in roles:
        raise WarehouseError(
            f"The login {name} in LAKEHOUSE_ANALYST_URL may not read the warehouse. Run: GRANT {ANALYST} TO {name};"
        )
