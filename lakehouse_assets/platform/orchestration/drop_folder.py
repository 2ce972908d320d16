"""The drop folder: `<drop>/<domain>/<day>/<table>.csv`, and the job that lands what lies in it.

A file is its path below the domain's folder and its content. A file that cannot be landed, or lies where no day of its
source is, is set aside with its reason; it holds up no other.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from stat import S_ISREG

import dagster as dg

from lakehouse_assets.platform.common.days import DayError, parse_day
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.source_files import EventFiles
from lakehouse_assets.platform.declare.table import LANDING_LAYER, Table, TableKey
from lakehouse_assets.platform.fingerprint.code_version import of_libraries
from lakehouse_assets.platform.fingerprint.code_walk import reach
from lakehouse_assets.platform.ingest.delivery_names import FileSet, SourceFile, canonical
from lakehouse_assets.platform.ingest.file_readers import LandingError, NotNow
from lakehouse_assets.platform.ingest.landing import Landed, land
from lakehouse_assets.platform.ingest.landing_status import FileState, LandedFiles, read_landed, state, state_of
from lakehouse_assets.platform.orchestration.assets import DOMAIN_TAG, partitions
from lakehouse_assets.platform.planning.plan import landed_name
from lakehouse_assets.platform.storage.location import Location

SUFFIXES = (".csv", ".json", ".jsonl", ".ndjson", ".parquet")
FILES_TAG = "lakehouse/dropped_files"
REFUSED_TAG = "lakehouse/refused_"
"""Tag of a run that refused a file, with the table's name; its value says which content, by which code."""
Sources = Mapping[str, EventFiles]


@dataclass(frozen=True)
class Dropped:
    """A file in the drop folder, as it is now. `state` changes with its content."""

    day: date
    table: str
    path: Path
    state: FileState

    @property
    def name(self) -> str:
        """Its path below the domain's folder."""
        return f"{self.path.parent.name}/{self.path.name}"


@dataclass(frozen=True)
class SetAside:
    """What lies in the drop folder and cannot be landed, and why."""

    path: Path
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


def job_name(domain: str) -> str:
    """The job that lands what is dropped for a domain."""
    return f"{domain}_land_drop"


def dropped_tables(catalog: Catalog, domain: str) -> dict[str, Table]:
    """Tables of a domain whose files do not say their day: the folder they lie in does."""
    of_domain = [table for table in catalog.tables if table.key.domain == domain and table.source]
    return {table.key.name: table for table in of_domain if table.source and table.source.day_column is None}


def dropped_sources(catalog: Catalog, domain: str) -> dict[str, EventFiles]:
    """The sources of those tables, by the tables' names."""
    return {name: table.source for name, table in dropped_tables(catalog, domain).items() if table.source}


def files_in(folder: Path, sources: Sources, now: datetime) -> Iterator[Dropped | SetAside]:
    """The files of these tables under `folder`, by day. What is called otherwise is not looked at.

    Set aside: what is called as a day and is no folder that can be read, and files of a day that their source cannot
    have at the time `now`.
    """
    for day_folder in sorted(folder.glob("????-??-??")):
        try:
            day = parse_day(day_folder.name)
            inside = sorted(day_folder.iterdir())
        except DayError:
            continue
        except OSError as error:
            yield SetAside(day_folder, f"called as a day, but no folder that can be read: {error.strerror}.")
            continue
        for path in inside:
            if path.suffix.lower() not in SUFFIXES or (source := sources.get(path.stem)) is None:
                continue
            if fault := source.days.fault(day, source.days.today(now)):
                yield SetAside(path, f"of a day {fault}.")
            else:
                yield from _as_it_is(day, path)


def _as_it_is(day: date, path: Path) -> Iterator[Dropped | SetAside]:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return  # renamed or removed meanwhile
    except OSError as error:  # of a folder that may be listed and not entered
        yield SetAside(path, f"cannot be read: {error.strerror}.")
        return
    yield Dropped(day, path.stem, path, state(stat)) if S_ISREG(stat.st_mode) else SetAside(path, "no regular file.")


def refusal(source: EventFiles, file: Dropped, sha256: str, landed: LandedFiles) -> str:
    """What a refusal is about: the same content is refused again, unless the code that reads it is another.

    So is, of snapshots, the one that it is compared with.
    """
    before = landed.before(file.day) if source.most_missing is not None else ()
    return hashlib.sha256(repr((file.name, sha256, source, *landing_code(), before)).encode()).hexdigest()[:32]


@cache
def landing_code() -> tuple[str, str]:
    """What decides whether a file is refused: the code that reads it, the libraries' versions. Once in a process."""
    reached = reach((land,))
    return reached.digest, of_libraries(reached.libraries)


def landing_job(domain: str, catalog: Catalog, first_day: date) -> dg.JobDefinition:
    """Lands the files of a day's folder. By days, so that an operator can choose one; a second time changes nothing."""
    sources = dropped_sources(catalog, domain)

    @dg.op(name=f"{domain}_land_dropped_files")
    def land_files(context: dg.OpExecutionContext) -> None:
        from lakehouse_assets.settings import settings

        folder, day, now = settings().drop_folder / domain, parse_day(context.partition_key), datetime.now(UTC)
        only = context.run.tags.get(FILES_TAG)
        there = [one for one in files_in(folder, sources, now) if isinstance(one, Dropped) and one.day == day]
        wanted = [file for file in there if only is None or file.table in only.split(",")]
        if not wanted:
            raise dg.Failure(description=f"No files of {domain} in {folder / str(day)}.", allow_retries=False)
        failed = []
        for file in wanted:
            try:
                name = landed_name(TableKey(domain, LANDING_LAYER, file.table))
                compared = read_landed(settings().landing, name)  # before: who lands meanwhile has it asked for again
                landed = _land(settings().landing, domain, sources[file.table], file, now)
            except NotNow as error:  # the file may be good: the sensor asks again
                failed.append(str(error))
            except LandingError as error:
                failed.append(str(error))
                _remember(context, sources[file.table], file, compared)
            except Exception as error:  # noqa: BLE001  whatever befalls one file does not hold the others
                failed.append(f"{file.path}: {type(error).__name__}: {error}")
            else:
                state = "already landed" if landed.already_landed else f"{sum(landed.days.values())} rows landed"
                context.log.info("; ".join((f"{file.path}: {state}", *landed.notes, *landed.stays)))
        if failed:
            raise dg.Failure(description="\n".join(failed), allow_retries=False)

    @dg.job(
        name=job_name(domain),
        description="Lands the files dropped for a day; the staleness sensor then requests the tables.",
        partitions_def=partitions(first_day, catalog.zone(domain)),
        tags={DOMAIN_TAG: domain},
    )
    def job() -> None:
        land_files()

    return job


def _land(landing: Location, domain: str, source: EventFiles, file: Dropped, now: datetime) -> Landed:
    name = landed_name(TableKey(domain, LANDING_LAYER, file.table))
    files = FileSet(canonical(file.name), (SourceFile(file.name, file.path),))
    return land(landing, name, source, files, day=file.day, today=source.days.today(now))


def _remember(context: dg.OpExecutionContext, source: EventFiles, file: Dropped, landed: LandedFiles) -> None:
    """Write into the run that this content was refused, where it is still what was read."""
    try:
        data = file.path.read_bytes()
    except OSError:
        return  # it is another already, or gone
    if state_of(file.path) == file.state:
        message = refusal(source, file, hashlib.sha256(data).hexdigest(), landed)
        context.instance.add_run_tags(context.run_id, {f"{REFUSED_TAG}{file.table}": message})
