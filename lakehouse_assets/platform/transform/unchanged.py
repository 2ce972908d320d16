"""Early cut-off: the days of a step whose rows are what they were, found before anything is written.

What a step would write is compared with what the newest commit of each day says that it wrote, by counts and digests
of the rows kept, in quarantine and exact duplicates. Logs alone are read. Where nothing certain is known (a note of
former code without digests, somebody else's commit, an erasure), the day is written.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from lakehouse_assets.platform.common.days import DAY_COLUMN
from lakehouse_assets.platform.declare.scd import Scd
from lakehouse_assets.platform.declare.table import LANDING_LAYER, Ledger, Overwrite, ReplaceDays
from lakehouse_assets.platform.planning.plan import Lake, Plan
from lakehouse_assets.platform.planning.reader import landed_parts
from lakehouse_assets.platform.storage.commit_actions import actions_of, changes_rows, info_of, touched_days
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, DayRows, Kind
from lakehouse_assets.platform.storage.delta_table import open_table, query_rows, version_of
from lakehouse_assets.platform.storage.delta_writer import days_predicate
from lakehouse_assets.platform.storage.location import Location
from lakehouse_assets.platform.storage.log_statistics import rows_of_days
from lakehouse_assets.platform.storage.table_features import is_writable

LOOK_BACK = 100  # commits that are looked at for a day without rows: no statistics tell whether it was ever made


@dataclass(frozen=True)
class Standing:
    """What stands of a day: the rows that its newest commit wrote, and that commit's note."""

    rows: DayRows
    metadata: CommitMetadata


def unchanged_days(
    lake: Lake, plan: Plan, rows: Mapping[date, DayRows], empty_snapshots: Collection[date]
) -> frozenset[date]:
    """Days of the plan whose rows are what the table and its quarantine hold of them.

    `empty_snapshots`: days whose snapshot has no row, which is not the same as none delivered.
    """
    if plan.base is None:
        return frozenset()
    same = _same(lake, plan, plan.base, rows, empty_snapshots)
    return same if same and takes_metadata(lake.path(plan.table.key), plan.base) else frozenset()


def _same(
    lake: Lake, plan: Plan, base: int, rows: Mapping[date, DayRows], empty_snapshots: Collection[date]
) -> frozenset[date]:
    table, path = plan.table, lake.path(plan.table.key)
    match table.write:
        case Ledger():
            # It adds to a day and replaces none: a published day to which nothing is added is what it was.
            published = plan.published
            return frozenset(
                day for day, of in rows.items() if published and day <= published and not of.kept and not of.quarantined
            )
        case Overwrite():
            same_state = _same_state(path, base, rows)
            stands = set(_quarantine_stands(lake.quarantine(table.key), rows)) if same_state else set()
            return same_state if stands == set(rows) else frozenset()
        case Scd():
            changes = lake.changes(table.key)
            version = version_of(changes)
            found = standing(changes, version, rows) if version is not None else {}
        case ReplaceDays(channel=channel):
            found = _stored(path, base, rows, channel)
    same = {
        day
        for day, of_day in found.items()
        if rows[day].same_rows(of_day.rows)
        and (day in empty_snapshots) == (day in of_day.metadata.empty_snapshots)
        and (rows[day].rows_in or _same_delivery(lake, plan, of_day.metadata, day))
    }
    return frozenset(_quarantine_stands(lake.quarantine(table.key), {day: rows[day] for day in same}))


def standing(
    path: Location, version: int, days: Collection[date], *, channel: str | None = None, most: int | None = None
) -> dict[date, Standing]:
    """What stands of each day as of a version, where a note says so and nobody else changed the day since.

    `channel`: rows of other channels, such as streams, count for nothing. `most`: commits to look at.
    """
    found: dict[date, Standing] = {}
    left = set(days)
    floor = version  # above it others' commits may have come between a step's base and its commit
    for at in range(version, -1 if most is None else max(-1, version - most), -1):
        info = info_of(path, at) if left or at > floor else None
        if info is None:
            break
        metadata = CommitMetadata.load(info.get("userMetadata"))
        if metadata is None or metadata.kind is Kind.STREAM:
            if metadata is None or channel is None:
                touched, complete = touched_days(path, actions_of(path, at))
                taken = touched if complete else frozenset(days)
                left -= taken
                found = {day: of for day, of in found.items() if day not in taken or _base(of.metadata) >= at}
            continue
        if metadata.kind is Kind.STEP:
            held = left & metadata.rows.keys()
            found |= {day: Standing(metadata.rows[day], metadata) for day in held}
            floor = min(floor, _base(metadata)) if held else floor
            left -= held
        else:
            left -= metadata.days
    return found


