"""Statistics of a Parquet file as a Delta log holds them: from its footer, by Delta's rules.

Readers skip a file whose statistics exclude what they look for, so a bound may be too wide and never too narrow:
timestamps are rounded outwards to milliseconds, long texts are cut and their maximum is made greater, and a column
whose bounds would not be exact (floating point with NaN and signed zeros, decimals, nested values) has none.
"""

import json
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta

import pyarrow.parquet as pq

TEXT_LENGTH = 32
"""Characters of a text bound, as in Delta's own writer."""
GREATEST = "\U0010ffff"
"""Sorts after any other character, in code points as in UTF-8."""
MILLISECOND = timedelta(milliseconds=1)

Bound = int | str


def statistics(footer: pq.FileMetaData, columns: Collection[str]) -> str:
    """The statistics of a file: its rows, the NULLs of each column, least and greatest value of these columns."""
    found = nulls(footer)
    low: dict[str, Bound] = {}
    high: dict[str, Bound] = {}
    for place in range(footer.num_columns):
        name = footer.schema.column(place).path
        if name in columns and (bounds := _bounds(footer, place)) is not None:
            if bounds[0] is not None:
                low[name] = bounds[0]
            if bounds[1] is not None:
                high[name] = bounds[1]
    counted = {name: count for name, count in found.items() if not name.startswith("_")}
    content = {"numRecords": footer.num_rows, "minValues": low, "maxValues": high, "nullCount": counted}
    return json.dumps(content, separators=(",", ":"))


def nulls(footer: pq.FileMetaData) -> dict[str, int]:
    """How many NULLs each top-level column of a file has, as far as its footer tells."""
    found: dict[str, int] = {}
    for place in range(footer.num_columns):
        chunks = [footer.row_group(group).column(place).statistics for group in range(footer.num_row_groups)]
        if all(chunk is not None and chunk.has_null_count for chunk in chunks):
            found[footer.schema.column(place).path] = sum(chunk.null_count for chunk in chunks)
    return found


def _bounds(footer: pq.FileMetaData, place: int) -> tuple[Bound | None, Bound | None] | None:
    """Least and greatest value of a column, as Delta writes them; None where they are not known exactly."""
    column = footer.schema.column(place)
    if column.physical_type not in ("INT32", "INT64", "BYTE_ARRAY") or column.logical_type.type == "DECIMAL":
        return None
    chunks = [footer.row_group(group).column(place) for group in range(footer.num_row_groups)]
    known = [chunk.statistics for chunk in chunks if chunk.num_values and not _is_null(chunk)]
    if not known or not all(one is not None and one.has_min_max for one in known):
        return None
    try:
        least, greatest = min(one.min for one in known), max(one.max for one in known)
    except (OverflowError, ValueError):  # a day or time that Python has not: outside the years 1 to 9999
        return None
    return _least(least), _greatest(greatest)


def _is_null(chunk: pq.ColumnChunkMetaData) -> bool:
    found = chunk.statistics
    return found is not None and found.has_null_count and found.null_count == chunk.num_values


def _least(value: object) -> Bound | None:
    match value:
        case bool():
            return None
        case datetime():
            return _moment(value.replace(microsecond=value.microsecond // 1000 * 1000))
        case date():
            return value.isoformat()
        case str():
            return value[:TEXT_LENGTH]
        case int():
            return value
    return None


def _greatest(value: object) -> Bound | None:
    match value:
        case datetime():
            cut = value.replace(microsecond=value.microsecond // 1000 * 1000)
            if cut != value and cut > datetime.max.replace(tzinfo=cut.tzinfo) - MILLISECOND:
                return None
            return _moment(cut if cut == value else cut + MILLISECOND)
        case str() if len(value) > TEXT_LENGTH:
            # Greater than every text that begins so, unless what was cut begins with that very character.
            return None if value[TEXT_LENGTH] == GREATEST else value[:TEXT_LENGTH] + GREATEST
    return _least(value)


def _moment(value: datetime) -> str:
    """Of a timestamp with a zone in UTC, with its mark; of one without as it is."""
    if value.tzinfo is None:
        return value.isoformat(timespec="milliseconds")
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
