"""A lakehouse to measure in: its settings, its Spark server, its session, feeds, and Dagster runs in this process."""

import csv
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakehouse_assets.settings import settings

if TYPE_CHECKING:
    import dagster as dg
    from pyspark.sql import SparkSession

FIRST = date(2020, 1, 1)
TABLES = ("product_item", "purchase", "purchase_extra_info")
ASSETS = tuple(
    f"gmv/{layer}/{table}"
    for layer, tables in (("bronze", TABLES), ("silver", TABLES), ("gold", ("gmv", "gmv_current")))
    for table in tables
)


@cache
def spark_session() -> "SparkSession":
    """One session for all measures, on the server of the bench's home."""
    from lakehouse_assets.platform.runtime.sessions import open_session

    return open_session(settings(), "bench")


def stop_server() -> None:
    """End the session and the embedded server, if measures started one."""
    from lakehouse_assets.platform.runtime.sessions import close_session
    from lakehouse_assets.platform.runtime.spark_server import stop_server as stop

    if spark_session.cache_info().currsize:
        close_session(spark_session())
        spark_session.cache_clear()
    if settings().spark_remote is None:
        stop(settings())


def days(first: date, count: int) -> list[date]:
    """`count` days from `first` on."""
    return [first + timedelta(days=n) for n in range(count)]


@contextmanager
def lake_at(folder: Path, storage: str = "ours") -> Iterator[Path]:
    """This process's lake and DAGSTER_HOME in `folder`; `storage` is Dagster's as we configure it, or `shipped`."""
    from lakehouse_assets.ops.home import prepare_dagster_home

    before = {name: os.environ.get(name) for name in ("LAKEHOUSE_ROOT", "DAGSTER_HOME", "DAGSTER_EVENT_BATCH_SIZE")}
    home = folder / f"dagster-{storage}"
    os.environ |= {"LAKEHOUSE_ROOT": str(folder), "DAGSTER_HOME": str(home), "DAGSTER_EVENT_BATCH_SIZE": "500"}
    if storage == "shipped":
        home.mkdir(parents=True, exist_ok=True)
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    settings.cache_clear()
    prepare_dagster_home(settings())
    try:
        yield folder
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        settings.cache_clear()


def land(folder: Path, first: date, last: date, purchases: int, tables: Iterable[str] = TABLES) -> int:
    """Generate these days' feeds and land each table's as one file; events of all tables."""
    from lakehouse_assets import defs as domains
    from lakehouse_assets.platform.declare.discovery import discover
    from lakehouse_assets.platform.declare.table import TableKey
    from lakehouse_assets.platform.ingest.landing import land as land_file
    from lakehouse_assets.samples.gmv.feeds import generate

    feeds = folder / "feeds"
    made = generate(feeds, first, last, purchases, seed=7, defects=0.0, since=FIRST)
    catalog = discover(domains)
    for table in tables:
        files = sorted((feeds / table).glob("*.csv"))
        if not files:
            continue
        whole = _joined(files, folder / f"{table}-{first}-{last}.csv")
        source = catalog.table(TableKey("gmv", "bronze", table)).source
        assert source is not None
        land_file(settings().landing, f"gmv/{table}", source, whole, today=date(2026, 1, 1))
        whole.unlink()
    shutil.rmtree(feeds)
    return made.rows


def _joined(files: Iterable[Path], whole: Path) -> Path:
    with whole.open("w", encoding="utf-8", newline="") as out:
        for number, file in enumerate(files):
            with file.open(encoding="utf-8", newline="") as part:
                lines = csv.reader(part)
                header = next(lines)
                csv.writer(out, lineterminator="\n").writerows([header, *lines] if number == 0 else lines)
    return whole


def dagster_run(first: date, last: date, assets: Iterable[str] = ASSETS) -> "dg.ExecuteInProcessResult":
    """One run over a range of days in this process, on the current DAGSTER_HOME."""
    import dagster as dg

    from lakehouse_assets.definitions import definitions
    from lakehouse_assets.platform.orchestration.staleness_sensor import RANGE_END, RANGE_START

    job: Any = definitions.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.get() as instance:
        result = job.execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(name.split("/")) for name in assets],
            tags={RANGE_START: str(first), RANGE_END: str(last)},
        )
    assert result.success
    return result
