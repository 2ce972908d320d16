"""Delivery: files of a source, each read whole as of one moment, and split by feed day."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from stat import S_ISDIR, S_ISREG

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.common.identifier import NormalForm
from lakehouse_assets.platform.common.typed_text import TEXT
from lakehouse_assets.platform.declare.source_files import EventFiles
from lakehouse_assets.platform.ingest.day_assignment import other_days, split_by_day
from lakehouse_assets.platform.ingest.delivery_names import FileSet, SourceFile, check_content, name_of
from lakehouse_assets.platform.ingest.file_readers import LandingError, NotNow, format_of, read_rows, whole_text
from lakehouse_assets.platform.ingest.schema_drift import day_in_name, read_drifting


@dataclass(frozen=True)
class Delivered:
    """A source file, read and split: `days` holds the source columns and `row_number`, per feed day."""

    name: str
    format: str
    sha256: str
    days: dict[date, pa.Table]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Delivery:
    """One file, or several that were delivered together. `notes`: what whoever delivered them should know."""

    name: str
    files: tuple[Delivered, ...]

    @property
    def days(self) -> dict[date, int]:
        """Rows per feed day, days ascending."""
        found: dict[date, int] = {}
        for file in self.files:
            for day, rows in file.days.items():
                found[day] = found.get(day, 0) + rows.num_rows
        return dict(sorted(found.items()))

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of its files."""
        return tuple(metadata for file in self.files for metadata in file.notes)


def rows_by_day(source: EventFiles, file: Path, *, today: date) -> dict[date, pa.Table]:
    """The rows of a file as they would be landed: per feed day the source's columns as text, and `row_number`.

    Raises LandingError.
    """
    return _read(source, SourceFile(name_of(file), file), None, today, frozenset()).days


def read(
    source: EventFiles,
    files: FileSet,
    day: date | None,
    today: date,
    gone: frozenset[str],
    allow_shrinking: bool,
) -> Delivery:
    """Read what a source delivered. `gone`: pseudonyms of erased subjects, whose rows are left out; `day`: of all rows.

    `allow_shrinking`: also a snapshot without a row. Raises LandingError: not readable, not the source's, changed
    meanwhile.
    """
    delivery = Delivery(files.name, tuple(_delivered(source, file, day, today, gone) for file in files.files))
    if source.most_missing is not None and not allow_shrinking and not any(delivery.days.values()):
        raise LandingError(
            f"{files.files[0].path}: a snapshot without a row: a broken extract. A day without a file says nothing. If "
            "all that there was is really deleted: --allow-shrinking"
        )
    return delivery


def _delivered(source: EventFiles, named: SourceFile, day: date | None, today: date, gone: frozenset[str]) -> Delivered:
    """One file. Whatever it holds that a reader fails on is its own fault, and a LandingError: it stops no other."""
    try:
        return _read(source, named, day, today, gone)
    except (LakehouseError, OSError, MemoryError):
        raise
    except Exception as error:
        raise LandingError(f"{named.path}: cannot be read: {type(error).__name__}: {error}") from error


def _read(source: EventFiles, named: SourceFile, day: date | None, today: date, gone: frozenset[str]) -> Delivered:
    file = named.path
    try:
        mode = file.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LandingError(f"{file}: no such file.") from error
    except PermissionError as error:
        raise LandingError(f"{file}: cannot be read: {error.strerror}.") from error
    if S_ISDIR(mode):
        raise LandingError(f"{file}: a folder. Name the files in it, for example {file}/*.csv")
    if not S_ISREG(mode):
        raise LandingError(f"{file}: not a regular file. Write it to disk first.")
    if not named.name.isprintable():
        raise LandingError(f"{str(file)!r}: a file name that cannot be shown. Rename the file.")
    kind = format_of(file)
    data = _bytes(file)
    sha256 = check_content(named, data)
    if not data and source.most_missing is not None:
        rows = pa.table({name: pa.array([], TEXT) for name in source.columns})
    elif source.whole:
        rows = pa.table({source.columns[0]: pa.array([whole_text(str(file), data)], TEXT)})
    elif source.drift:
        rows = read_drifting(str(file), kind, data, source.columns, source.drift)
    else:
        rows = read_rows(str(file), kind, data, source.columns)
    by_name = _day_by_name(source, named) if day is None else None
    notes = _disagreements(source, named, rows, day) if day is not None else ()
    rows = rows.append_column("row_number", pa.array(np.arange(1, rows.num_rows + 1, dtype=np.int64)))
    if gone and source.subject:
        rows = without_erased(gone, source.subject, rows, source.subject_form)
    day = day or by_name
    days = split_by_day(str(file), rows, source.day_column, source.days, today, day, source.day_formats)
    return Delivered(named.name, kind, sha256, days, notes)


def _day_by_name(source: EventFiles, file: SourceFile) -> date | None:
    """The day that the file's path says, where the source's paths do. Raises LandingError."""
    names = (*reversed(file.name.split("/")), file.path.absolute().parent.name)
    return day_in_name(names) if source.day_in_name or source.whole else None


def _disagreements(source: EventFiles, file: SourceFile, rows: pa.Table, day: date) -> tuple[str, ...]:
    """Where a file says itself that it is of other days than the one that it is landed on."""
    notes = []
    try:
        if (by_name := _day_by_name(source, file)) not in (None, day):
            notes.append(f"{file.path}: landed on {day}, but its path says {by_name}.")
    except LandingError:
        pass  # its path says no day at all
    if source.day_column and (other := other_days(rows, source.day_column, day, source.day_formats)):
        notes.append(f"{file.path}: landed on {day}, but {other}.")
    return tuple(notes)


def _bytes(file: Path) -> bytes:
    """A file's content, all of one moment. Raises LandingError where it changed meanwhile."""
    try:
        before = file.stat()
        data = file.read_bytes()
        after = file.stat()
    except (FileNotFoundError, PermissionError) as error:
        raise LandingError(f"{file}: cannot be read: {error.strerror}.") from error
    except OSError as error:  # of a disk, or of a file system elsewhere
        raise NotNow(f"{file}: cannot be read now: {error.strerror}. Land it again later.") from error
    same = all(getattr(before, name) == getattr(after, name) for name in ("st_ino", "st_size", "st_mtime_ns"))
    if not same or len(data) != after.st_size:
        raise NotNow(f"{file}: it was changed while it was read. Nothing was landed: land it when it is complete.")
    return data


def without_erased(gone: frozenset[str], column: str, rows: pa.Table, form: NormalForm = NormalForm.EXACT) -> pa.Table:
    """The rows of a file without those of erased subjects, whose pseudonyms are `gone`.

    Subjects that were erased before identifiers had a normal form are known by what was typed.
    """
    from lakehouse_assets.platform.ingest.pseudonyms import pseudonym

    def is_gone(value: str) -> bool:
        return any(pseudonym(name) in gone for name in {form.of(value), value.strip()} if name)

    return rows.filter(pc.invert(_says(rows[column], is_gone)))


def of_subject(rows: pa.Table, column: str, subject: str, form: NormalForm) -> pa.ChunkedArray:
    """Which rows are the subject's: true or false, never null."""
    meant = form.of(subject)
    return _says(rows[column], lambda value: form.of(value) == meant)


def _says(column: pa.ChunkedArray, is_meant: Callable[[str], bool]) -> pa.ChunkedArray:
    """Which values are meant; each is asked of once."""
    meant = [value for value in pc.unique(pc.drop_null(column)).to_pylist() if is_meant(value)]
    return pc.fill_null(pc.is_in(column, pa.array(meant, column.type)), False)
