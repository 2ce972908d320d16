"""Delivery: one file of a source, read whole as of one moment, and split by feed day."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse_assets.platform.drift import Drift, day_in_name, read_drifting
from lakehouse_assets.platform.landed_files import TEXT, LandingError, NotNow, format_of, read_rows, whole_text
from lakehouse_assets.platform.landing_days import split_by_day

PART_COLUMNS = ("source_file", "row_number", "feed_day", "landing")


@dataclass(frozen=True)
class EventFiles:
    """What a source delivers: its columns in order, the column a file is split by, the earliest day accepted.

    `day_in_name`: a file's name, else its folder's, says the day. `drift`: how files may differ. `most_missing`: the
    files are full snapshots, of which one that has fewer rows than the one before, by more than this share, is refused.
    `subject`: the column that says whose a row is, by which it can be erased on request. `streamed`: its files also
    come as a stream (`streaming/inbox.py`).
    `day_formats`: how the day column writes its days, besides ISO, in strptime's letters.
    `whole`: a file is one record, its text the only column; its day is that of its last change.
    """

    columns: tuple[str, ...]
    day_column: str | None = None
    first_day: date = date(2000, 1, 1)
    day_in_name: bool = False
    drift: Drift | None = None
    most_missing: float | None = None
    subject: str | None = None
    streamed: bool = False
    day_formats: tuple[str, ...] = ()
    whole: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for a declaration that cannot be landed."""
        clash = set(self.columns) & set(PART_COLUMNS)
        if clash or len(set(self.columns)) != len(self.columns) or not self.columns:
            raise ValueError(f"source columns must be distinct and none of {', '.join(PART_COLUMNS)}: {self.columns}")
        if self.day_column is not None and self.day_column not in self.columns:
            raise ValueError(f"the day column {self.day_column!r} is none of {self.columns}")
        if self.whole and len(self.columns) != 1:
            raise ValueError(f"a file that is one record has one column, not {self.columns}")


@dataclass(frozen=True)
class Delivery:
    """A source file, read and split: `days` holds the source columns and `row_number`, per feed day."""

    name: str
    format: str
    sha256: str
    days: dict[date, pa.Table]


def rows_by_day(source: EventFiles, file: Path, *, today: date) -> dict[date, pa.Table]:
    """The rows of a file as they would be landed: per feed day the source's columns as text, and `row_number`.

    Raises LandingError.
    """
    return read(source, file, None, today, frozenset(), really=False).days


def read(
    source: EventFiles,
    file: Path,
    day: date | None,
    today: date,
    gone: frozenset[str],
    really: bool,
) -> Delivery:
    """Read a file of a source. `gone`: pseudonyms of erased subjects, whose rows are left out; `day`: of all rows.

    `really`: also a snapshot without a row. Raises LandingError: not readable, not the source's, changed meanwhile.
    """
    if file.is_dir():
        raise LandingError(f"{file}: a folder. Name the files in it, for example {file}/*.csv")
    if not file.exists():
        raise LandingError(f"{file}: no such file.")
    if not file.is_file():
        raise LandingError(f"{file}: not a regular file. Write it to disk first.")
    if not file.name.isprintable():
        raise LandingError(f"{file!r}: a file name that cannot be shown. Rename the file.")
    kind = format_of(file)
    data = _bytes(file)
    if not data and source.most_missing is not None:
        rows = pa.table({name: pa.array([], TEXT) for name in source.columns})
    elif source.whole:
        rows = pa.table({source.columns[0]: pa.array([whole_text(str(file), data)], TEXT)})
        day = day or datetime.fromtimestamp(file.stat().st_mtime, UTC).date()
    elif source.drift:
        rows = read_drifting(str(file), kind, data, source.columns, source.drift)
    else:
        rows = read_rows(str(file), kind, data, source.columns)
    if source.most_missing is not None and rows.num_rows == 0 and not really:
        raise LandingError(
            f"{file}: a snapshot without a row: a broken extract. A day without a file says nothing. If all that there "
            "was is really deleted: --yes-really"
        )
    if day is None and source.day_in_name:
        day = day_in_name((file.name, file.absolute().parent.name))
    rows = rows.append_column("row_number", pa.array(np.arange(1, rows.num_rows + 1, dtype=np.int64)))
    if gone and source.subject:
        rows = without_erased(gone, source.subject, rows)
    days = split_by_day(str(file), rows, source.day_column, source.first_day, day, today, source.day_formats)
    return Delivery(file.name, kind, hashlib.sha256(data).hexdigest(), days)


def _bytes(file: Path) -> bytes:
    """A file's content, all of one moment. Raises LandingError where it changed meanwhile."""
    try:
        before = file.stat()
        data = file.read_bytes()
        after = file.stat()
    except OSError as error:
        raise LandingError(f"{file}: cannot be read: {error.strerror}.") from error
    same = all(getattr(before, name) == getattr(after, name) for name in ("st_ino", "st_size", "st_mtime_ns"))
    if not same or len(data) != after.st_size:
        raise NotNow(f"{file}: it was changed while it was read. Nothing was landed: land it when it is complete.")
    return data


def without_erased(gone: frozenset[str], column: str, rows: pa.Table) -> pa.Table:
    """The rows of a file without those of erased subjects, whose pseudonyms are `gone`."""
    from lakehouse_assets.platform.pseudonym import pseudonym

    there = pc.unique(pc.drop_null(rows[column])).to_pylist()
    named = [value for value in there if pseudonym(value.strip()) in gone]
    return rows.filter(pc.invert(pc.fill_null(pc.is_in(rows[column], pa.array(named, rows[column].type)), False)))
