"""Taking back what was landed: rows of the manifest say that it no longer holds; its parts stay.

So every version of the manifest that a run has read can still be read, and a replay finds its rows. An erasure finds
them too: it looks through all parts that the manifest ever named. What the delivery had superseded or replaced does not
come back. The days become stale as by any landing.
"""

from dataclasses import dataclass
from datetime import date

from lakehouse_assets.platform.ingest.delivery_names import canonical
from lakehouse_assets.platform.ingest.file_readers import LandingError, NotNow
from lakehouse_assets.platform.ingest.landing import folder_of
from lakehouse_assets.platform.ingest.manifest import Entry, Manifest, ManifestMoved, current
from lakehouse_assets.platform.ingest.parts import locked
from lakehouse_assets.platform.ingest.superseding import removals
from lakehouse_assets.platform.storage.location import Location

_ATTEMPTS = 20


@dataclass(frozen=True)
class TakenBack:
    """What no longer holds. `version`: of the manifest that says so; None: nothing was written."""

    table: str
    entries: tuple[Entry, ...]
    version: int | None


def take_back(
    root: Location, table: str, delivery: str | None, day: date | None, *, dry_run: bool = False
) -> TakenBack:
    """Take back a delivery, whole or of one day; without a delivery, all that was landed of the day.

    Raises LandingError where nothing such holds, where one file of a set is named, NotNow, StoreError.
    """
    folder = folder_of(root, table)
    if Manifest(folder).version is None:
        raise LandingError(f"{table}: nothing was ever landed. Nothing was taken back.")
    with locked(folder):
        for _ in range(_ATTEMPTS):
            manifest = Manifest(folder)
            found = _named(table, current(manifest.entries()), delivery, day)
            if dry_run:
                return TakenBack(table, found, None)
            manifest.prove()
            try:
                return TakenBack(table, found, manifest.commit(removals(found)))
            except ManifestMoved:  # a landing on another machine, where the lock does not reach
                continue
    raise NotNow(f"{table}: landings came first {_ATTEMPTS} times. Nothing was taken back: try again later.")


def _named(table: str, held: list[Entry], delivery: str | None, day: date | None) -> tuple[Entry, ...]:
    """The entries that hold and are meant. Raises LandingError where there are none, or half of a delivery."""
    of_day = [entry for entry in held if day is None or entry.feed_day == day]
    if delivery is None:
        found = of_day
    else:
        name = canonical(delivery)
        found = [entry for entry in of_day if (entry.delivery or canonical(entry.name)) == name]
        if not found and (of_set := [entry for entry in of_day if canonical(entry.name) == name]):
            raise LandingError(
                f"{table}: {delivery} came in the delivery {of_set[0].delivery}, which is landed and taken back as "
                f"one. Nothing was taken back. Name that delivery, or land it again without the file."
            )
    if not found:
        what = " ".join(filter(None, (delivery, f"of {day}" if day else None)))
        known = sorted({entry.delivery or entry.name for entry in of_day})[:5]
        hint = f"There is {', '.join(known)}." if known else "Nothing of that day holds."
        raise LandingError(f"{table}: no landed file {what} holds. Nothing was taken back. {hint}")
    return tuple(found)
