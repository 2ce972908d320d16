"""A declared table as a table of the warehouse: created and evolved from its contract, comments carried over."""

from typing import TYPE_CHECKING

from psycopg2 import sql

from lakehouse_assets.serving import published
from lakehouse_assets.serving.postgres import WarehouseError
from lakehouse_assets.serving.warehouse_tables import fields_of, place, withheld_columns

if TYPE_CHECKING:
    import pyspark.sql.types as T
    from psycopg2.extensions import cursor as Cursor

    from lakehouse_assets.platform.declare.table import Table

OWN_SCHEMA = "lakehouse"
LOADER, ANALYST = "lakehouse_loader", "lakehouse_analyst"
TYPES = {
    "string": "text",
    "bigint": "bigint",
    "int": "integer",
    "smallint": "smallint",
    "tinyint": "smallint",
    "double": "double precision",
    "float": "real",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp with time zone",
    "timestamp_ntz": "timestamp without time zone",
    "binary": "bytea",
}


def identifier(table: "Table") -> sql.Identifier:
    """The table's quoted name."""
    return sql.Identifier(*place(table))


def prepare(cursor: "Cursor", table: "Table") -> None:
    """Roles, schema, table, columns and comments as the contract says; idempotent. Raises WarehouseError.

    New columns are added and types widened as PostgreSQL can; a column that the contract no longer has stays, empty
    from then on; one that became personal is dropped. From here on the session writes as the loader.
    """
    cursor.execute("SELECT pg_advisory_xact_lock(hashtext('lakehouse schema'))")
    _roles(cursor)
    for schema in (OWN_SCHEMA, place(table)[0]):
        _schema(cursor, schema)
    cursor.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(LOADER)))
    cursor.execute(published.TABLE)
    _columns(cursor, table)
    _comments(cursor, table)


def _roles(cursor: "Cursor") -> None:
    cursor.execute("SELECT rolname FROM pg_roles WHERE rolname IN (%s, %s)", (LOADER, ANALYST))
    there = {name for (name,) in cursor.fetchall()}
    cursor.execute("SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user")
    (may_create,) = cursor.fetchone() or (False,)
    missing = [role for role in (LOADER, ANALYST) if role not in there]
    if missing and not may_create:
        raise WarehouseError(
            f"The warehouse lacks the role {missing[0]} and the user of LAKEHOUSE_WAREHOUSE_URL may not create it. "
            f"Have an administrator run: CREATE ROLE {LOADER} NOLOGIN; CREATE ROLE {ANALYST} NOLOGIN; "
            f"GRANT {LOADER} TO <that user>; GRANT CREATE ON DATABASE <the database> TO {LOADER};"
        )
    for role in missing:
        cursor.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
    cursor.execute("SELECT pg_has_role(current_user, %s, 'SET')", (LOADER,))
    (may_set,) = cursor.fetchone() or (False,)
    if not may_set:
        cursor.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(LOADER)))


def _schema(cursor: "Cursor", schema: str) -> None:
    """The loader owns it; analysts read what is there and what will be."""
    cursor.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,))
    if cursor.fetchone():
        return
    names = {"schema": sql.Identifier(schema), "loader": sql.Identifier(LOADER), "analyst": sql.Identifier(ANALYST)}
    for statement in (
        "CREATE SCHEMA {schema} AUTHORIZATION {loader}",
        "REVOKE ALL ON SCHEMA {schema} FROM PUBLIC",
        "GRANT USAGE ON SCHEMA {schema} TO {analyst}",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {loader} IN SCHEMA {schema} GRANT SELECT ON TABLES TO {analyst}",
    ):
        cursor.execute(sql.SQL(statement).format(**names))


def _columns(cursor: "Cursor", table: "Table") -> None:
    fields = fields_of(table)
    cursor.execute(
        """SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull FROM pg_attribute a
           WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped""",
        (identifier(table).as_string(cursor),),
    )
    there = {name: (kind, required) for name, kind, required in cursor.fetchall()}
    if not there:
        columns = sql.SQL(", ").join(_column(field) for field in fields)
        cursor.execute(sql.SQL("CREATE TABLE {} ({})").format(identifier(table), columns))
        if "feed_day" in table.compiled.spark_schema.names:
            # Days are written whole, so that a day's rows lie together: an index of ranges costs an insert nothing.
            cursor.execute(sql.SQL("CREATE INDEX ON {} USING brin (feed_day)").format(identifier(table)))
        return
    for field in fields:
        name, kind = sql.Identifier(field.name), sql.SQL(postgres_type(field.dataType))
        if field.name not in there:
            cursor.execute(sql.SQL("ALTER TABLE {} ADD COLUMN {} {}").format(identifier(table), name, kind))
        elif there[field.name][0] != postgres_type(field.dataType):
            cursor.execute(sql.SQL("ALTER TABLE {} ALTER COLUMN {} TYPE {}").format(identifier(table), name, kind))
        if field.name in there and there[field.name][1] and field.nullable:
            cursor.execute(sql.SQL("ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL").format(identifier(table), name))
    for name in sorted(set(there) & withheld_columns(table)):
        cursor.execute(sql.SQL("ALTER TABLE {} DROP COLUMN {}").format(identifier(table), sql.Identifier(name)))
    for name in sorted(set(there) - set(table.compiled.spark_schema.names)):
        cursor.execute(
            sql.SQL("ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL").format(identifier(table), sql.Identifier(name))
        )


def _column(field: "T.StructField") -> sql.Composed:
    required = sql.SQL("") if field.nullable else sql.SQL(" NOT NULL")
    return sql.SQL("{} {}{}").format(sql.Identifier(field.name), sql.SQL(postgres_type(field.dataType)), required)


def _comments(cursor: "Cursor", table: "Table") -> None:
    message = sql.Literal(table.compiled.description)
    cursor.execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(identifier(table), message))
    for field in fields_of(table):
        column, comment = sql.Identifier(*place(table), field.name), table.compiled.comments[field.name]
        cursor.execute(sql.SQL("COMMENT ON COLUMN {} IS {}").format(column, sql.Literal(comment)))


def postgres_type(kind: "T.DataType") -> str:
    """The type that holds a Spark type, as PostgreSQL writes it; what has no equal is kept as JSON."""
    text = kind.simpleString()
    if text.startswith("decimal"):
        return text.replace("decimal", "numeric")
    return TYPES.get(text, "jsonb")
