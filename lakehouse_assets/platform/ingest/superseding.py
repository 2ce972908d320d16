"""What a delivery puts in place of what: its files that are landed anew, what they supersede, and what stays."""

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date

from lakehouse_assets.platform.common.days import write_days
from lakehouse_assets.platform.declare.source_files import EventFiles
from lakehouse_assets.platform.ingest.delivery import Delivered, Delivery
from lakehouse_assets.platform.ingest.delivery_names import canonical
from lakehouse_assets.platform.ingest.erasure import ERASED
from lakehouse_assets.platform.ingest.manifest import REMOVE, Entry
from lakehouse_assets.platform.storage.location import Location, sha256

MOST_NAMES = 3
Content = tuple[date, str, int]
"""The day, the hash of the source file and the number of its rows of that day."""


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
    rows of that day; a part whose file somebody deleted or changed holds nothing.
    """
    days = delivery.days
    own = [entry for entry in held if _is_own(source, entry, delivery)]
    others = [entry for entry in held if entry.feed_day in days and entry not in own]
    new: list[tuple[date, Delivered]] = []
    keeps: set[Entry] = set()
    gone: list[Entry] = []
    for file in delivery.files:
        for day in file.days:
            found = next((e for e in own if _same(folder, e, file, day) and e not in keeps), None)
            if found is None:
                new.append((day, file))
                gone += [e for e in others if e not in gone and _becomes_of_set(e, delivery, file, day)]
            else:
                keeps.add(found)
    gone += [entry for entry in own if entry not in keeps]
    contents = Counter(_content_of(file, day) for file in delivery.files for day in file.days)
    stay = [entry for entry in others if entry not in gone]
    if whole_days and (new or gone or Counter(map(_content, once([*keeps, *stay]))) != contents):
        new = [(day, file) for file in delivery.files for day in file.days]
        return Change(tuple(sorted(new, key=_by_day)), tuple(e for e in own if e.feed_day not in days), ())
    taken = {(day, canonical(file.name)) for day, file in new}
    # A file that is landed anew under its name and day takes the older one's place by that alone.
    gone = [e for e in gone if e.delivery != delivery.name or (e.feed_day, canonical(e.name)) not in taken]
    return Change(tuple(sorted(new, key=_by_day)), tuple(gone), _stays(source, stay, contents))


def once(held: Collection[Entry]) -> list[Entry]:
    """Of the entries that hold, in their order, those whose rows count.

    What several deliveries brought of a day with the same content counts once. Each keeps an entry of its own, so that
    it still counts when another of them is corrected.
    """
    found: defaultdict[Content, defaultdict[str, list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for entry in held:
        found[_content(entry)][entry.delivery or canonical(entry.name)].append(entry)
    count = {entry for of_content in found.values() for entry in max(of_content.values(), key=len)}
    return [entry for entry in held if entry in count]


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


def _same(folder: Location, entry: Entry, file: Delivered, day: date) -> bool:
    return _content(entry) == _content_of(file, day) and _is_whole(folder / entry.part, entry)


def _is_whole(part: Location, entry: Entry) -> bool:
    try:
        return part.is_file() and sha256(part) == entry.sha256
    except OSError:
        return False


def _content(entry: Entry) -> Content:
    return entry.feed_day, entry.source_sha256.removeprefix(ERASED), entry.rows


def _content_of(file: Delivered, day: date) -> Content:
    return day, file.sha256, file.days[day].num_rows


def _becomes_of_set(entry: Entry, delivery: Delivery, file: Delivered, day: date) -> bool:
    """Whether an entry is of a file that was landed by itself and is now delivered in a set."""
    by_itself = entry.delivery is None or canonical(entry.name) == entry.delivery
    names = {canonical(name.rpartition("/")[2]) for name in (entry.name, file.name)}
    return len(delivery.files) > 1 and by_itself and len(names) == 1 and _content(entry) == _content_of(file, day)


def _by_day(found: tuple[date, Delivered]) -> date:
    return found[0]


def _stays(source: EventFiles, stay: Collection[Entry], contents: Collection[Content]) -> tuple[str, ...]:
    """That a day also holds other files, whose rows count as well, or are the same. Of documents that is no news."""
    if source.whole:
        return ()
    notes = []
    if same := [entry for entry in stay if _content(entry) in contents]:
        notes.append(f"What {_shown(same)} brought has the same content: its rows count once.")
    if rest := [entry for entry in stay if _content(entry) not in contents]:
        notes.append(
            f"{sum(entry.rows for entry in once(rest))} rows of {_shown(rest)} stay beside it on "
            f"{write_days({entry.feed_day for entry in rest})}. If it delivers them again under another name: "
            "--replace; of several files, --set."
        )
    return tuple(notes)


def _shown(entries: Collection[Entry]) -> str:
    names = sorted({entry.name for entry in entries})
    return ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if names[MOST_NAMES:] else "")