def _base(metadata: CommitMetadata) -> int:
    """The version that a step started from: what came later it did not see."""
    return -1 if metadata.base is None else metadata.base


def takes_metadata(path: Location, version: int) -> bool:
    """Whether delta-rs, which commits notes, keeps to what the table asks for."""
    table = open_table(path, version)
    return table is not None and is_writable(table, path)


def _stored(path: Location, base: int, rows: Mapping[date, DayRows], channel: str | None) -> dict[date, Standing]:
    """What stands of those days of which the table can have the rows, by the statistics of its files."""
    held = rows_of_days(path, base, DAY_COLUMN, rows)
    with_rows = [day for day, of in rows.items() if of.kept and (held is None or held.get(day, 0) >= of.kept)]
    without = [day for day, of in rows.items() if not of.kept and not (held or {}).get(day)]
    found = standing(path, base, with_rows, channel=channel) if with_rows else {}
    return found | (standing(path, base, without, channel=channel, most=LOOK_BACK) if without else {})


def _same_state(path: Location, base: int, rows: Mapping[date, DayRows]) -> frozenset[date]:
    """All of the days, if each was made before and the table is as a whole what its newest step wrote."""
    found = standing(path, base, rows, most=LOOK_BACK)
    newest = next(_newest_step(path, base), None)
    if newest is None or set(found) != set(rows):
        return frozenset()
    then, now = _whole(newest.rows), _whole(rows)
    known = all(digest is not None for _, digest in (*then, *now))
    return frozenset(rows) if known and then == now else frozenset()


def _newest_step(path: Location, base: int) -> Iterator[CommitMetadata]:
    """The newest step's note, if nobody else changed the table since that step's base."""
    for at in range(base, -1, -1):
        info = info_of(path, at) or {}
        metadata = CommitMetadata.load(info.get("userMetadata"))
        if metadata is not None and metadata.kind is Kind.STEP:
            if not any(changes_rows(actions_of(path, version)) for version in range(_base(metadata) + 1, at)):
                yield metadata
            return
        if metadata is not None or not info or changes_rows(actions_of(path, at)):
            return


def _whole(rows: Mapping[date, DayRows]) -> tuple[tuple[int, int | None], ...]:
    """How many rows a step of a table that is one state kept, set aside and left out, and the digest of each kind."""
    kinds = (
        [(of.kept, of.digest) for of in rows.values()],
        [(of.quarantined, of.quarantined_digest) for of in rows.values()],
        [(of.duplicates, of.duplicates_digest) for of in rows.values()],
    )
    return tuple((sum(count for count, _ in kind), _sum_of(kind)) for kind in kinds)


def _sum_of(digests: list[tuple[int, str]]) -> int | None:
    """The digest of the rows of several days; None where that of some rows is not known."""
    known = [digest for count, digest in digests if count]
    return sum(int(digest, 16) for digest in known) % 2**64 if all(known) else None


def _same_delivery(lake: Lake, plan: Plan, metadata: CommitMetadata, day: date) -> bool:
    """Whether of a day without rows something was landed, then and now, or nothing: an empty file says something."""
    for name, read in plan.table.reads.items():
        if read.table.layer == LANDING_LAYER:
            input_versions = (metadata.inputs.get(name), plan.input_versions[name])
            then, now = (
                bool(landed_parts(lake, plan.table.key, (day,), input_version.version)) if input_version else None
                for input_version in input_versions
            )
            if then != now:
                return False
    return True


def _days_in(path: Location, version: int, days: Collection[date]) -> frozenset[date]:
    """Those of these days of which a version has rows: by statistics, or where a compacted file hides it, by rows."""
    counted = rows_of_days(path, version, DAY_COLUMN, days)
    if counted is not None:
        return frozenset(day for day, rows in counted.items() if rows)
    query = f"SELECT DISTINCT {DAY_COLUMN} FROM t WHERE {days_predicate(DAY_COLUMN, days)}"  # noqa: S608  (typed values)
    return frozenset(row[DAY_COLUMN] for row in query_rows(path, query, version))


def _quarantine_stands(path: Location, rows: Mapping[date, DayRows]) -> Iterator[date]:
    """Days whose quarantine holds these rows. It is written first: a run killed after that left another behind."""
    version = version_of(path)
    held = _days_in(path, version, rows) if version is not None else frozenset()
    yield from (day for day, of in rows.items() if not of.quarantined and day not in held)
    asked = [day for day, of in rows.items() if of.quarantined]
    if version is not None and asked:
        for day, of_day in standing(path, version, asked).items():
            if rows[day].same_quarantine(of_day.rows):
                yield day
