"""What Delta holds is what PostgreSQL then holds: every kind of column, and no change on the way unseen."""

import struct
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import pyarrow as pa
import pyspark.sql.types as T
import pytest
from deltalake import write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.contracts.contract import Contract, column, table_metadata
from lakehouse_assets.platform.declare.table import ReplaceDays, Table, TableKey
from lakehouse_assets.serving.postgres import WarehouseError, connect
from lakehouse_assets.serving.publish import publish
from lakehouse_assets.settings import Settings
from lakehouse_assets_tests.warehouse_lake import (
    DAYS,
    LEDGER,
    SALES,
    USERS,
    Row,
    arrow,
    commit,
    embedded,
    lake_beside,
    published,
    rows_of,
    sale,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with embedded(tmp_path_factory.mktemp("warehouse")) as here:
        yield here


@pytest.fixture
def lake(server: Settings, tmp_path: Path) -> Iterator[Settings]:
    with lake_beside(server, tmp_path) as here:
        yield here


class Kinds(Contract):
    """A column of every kind that a contract may have."""

    feed_day: T.DateType = column("the day")
    number: T.LongType = column("key")
    text: T.StringType = column("text", nullable=True)
    small: T.ShortType = column("16 bits", nullable=True)
    tiny: T.ByteType = column("8 bits", nullable=True)
    whole: T.IntegerType = column("32 bits", nullable=True)
    money: Annotated[T.DecimalType, 28, 2] = column("decimal", nullable=True)
    wide: Annotated[T.DecimalType, 38, 4] = column("as many digits as there are", nullable=True)
    long: Annotated[T.DecimalType, 18, 0] = column("no decimals", nullable=True)
    tiniest: Annotated[T.DecimalType, 38, 38] = column("decimals only", nullable=True)
    double: T.DoubleType = column("64 bits, binary", nullable=True)
    single: T.FloatType = column("32 bits, binary", nullable=True)
    yes: T.BooleanType = column("yes or no", nullable=True)
    day: T.DateType = column("a date", nullable=True)
    at: T.TimestampType = column("a point in time", nullable=True)
    local: T.TimestampNTZType = column("a time without a zone", nullable=True)
    data: T.BinaryType = column("bytes", nullable=True)
    many: Annotated[T.ArrayType, T.StringType(), True] = column("texts", nullable=True)

    class Config:
        metadata = table_metadata(owners=("tests@example.com",), key=("feed_day", "number"))


def _not_made(**_: "DataFrame") -> "DataFrame":
    raise LakehouseError("Committed by the test.")


KINDS = Table(TableKey("store", "gold", "kinds"), Kinds, _not_made, MappingProxyType({}), ReplaceDays())
WIDE = Context(prec=40)
FLOATS = {"double": "d", "single": "f"}
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
MICROSECONDS = st.datetimes(datetime(1600, 1, 1), datetime(2900, 1, 1))
VALUES = {
    "text": TEXT,
    "small": st.integers(-(2**15), 2**15 - 1),
    "tiny": st.integers(-(2**7), 2**7 - 1),
    "whole": st.integers(-(2**31), 2**31 - 1),
    "money": st.decimals(-(10**25), 10**25, allow_nan=False, places=2),
    "wide": st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: Decimal(n).scaleb(-4, WIDE)),
    "long": st.integers(-(10**18) + 1, 10**18 - 1).map(Decimal),
    "tiniest": st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: Decimal(n).scaleb(-38, WIDE)),
    "double": st.floats(),
    "single": st.floats(width=32),
    "yes": st.booleans(),
    "day": st.dates(date(1600, 1, 1), date(2900, 1, 1)),
    "at": MICROSECONDS.map(lambda at: at.replace(tzinfo=UTC)),
    "local": MICROSECONDS,
    "data": st.binary(max_size=8),
    "many": st.lists(st.none() | TEXT, max_size=3),
}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()}), max_size=6))
def test_values_of_every_kind_arrive_as_they_were(lake: Settings, rows: list[Row]) -> None:
    numbered = [{"feed_day": DAYS[0], "number": n} | row for n, row in enumerate(rows)]
    commit(lake, KINDS, numbered, [DAYS[0]])
    assert published(publish(lake, KINDS, [DAYS[0]], "run")) == [(DAYS[0], len(rows), True)]
    names = [field.name for field in KINDS.compiled.spark_schema]
    there = rows_of(lake, f"SELECT {', '.join(names)} FROM store.kinds ORDER BY number")  # noqa: S608
    assert [_plain(dict(zip(names, row, strict=True))) for row in there] == [_plain(row) for row in numbered]


def _plain(row: Row) -> Row:
    """Values as they are compared: bytes of a view, floats of their bits as text, as NaN equals nothing."""
    views = {name: bytes(value) for name, value in row.items() if isinstance(value, memoryview)}
    floats = {
        name: repr(struct.unpack(bits, struct.pack(bits, row[name])))
        for name, bits in FLOATS.items()
        if row[name] is not None
    }
    return row | views | floats


