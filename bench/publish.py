"""A million rows of gold into PostgreSQL: one day of a table in Delta, published to the embedded server."""

import os
import resource
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
from deltalake import CommitProperties, write_deltalake

from lakehouse_assets import defs as domains
from lakehouse_assets.platform.catalog import discover
from lakehouse_assets.platform.delta import Note
from lakehouse_assets.platform.table import TableKey
from lakehouse_assets.serving import postgres
from lakehouse_assets.serving.publish import publish
from lakehouse_assets.settings import Settings

ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
DAY = date(2025, 1, 1)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        here = Settings(home=Path(folder), warehouse_url=None)
        table = discover(domains).table(TableKey("store", "gold", "customer_value"))
        rng = np.random.default_rng(1)
        cents = pa.array(rng.integers(0, 10**7, ROWS))
        rows = pa.table(
            {
                "feed_day": pa.repeat(pa.scalar(DAY, pa.date32()), ROWS),
                "user_id": pa.array([f"{n:032x}" for n in range(ROWS)]),
                "last_order": pa.repeat(pa.scalar(DAY, pa.date32()), ROWS),
                "recency_days": pa.array(rng.integers(0, 365, ROWS).astype(np.int32)),
                "frequency": pa.array(rng.integers(1, 50, ROWS)),
                "value": cents.cast(pa.decimal128(28, 2)),
            }
        )
        note = Note(str(table.key), "bench", "a", frozenset({DAY}), "code", {})
        write_deltalake(
            str(here.lake.joinpath(*table.key.parts)),
            rows,
            commit_properties=CommitProperties(custom_metadata={"userMetadata": note.dump()}),
        )
        with postgres.connect(here):
            pass
        for name in ("first", "again"):
            started, before = time.monotonic(), os.times()
            (day,) = publish(here, table, [DAY], name)
            spent = os.times().user - before.user
            print(f"{name}: {day.rows} rows, {time.monotonic() - started:.1f} s ({spent:.1f} s of CPU here)")
        print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
        postgres.stop(here)


if __name__ == "__main__":
    main()
