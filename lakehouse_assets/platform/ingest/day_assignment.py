"""The feed day of every row of a source file, and the file split by it."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse_assets.platform.common.source_days import SourceDays
from lakehouse_assets.platform.ingest.file_readers import LandingError, NotYet

_EPOCH = date(1970, 1, 1)
_ISO_DAY = r"(?s)^\d{4}-\d{2}-\d{2}([ T].*)?$"  # a date, or a timestamp that begins with one


def split_by_day(
    name: str,
    rows: pa.Table,
    day_column: str | None,
    source: SourceDays,
    today: date,
    day: date | None,
    formats: Sequence[str] = (),
) -> dict[date, pa.Table]:
    """The rows of each feed day, in file order, days ascending. `formats`: of days, besides ISO, as strptime takes.

    With `day`, all rows are of that day. Else by `day_column`; a row whose day cannot be read travels with the
    greatest readable day, so that nothing is lost. Raises LandingError for a day that the source cannot have `today`;
    NotYet where it can have it later.
    """
    if day is not None:
        fault = source.fault(day, today)
        if fault:
            raise _refusal(f"{name}: the day {day.isoformat()} asked for is {fault}.", day, source, today)
        return {day: rows}
    if day_column is None:
        raise LandingError(f"{name}: nothing in this file says its day. Say it with --day YYYY-MM-DD.")
    if rows.num_rows == 0:
        raise LandingError(f"{name}: no rows, hence no day. Say which day is empty with --day YYYY-MM-DD.")
    days = _day_numbers(rows[day_column], formats)
    greatest = pc.max(days).as_py()
    if greatest is None:
        raise LandingError(f"{name}: no row has a readable day in {day_column!r}. Say the day with --day YYYY-MM-DD.")
    days = pc.fill_null(days, greatest)
    _check_days(name, days, day_column, source, today)
    return _slices(rows, days)


def other_days(rows: pa.Table, day_column: str, day: date, formats: Sequence[str] = ()) -> str | None:
    """What the rows of a file say of their days where it is not that day, in words."""
    days = _day_numbers(rows[day_column], formats)
    others = days.filter(pc.fill_null(pc.not_equal(days, (day - _EPOCH).days), False))
    if not len(others):
        return None
    first, last = (_EPOCH + timedelta(days=number) for number in pc.min_max(others).as_py().values())
    message = f"{first}" if first == last else f"{first}..{last}"
    return f"{len(others)} of {rows.num_rows} rows say {message} in {day_column}"


def _day_numbers(column: pa.ChunkedArray, formats: Sequence[str]) -> pa.Array:
    """Days since 1970-01-01 of a text column, null where it holds no day."""
    texts = pc.utf8_trim_whitespace(column)
    dated = pc.fill_null(pc.match_substring_regex(texts, _ISO_DAY), False)
    other = pc.replace_substring_regex(texts, r"(?s)[ T].*$", "") if formats else None
    days = pc.if_else(dated, pc.utf8_slice_codeunits(texts, 0, 10), other)
    coded = pa.chunked_array(days.chunks, days.type).combine_chunks().dictionary_encode()
    numbers = pa.array([_number(text, formats) for text in coded.dictionary.to_pylist()], pa.int32())
    return numbers.take(coded.indices)


def _number(text: str, formats: Sequence[str]) -> int | None:
    for written in ("%Y-%m-%d", *formats):
        try:
            return (datetime.strptime(text, written).date() - _EPOCH).days
        except ValueError:
            continue  # such as 2023-02-30
    return None


def _check_days(name: str, days: pa.Array, day_column: str, source: SourceDays, today: date) -> None:
    bounds = source.until(today)
    outside = pc.or_(pc.less(days, (bounds.first - _EPOCH).days), pc.greater(days, (bounds.last - _EPOCH).days))
    index = pc.index(outside, True).as_py()
    if index >= 0:
        day = _EPOCH + timedelta(days=days[index].as_py())
        raise _refusal(
            f"{name}: row {index + 1} is of {day.isoformat()} ({day_column}), {source.fault(day, today)}. "
            "Correct that row, or land the whole file on one day with --day.",
            _EPOCH + timedelta(days=pc.max(days).as_py()),
            source,
            today,
        )


def _refusal(message: str, newest: date, source: SourceDays, today: date) -> LandingError:
    """The error of a file whose days, `newest` the greatest, are not all of the source."""
    return NotYet(message, newest) if today < newest in source.until(newest) else LandingError(message)


def _slices(rows: pa.Table, days: pa.Array) -> dict[date, pa.Table]:
    if not pc.all(pc.greater_equal(days[1:], days[:-1])).as_py():
        order = pc.array_sort_indices(days)  # stable: file order within a day stays
        rows, days = rows.take(order), days.take(order)
    counts = days.value_counts()
    slices: dict[date, pa.Table] = {}
    start = 0
    for number, count in zip(counts.field(0).to_pylist(), counts.field(1).to_pylist(), strict=True):
        slices[_EPOCH + timedelta(days=number)] = rows.slice(start, count)
        start += count
    return slices
