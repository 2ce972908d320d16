"""What a delivery puts in place of what: its files that are landed anew, what they supersede, and what stays."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date

from lakehouse_assets.platform.days import write_days
from lakehouse_assets.platform.delivery import Delivered, Delivery, EventFiles
from lakehouse_assets.platform.landing_manifest import REMOVE, Entry
from lakehouse_assets.platform.landing_names import canonical
from lakehouse_assets.platform.store import Location

MOST_NAMES = 3


@dataclass(frozen=True)
class Change:
    """What to commit. `new`: files to write, by day; `gone`: entries that no longer hold; `stays`: what does, in words.

    Nothing of either: all of it was landed before.
    """

    new: tuple[tuple[date, Delivered], ...]
    gone: tuple[Entry, ...]
    stays: tuple[str, ...]


def change(
    folder: Location, source: EventFiles, held: Collection[Entry], delivery: Delivery, whole_days: bool
) -> Change:
    """What a delivery changes of what is `held` on its days and on all those on which it was delivered before.

    `whole_days`: nothing else stays on its days. The same source and the same number of rows of a day mean the same
    rows of that day; a part whose file somebody deleted holds nothing.
    """
    days = delivery.days
    own = [entry for entry in held if _is_own(source, entry, delivery)]
    others = [entry for entry in held if entry.feed_day in days and entry not in own]
    new: list[tuple[date, Delivered]] = []
    keeps: set[Entry] = set()
    gone: list[Entry] = []
    for file in delivery.files:
        for day, rows in file.days.items():
            same = [e for e in (*own, *others) if _same(folder, e, file, day, rows.num_rows) and e not in keeps]
            found = next((e for e in same if e in own), None) or (next(iter(same), None) if _alone(delivery) else None)
            if found is None:
                new.append((day, file))
                gone += [entry for entry in same if entry not in gone]  # it was landed by itself: now it is of the set
            else:
                keeps.add(found)
    gone += [entry for entry in own if entry not in keeps]
    rest = [entry for entry in others if entry not in keeps and entry not in gone]
    if whole_days and (new or gone or rest):
        new = [(day, file) for file in delivery.files for day in file.days]
        return Change(tuple(sorted(new, key=_by_day)), tuple(e for e in own if e.feed_day not in days), ())
    taken = {(day, canonical(file.name)) for day, file in new}
    # A file that is landed anew under its name and day takes the older one's place by that alone.
    gone = [e for e in gone if e.delivery != delivery.name or (e.feed_day, canonical(e.name)) not in taken]
    return Change(tuple(sorted(new, key=_by_day)), tuple(gone), _stays(source, rest, delivery))


def removals(gone: Collection[Entry]) -> list[Entry]:
    """Rows of the manifest that say that these entries no longer hold."""
    return [replace(entry, part="", size=0, sha256="", rows=0, action=REMOVE) for entry in gone]


def superseded(gone: Collection[Entry], days: Collection[date]) -> tuple[str, ...]:
    """What a delivery took from other days than its own, in words."""
    elsewhere = [entry for entry in gone if entry.feed_day not in days]
    if not elsewhere:
        return ()
    rows, of = sum(entry.rows for entry in elsewhere), write_days({entry.feed_day for entry in elsewhere})
    return (f"{rows} rows that it brought before, of {of}, are superseded.",)


def _is_own(source: EventFiles, entry: Entry, delivery: Delivery) -> bool:
    """Whether an entry is of an earlier landing of the same delivery.

    Where nothing in a file says its day, that of the same day; so too where a version before wrote the entry, which
    knew the file's name alone, without its folder.
    """
    if entry.delivery is None:
        names = {canonical(name) for file in delivery.files for name in (file.name, file.name.rpartition("/")[2])}
        return entry.feed_day in delivery.days and canonical(entry.name) in names
    return entry.delivery == delivery.name and (not source.dated_by_delivery or entry.feed_day in delivery.days)


def _same(folder: Location, entry: Entry, file: Delivered, day: date, rows: int) -> bool:
    same = (entry.feed_day, entry.source_sha256, entry.rows) == (day, file.sha256, rows)
    return same and (folder / entry.part).is_file()


def _alone(delivery: Delivery) -> bool:
    return len(delivery.files) == 1


def _by_day(found: tuple[date, Delivered]) -> date:
    return found[0]


def _stays(source: EventFiles, rest: Collection[Entry], delivery: Delivery) -> tuple[str, ...]:
    """That a day also holds other files, whose rows count as well. Of documents, each a file, that is no news."""
    if source.whole or not rest:
        return ()
    names = sorted({entry.name for entry in rest})
    shown = ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if names[MOST_NAMES:] else "")
    days = write_days({entry.feed_day for entry in rest})
    return (
        f"{sum(entry.rows for entry in rest)} rows of {shown} stay beside it on {days}. If it delivers them again "
        "under another name: --replace; of several files, --set.",
    )