@pytest.mark.parametrize(
    ("does", "message"),
    [
        ("NEW.net = NEW.net + 1; RETURN NEW", "net: 10.50, 11.50"),
        ("NEW.category = upper(NEW.category); RETURN NEW", r"category: \d+, \d+"),
        ("RETURN NULL", r"rows: 1, 0; feed_day: \d+, 0"),
    ],
)
def test_what_is_altered_on_the_way_is_refused_and_the_column_named(lake: Settings, does: str, message: str) -> None:
    commit(lake, SALES, [sale(DAYS[0])], [DAYS[0]])
    publish(lake, SALES, DAYS, "run")
    with connect(lake) as connection, connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE FUNCTION store.meddle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {does}; END'")
        cursor.execute(
            "CREATE TRIGGER t BEFORE INSERT ON store.daily_sales FOR EACH ROW EXECUTE FUNCTION store.meddle()"
        )
    commit(lake, SALES, [sale(DAYS[0]), sale(DAYS[1])], DAYS[:2])
    with pytest.raises(WarehouseError, match=f"do not amount to the same .*{message}.* was not published"):
        publish(lake, SALES, DAYS, "run")
    assert rows_of(lake, "SELECT feed_day, net FROM store.daily_sales") == [(DAYS[0], Decimal("10.50"))]


def test_a_session_that_ends_in_the_middle_of_the_copy_leaves_the_day_as_it_was(lake: Settings) -> None:
    commit(lake, SALES, [sale(DAYS[0])], [DAYS[0]])
    publish(lake, SALES, DAYS, "first")
    with connect(lake) as connection, connection, connection.cursor() as cursor:
        ends = "BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END"
        cursor.execute(f"CREATE FUNCTION store.ends() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS '{ends}'")
        when = "BEFORE INSERT ON store.daily_sales FOR EACH ROW WHEN (NEW.category = 'c700')"
        cursor.execute(f"CREATE TRIGGER ends {when} EXECUTE FUNCTION store.ends()")
    commit(lake, SALES, [sale(DAYS[0], category=f"c{n}") for n in range(1000)], [DAYS[0]])
    with pytest.raises(WarehouseError, match=r"the connection was lost \(terminating connection.*Run it again"):
        publish(lake, SALES, DAYS, "second")
    assert rows_of(lake, "SELECT category FROM store.daily_sales") == [("casa",)]
    with connect(lake) as connection, connection, connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER ends ON store.daily_sales")
    assert published(publish(lake, SALES, DAYS, "third")) == [(DAYS[0], 1000, True)]


def test_a_view_that_stands_in_the_way_of_a_column_is_told(lake: Settings) -> None:
    commit(lake, SALES, [sale(DAYS[0])], [DAYS[0]])
    publish(lake, SALES, DAYS, "run")
    with connect(lake) as connection, connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE store.daily_sales ALTER COLUMN orders TYPE integer")
        cursor.execute("CREATE VIEW store.orders AS SELECT orders FROM store.daily_sales")
    with pytest.raises(WarehouseError, match="refused what it was told: cannot alter type of a column used by a view"):
        publish(lake, SALES, DAYS, "run")


def test_rows_that_cannot_be_read_are_not_blamed_on_postgresql(lake: Settings) -> None:
    commit(lake, SALES, [sale(DAYS[0])], [DAYS[0]])
    for file in lake.lake.joinpath(*SALES.key.parts).glob("*.parquet"):
        file.write_bytes(file.read_bytes()[:-40] + bytes(40))
    with pytest.raises(WarehouseError, match="store/gold/daily_sales could not be read, and was not published"):
        publish(lake, SALES, DAYS, "run")


def test_every_text_arrives_as_it_was(lake: Settings) -> None:
    texts = ["a\tb", "a\nb\r", "\\N", "\\", "'\";--", "é ☃ \U0001f600", "", " ", "a,b", '"', "NULL"]
    common = {"feed_day": DAYS[0], "version": 1, "record_hash": "h", "processed_date": DAYS[0], "state": "SP"}
    users = [common | {"user_id": str(n), "name": text, "city": None} for n, text in enumerate(texts)]
    commit(lake, USERS, users, [DAYS[0]])
    assert published(publish(lake, USERS, [DAYS[0]], "run")) == [(DAYS[0], len(texts), True)]
    found = rows_of(lake, "SELECT name FROM store_silver.users WHERE city IS NULL ORDER BY user_id::int")
    assert [name for (name,) in found] == texts


@pytest.mark.parametrize("zone", [None, "UTC"], ids=["as Spark writes it", "with its zone"])
def test_a_point_in_time_arrives_however_the_file_holds_it(lake: Settings, zone: str | None) -> None:
    """Spark writes INT96, which is read as a time without a zone."""
    at = datetime(2025, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
    row = {"gmv_date": DAYS[0], "subsidiary": "nacional", "product_id": 7, "gmv": Decimal("5.00"), "purchases": 1}
    row |= {"effective_date": DAYS[0], "version": 1, "reason": "new", "feed_day": DAYS[0], "run_id": "r"}
    rows = arrow(LEDGER, [row | {"processed_at": at}])
    place = rows.schema.get_field_index("processed_at")
    rows = rows.set_column(place, "processed_at", rows["processed_at"].cast(pa.timestamp("us", zone)))
    write_deltalake(str(lake.lake.joinpath(*LEDGER.key.parts)), rows)
    assert published(publish(lake, LEDGER, DAYS[:1], "run")) == [(DAYS[0], 1, True)]
    assert rows_of(lake, "SELECT processed_at FROM gmv.gmv") == [(at,)]


def test_what_postgresql_cannot_hold_is_refused_and_says_so(lake: Settings) -> None:
    commit(lake, SALES, [sale(DAYS[0])], [DAYS[0]])
    commit(lake, SALES, [sale(DAYS[1], category="nul \0 byte")], [DAYS[1]])
    with pytest.raises(WarehouseError, match="PostgreSQL refused what Delta holds"):
        publish(lake, SALES, DAYS, "run")
    assert rows_of(lake, "SELECT count(*) FROM store.daily_sales") == [(1,)], "the day before is there"
