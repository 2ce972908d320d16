"""Source files: what a source delivers, and how one file of it may differ from another."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from lakehouse_assets.platform.common.identifier import NormalForm
from lakehouse_assets.platform.common.source_days import SourceDays

PART_COLUMNS = ("source_file", "row_number", "feed_day", "landing")
SINCE_2000 = SourceDays(date(2000, 1, 1))


@dataclass(frozen=True)
class Drift:
    """How files may differ. A column is also known by its name in other case and without underscores.

    `aliases`: other names of a column. `delimiters`: of CSV, the first that the header makes sense with. `optional`:
    columns that a file may lack. `extra`: the column that keeps, as JSON, columns nobody declared; without it they are
    refused. `headerless`: the columns of a CSV file that has no header.
    """

    aliases: tuple[tuple[str, str], ...] = ()
    delimiters: tuple[str, ...] = (",",)
    optional: tuple[str, ...] = ()
    extra: str | None = None
    headerless: tuple[str, ...] = ()

    def column(self, name: str, columns: Sequence[str]) -> str | None:
        """The declared column that a file means by `name`; None: it is not declared."""
        known = {_plain(column): column for column in columns if column != self.extra}
        return (known | {_plain(alias): column for alias, column in self.aliases}).get(_plain(name))


@dataclass(frozen=True, kw_only=True)
class Files:
    """How a source delivers files. Their columns follow from the contract, their days from the domain (`domain.py`).

    `day_column`: the column by which a file is split into feed days. `day_formats`: how it writes its days, besides
    ISO, in strptime's letters. `day_in_name`: a file's name, else its folder's, says the day. `drift`: how files may
    differ. `most_missing`: the files are full snapshots, of which one that has fewer rows than the one before, by more
    than this share, is refused. `subject`: the column that says whose a row is, by which it can be erased on request;
    two of its values are the same person where `subject_form` of them is equal. `streamed`: its files also come as a
    stream (`streaming/inbox.py`). `whole`: a file is one record, its text the only column; its path says its day as
    with `day_in_name`.
    """

    day_column: str | None = None
    day_in_name: bool = False
    drift: Drift | None = None
    most_missing: float | None = None
    subject: str | None = None
    subject_form: NormalForm = NormalForm.EXACT
    streamed: bool = False
    day_formats: tuple[str, ...] = ()
    whole: bool = False

    def of(self, columns: tuple[str, ...], days: SourceDays) -> "EventFiles":
        """Files of these columns and days. Raises ValueError for a declaration that cannot be landed."""
        return EventFiles(columns, days, **vars(self))


@dataclass(frozen=True)
class EventFiles(Files):
    """Files, the columns that they have, in order, and the days that they can have."""

    columns: tuple[str, ...]
    days: SourceDays = SINCE_2000

    def __post_init__(self) -> None:
        """Raises ValueError for a declaration that cannot be landed."""
        clash = set(self.columns) & set(PART_COLUMNS)
        if clash or len(set(self.columns)) != len(self.columns) or not self.columns:
            raise ValueError(f"source columns must be distinct and none of {', '.join(PART_COLUMNS)}: {self.columns}")
        if self.day_column is not None and self.day_column not in self.columns:
            raise ValueError(f"the day column {self.day_column!r} is none of {self.columns}")
        if self.subject is not None and self.subject not in self.columns:
            raise ValueError(f"the subject {self.subject!r} is none of {self.columns}")
        if self.whole and len(self.columns) != 1:
            raise ValueError(f"a file that is one record has one column, not {self.columns}")

    @property
    def dated_by_delivery(self) -> bool:
        """Whether nothing in a file says its day: then a file of one name is another one on another day."""
        return self.day_column is None and not self.whole


def _plain(name: str) -> str:
    return name.casefold().replace("_", "").strip()
