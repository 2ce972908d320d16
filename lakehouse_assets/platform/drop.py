"""The drop folder: `<drop>/<domain>/<day>/<table>.csv`, watched by a sensor that holds no run while it waits.

A file is taken when its size and time have not changed for a while. A day whose files are all there is landed as one
run; a file that stays alone is landed alone after some patience. What a landing changes, the level sensor makes.
A file that is written on, or replaced, has another size or time: it is landed again and supersedes what it was.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg

from lakehouse_assets.platform.assets import partitions
from lakehouse_assets.platform.catalog import Catalog
from lakehouse_assets.platform.days import parse_day
from lakehouse_assets.platform.errors import LakehouseError
from lakehouse_assets.platform.landing import land
from lakehouse_assets.platform.plan import landed_name
from lakehouse_assets.platform.table import Table

TICK_SECONDS = 5
PATIENCE = timedelta(seconds=60)
SUFFIXES = (".csv", ".json", ".jsonl", ".ndjson", ".parquet")
FILES_TAG = "lakehouse/dropped_files"


@dataclass(frozen=True)
class Dropped:
    """A file in the drop folder, as it is now. `state` changes with its content: size and time of writing."""

    day: date
    table: str
    path: Path
    state: str

    @classmethod
    def at(cls, path: Path, day: date) -> "Dropped":
        stat = path.stat()
        return cls(day, path.stem, path, f"{stat.st_size}:{stat.st_mtime_ns}")


def dropped_tables(catalog: Catalog, domain: str) -> dict[str, Table]:
    """Tables of a domain whose files do not say their day: the folder they lie in does."""
    of_domain = [table for table in catalog.tables if table.key.domain == domain and table.source]
    return {table.key.name: table for table in of_domain if table.source and table.source.day_column is None}


def files_in(folder: Path, tables: Iterable[str]) -> Iterator[Dropped]:
    """The files of these tables under `folder`, by day. What is called otherwise is not looked at."""
    known = set(tables)
    for day_folder in sorted(folder.glob("????-??-??")):
        try:
            day = parse_day(day_folder.name)
        except LakehouseError:
            continue
        for path in sorted(day_folder.iterdir()):
            if path.suffix in SUFFIXES and path.stem in known and path.is_file():
                yield Dropped.at(path, day)


def ready(
    files: Iterable[Dropped],
    since: dict[str, tuple[str, datetime]],
    tables: Iterable[str],
    now: datetime,
    quiet: timedelta,
) -> dict[date, list[Dropped]]:
    """What to land now, by day. `since`: for each path its state when last looked at, and since when it is so."""
    complete = set(tables)
    by_day: dict[date, list[Dropped]] = {}
    for file in files:
        by_day.setdefault(file.day, []).append(file)
    found = {}
    for day, dropped in by_day.items():
        age = {file: now - since[str(file.path)][1] for file in dropped}
        whole = {file.table for file in dropped} == complete and all(one >= quiet for one in age.values())
        taken = [file for file in dropped if whole or age[file] >= max(quiet, PATIENCE)]
        if taken:
            found[day] = taken
    return found


def landing_job(domain: str, catalog: Catalog, first_day: date) -> dg.JobDefinition:
    """Lands the files of a day's folder. By days, so that an operator can choose one; a second time changes nothing."""

    @dg.op(name=f"{domain}_land_dropped_files")
    def land_files(context: dg.OpExecutionContext) -> None:
        from lakehouse_assets.settings import settings

        here, tables = settings(), dropped_tables(catalog, domain)
        day = parse_day(context.partition_key)
        only = context.run.tags.get(FILES_TAG)
        files = [file for file in files_in(here.drop_folder / domain, tables) if file.day == day]
        wanted = [file for file in files if only is None or file.table in only.split(",")]
        if not wanted:
            raise dg.Failure(description=f"No files of {domain} in {here.drop_folder / domain / str(day)}.")
        failed = []
        for file in wanted:
            source = tables[file.table].source
            assert source is not None
            try:
                name = landed_name(tables[file.table].key)
                landed = land(here.landing, name, source, file.path, day=day, today=datetime.now(UTC).date())
                state = "already landed" if landed.already_landed else f"{sum(landed.days.values())} rows landed"
                context.log.info(f"{file.path}: {state}")
            except LakehouseError as error:  # one bad file does not hold the others
                failed.append(str(error))
        if failed:
            raise dg.Failure(description="\n".join(failed), allow_retries=False)

    @dg.job(
        name=f"{domain}_land_drop",
        description="Lands the files dropped for a day; the sensor of levels then makes the tables.",
        partitions_def=partitions(first_day),
    )
    def job() -> None:
        land_files()

    return job


def drop_sensor(domain: str, catalog: Catalog, job: dg.JobDefinition) -> dg.SensorDefinition:
    """Watches the drop folder of a domain. On by default; a tick without anything to land says what it waits for."""
    tables = dropped_tables(catalog, domain)

    @dg.sensor(
        name=f"{domain}_drop",
        description="Lands dropped files once they are complete: a day as a whole, or a table alone if no other comes.",
        job=job,
        minimum_interval_seconds=TICK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        from lakehouse_assets.settings import settings

        here, now = settings(), datetime.now(UTC)
        memory = json.loads(context.cursor or "{}")
        files = list(files_in(here.drop_folder / domain, tables))
        since = {}
        for file in files:
            state, at = memory.get(str(file.path), ("", ""))
            since[str(file.path)] = (file.state, datetime.fromisoformat(at) if state == file.state else now)
        new = [file for file in files if memory.get(f"asked {file.path}") != file.state]
        taken = ready(files, since, tables, now, timedelta(seconds=here.quiet_seconds))
        taken = {day: chosen for day, dropped in taken.items() if (chosen := [f for f in dropped if f in new])}
        asked = {f"asked {file.path}": file.state for file in files if file not in new}
        asked |= {f"asked {file.path}": file.state for dropped in taken.values() for file in dropped}
        cursor = json.dumps({path: (state, at.isoformat()) for path, (state, at) in since.items()} | asked)
        if taken:
            return dg.SensorResult(
                run_requests=[_request(domain, day, dropped) for day, dropped in taken.items()], cursor=cursor
            )
        context.update_cursor(cursor)
        return dg.SkipReason(_why(here.drop_folder / domain, files, new, now.date() - timedelta(days=1)))

    return sensor


def _request(domain: str, day: date, files: list[Dropped]) -> dg.RunRequest:
    states = hashlib.sha256(repr([(file.table, file.state) for file in files]).encode()).hexdigest()[:16]
    tags = {FILES_TAG: ",".join(file.table for file in files)}
    return dg.RunRequest(run_key=f"{domain}/{day}/{states}", partition_key=str(day), tags=tags)


def _why(folder: Path, files: list[Dropped], new: list[Dropped], yesterday: date) -> str:
    if new:
        return f"Waiting for {', '.join(f'{file.day}/{file.path.name}' for file in new[:4])} to be complete."
    if not any(file.day == yesterday for file in files):
        return f"Nothing new in {folder}; there are no files of {yesterday}."
    return f"Nothing new in {folder}."
