"""Files of one source that differ from each other: delimiter, names of columns, columns that came later.

What may differ is declared once and held against every file; nothing is guessed that is not declared.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from datetime import date

import pyarrow as pa
import simplejson

from lakehouse_assets.platform.common.typed_text import TEXT
from lakehouse_assets.platform.declare.source_files import Drift
from lakehouse_assets.platform.ingest.file_readers import UTF8_BOM, LandingError, header_of, read_rows

_DAY = re.compile(r"(?<!\d)\d{4}-\d{2}-\d{2}(?!\d)")


def read_drifting(name: str, kind: str, data: bytes, columns: Sequence[str], drift: Drift) -> pa.Table:
    """Rows of a source file as `read_rows` gives them, whatever of the declared drift it has. Raises LandingError."""
    delimiter, found, body = _header(name, kind, data, columns, drift)
    rows = read_rows(name, kind, body, found, delimiter)
    meant = {given: drift.column(given, columns) for given in found}
    named = [column for column in meant.values() if column]
    twice = sorted({column for column in named if named.count(column) > 1})
    missing = [column for column in columns if column not in (*named, *drift.optional, drift.extra)]
    unknown = [given for given, column in meant.items() if column is None]
    if twice or missing or (unknown and drift.extra is None):
        faults = [f"{message} {', '.join(map(repr, of))}" for message, of in (
            ("missing", missing), ("not declared", unknown if drift.extra is None else []), ("more than once", twice)
        ) if of]  # fmt: skip
        raise LandingError(
            f"{name}: the columns are not those of this source: {'; '.join(faults)}. Found: {', '.join(found)}. "
            "Correct the file, or declare the column in the source's Drift."
        )
    of_column = {column: given for given, column in meant.items() if column}
    nothing = pa.nulls(rows.num_rows, TEXT)
    arrays = {column: rows[of_column[column]] if column in of_column else nothing for column in columns}
    if drift.extra and unknown:
        arrays[drift.extra] = _as_json(rows.select(unknown))
    return pa.table(arrays)


def day_in_name(names: Iterable[str]) -> date | None:
    """The day that the first of these names with a day in it says, as in `2025-03-06.csv`."""
    for name in names:
        found = _DAY.search(name)
        if found:
            try:
                return date.fromisoformat(found[0])
            except ValueError as error:
                raise LandingError(f"{name}: {found[0]} is no day. Rename the file, or say the day: --day.") from error
    return None


def _header(name: str, kind: str, data: bytes, columns: Sequence[str], drift: Drift) -> tuple[str, list[str], bytes]:
    """Delimiter, the names of the columns, and the file with a header."""
    if not data:
        raise LandingError(f"{name}: the file is empty (0 bytes).")
    if kind != "csv":
        return ",", header_of(name, kind, data), data
    for delimiter in drift.delimiters:
        found = header_of(name, kind, data, delimiter)
        if any(drift.column(given, columns) for given in found):
            return delimiter, found, data
    for delimiter in drift.delimiters if drift.headerless else ():
        if len(header_of(name, kind, data, delimiter)) == len(drift.headerless):
            header = io.StringIO()
            csv.writer(header, delimiter=delimiter, lineterminator="\n").writerow(drift.headerless)
            return delimiter, list(drift.headerless), header.getvalue().encode() + data.removeprefix(UTF8_BOM)
    raise LandingError(
        f"{name}: no column of this source in its first line, with any of the delimiters {drift.delimiters}. "
        f"Expected: {', '.join(columns)}."
    )


def _as_json(rows: pa.Table) -> pa.Array:
    lines = [simplejson.dumps(row, ensure_ascii=False, sort_keys=True) for row in rows.to_pylist()]
    return pa.array(lines, TEXT)
