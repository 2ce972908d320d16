"""Source files read as text: CSV, JSON lines and Parquet become one Arrow table of strings, or are refused whole."""

import codecs
import collections
import csv
import io
import itertools
import re
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.common.typed_text import TEXT, as_text
from lakehouse_assets.platform.ingest.json_reader import BrokenLine, json_columns, json_keys

LONGEST_LINE = 16 * 1024 * 1024  # bytes; also pyarrow's block, which no row may exceed
UTF8_BOM = codecs.BOM_UTF8
_PANDAS_LABELS = re.compile(r"__index_level_\d+__")


class LandingError(LakehouseError):
    """A file that cannot be landed, or a landed part that is not what was landed. Nothing was written."""


class NotNow(LandingError):
    """Nothing is wrong with the file: other landings, a full disk, the manifest, or whoever still writes it stand in
    the way."""


class NotYet(LandingError):
    """Nothing is wrong with the file but that `day`, the newest of its days, is still to come."""

    def __init__(self, message: str, day: date) -> None:
        super().__init__(message)
        self.day = day


def format_of(file: Path) -> str:
    """Format a file's extension stands for: csv, json or parquet. Raises LandingError for any other extension."""
    try:
        return _EXTENSIONS[file.suffix.lower()]
    except KeyError:
        known = ", ".join(_EXTENSIONS)
        raise LandingError(f"{file}: unknown kind of file {file.suffix!r}. Known extensions: {known}.") from None


def read_rows(name: str, kind: str, data: bytes, columns: Sequence[str], delimiter: str = ",") -> pa.Table:
    """Rows of a source file, in file order, every column as text. `delimiter`: of CSV.

    `data` holds the file's bytes, `kind` is what `format_of` said; the result has exactly `columns`, of type
    large_string. Text stays as it came; JSON null and a missing JSON key are null. Raises LandingError.
    """
    if not data:
        raise LandingError(f"{name}: the file is empty (0 bytes). A day without events still needs a header line.")
    if kind == "csv":
        return _read_csv(name, data, tuple(columns), delimiter).combine_chunks()
    return _READERS[kind](name, data, tuple(columns)).combine_chunks()


def whole_text(name: str, data: bytes) -> str:
    """A file that is one record, as text, byte for byte. Raises LandingError for what is empty or not UTF-8."""
    if not data:
        raise LandingError(f"{name}: the file is empty (0 bytes).")
    _check_utf8(name, data)
    return data.decode("utf-8")


def header_of(name: str, kind: str, data: bytes, delimiter: str = ",") -> list[str]:
    """The names that a source file gives its columns, as they are in it. Raises LandingError."""
    match kind:
        case "csv":
            return csv_header(name, data, delimiter)
        case "parquet":
            return list(_parquet(name, data).schema.names)
    _check_utf8(name, data)
    try:
        return json_keys(io.BytesIO(data.removeprefix(UTF8_BOM)))
    except BrokenLine as error:
        raise _broken_line(name, error) from error


def _read_csv(name: str, data: bytes, columns: tuple[str, ...], delimiter: str) -> pa.Table:
    _check_utf8(name, data)
    _check_columns(name, csv_header(name, data, delimiter), columns)
    if b'"' in data:  # pyarrow takes an unclosed quote, and text after a closing one, for one long value
        _check_quotes(name, data, delimiter)
    if not data.endswith((b"\n", b"\r")):  # pyarrow does not take a header without a line end for a file of no rows
        data += b"\n"
    refused: list[pa_csv.InvalidRow] = []

    def refuse(row: pa_csv.InvalidRow) -> str:
        refused.append(row)
        return "error"

    try:
        return pa_csv.read_csv(
            pa.BufferReader(data),
            # One thread: rows keep their numbers in errors, and quoted line ends forbid splitting blocks anyway.
            read_options=pa_csv.ReadOptions(use_threads=False, block_size=LONGEST_LINE),
            parse_options=pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=refuse),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(columns, TEXT), strings_can_be_null=False, include_columns=list(columns)
            ),
        )
    except pa.ArrowInvalid as error:
        if refused:
            row = refused[0]
            raise LandingError(
                f"{name}: row {row.number - 1} has {row.actual_columns} columns, {row.expected_columns} are expected. "
                "Values that hold a comma or a line end must be quoted."
            ) from error
        if "straddling object" in str(error):
            raise _line_too_long(name) from error
        raise LandingError(f"{name}: cannot be read as CSV: {error}") from error


def csv_header(name: str, data: bytes, delimiter: str) -> list[str]:
    """The first line that is not blank. Raises LandingError."""
    lines = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="")
    try:
        return next((row for row in csv.reader(lines, delimiter=delimiter) if row), [])
    except (csv.Error, UnicodeDecodeError) as error:
        raise LandingError(f"{name}: the header line cannot be read: {error}.") from error


def _check_quotes(name: str, data: bytes, delimiter: str) -> None:
    text = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    limit = csv.field_size_limit(LONGEST_LINE)
    try:
        collections.deque(reader, maxlen=0)
    except csv.Error as error:
        if "field limit" in str(error):
            raise _line_too_long(name) from error
        begin = _begin_of_broken_record(data, delimiter)
        raise LandingError(
            f"{name}: line {reader.line_num}: {error}; the record begins in line {begin}. "
            'A quoted value must end in a quote, and a quote inside it is written twice ("").'
        ) from error
    finally:
        csv.field_size_limit(limit)


def _begin_of_broken_record(data: bytes, delimiter: str) -> int:
    text = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    begin = 1
    try:
        for _ in reader:
            begin = reader.line_num + 1
    except csv.Error:
        return begin
    return begin


def _read_json(name: str, data: bytes, columns: tuple[str, ...]) -> pa.Table:
    _check_utf8(name, data)
    body = data.removeprefix(UTF8_BOM)
    if body.lstrip()[:1] == b"[":
        raise LandingError(
            f"{name}: a JSON array, but one object per line is expected (JSON lines). Convert with: jq -c '.[]'"
        )
    lines = []
    for line in io.BytesIO(body):
        if len(line) > LONGEST_LINE:
            raise _line_too_long(name)
        lines.append(line)
    try:
        values = json_columns(lines, columns)
    except BrokenLine as error:
        raise _broken_line(name, error) from error
    return pa.table([pa.array(column, TEXT) for column in values], names=list(columns))


def _broken_line(name: str, error: BrokenLine) -> LandingError:
    return LandingError(
        f"{name}: line {error.line}: {error.reason}. JSON lines hold one whole object per line (jq -c . writes them)."
    )


def _parquet(name: str, data: bytes) -> pa.Table:
    """The file's typed rows, without the row labels that pandas adds to them."""
    try:
        table = _exact_times(data, pq.ParquetFile(pa.BufferReader(data)))
    except (pa.ArrowException, OSError) as error:
        raise LandingError(
            f"{name}: not a whole Parquet file ({str(error).splitlines()[0]}). Is it complete? Fetch it again."
        ) from error
    if b"pandas" not in (table.schema.metadata or {}):
        return table
    return table.select([place for place, name in enumerate(table.schema.names) if not _PANDAS_LABELS.fullmatch(name)])


def _exact_times(data: bytes, file: pq.ParquetFile) -> pa.Table:
    """The rows, with INT96 timestamps in microseconds where nanoseconds cannot hold them (before 1677, after 2262)."""
    table, columns = file.read(), file.schema
    old = [columns.column(n).path for n in range(len(columns)) if columns.column(n).physical_type == "INT96"]
    if old:
        wide = pq.ParquetFile(pa.BufferReader(data), coerce_int96_timestamp_unit="us").read()
        for place in [table.schema.names.index(path) for path in old if path in table.schema.names]:
            if not table.column(place).cast(pa.timestamp("us"), safe=False).equals(wide.column(place)):
                table = table.set_column(place, wide.schema.field(place), wide.column(place))
    return table


def _read_parquet(name: str, data: bytes, columns: tuple[str, ...]) -> pa.Table:
    table = _parquet(name, data)
    _check_columns(name, table.schema.names, columns)
    return pa.table([_column_text(name, column, table[column]) for column in columns], names=list(columns))


def _column_text(name: str, column: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return as_text(values)
    except (pa.ArrowException, TypeError) as error:
        raise LandingError(
            f"{name}: column {column!r} of type {values.type} cannot be written as text ({error}). "
            "Write it as a string, number, date or timestamp."
        ) from error


def _check_columns(name: str, found: Sequence[str], expected: Sequence[str]) -> None:
    twice = [column for column, times in collections.Counter(found).items() if times > 1]
    missing = [column for column in expected if column not in found]
    extra = [column for column in found if column not in expected]
    faults = [
        f"{fault} {_listed(names)}"
        for fault, names in (("missing", missing), ("extra", extra), ("more than once", twice))
        if names
    ]
    if faults:
        raise LandingError(
            f"{name}: the columns are not those of this table: {'; '.join(faults)}. Expected, in any order: "
            f"{', '.join(expected)}."
        )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:60]) for name in names[:20])
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"


def _check_utf8(name: str, data: bytes) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in itertools.count(0, LONGEST_LINE):
        chunk = data[start : start + LONGEST_LINE]
        held = len(decoder.getstate()[0])  # bytes of a character cut by the chunk before
        try:
            decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            offset = min(start, len(data)) - held + error.start
            line = data.count(b"\n", 0, offset) + 1
            raise LandingError(
                f"{name}: not UTF-8: byte {data[offset]:#04x} at offset {offset}, line {line}. Convert it first, "
                "for example: iconv -f ISO-8859-1 -t UTF-8"
            ) from error
        if not chunk:
            return


def _line_too_long(name: str) -> LandingError:
    return LandingError(
        f"{name}: a line of more than {LONGEST_LINE // 2**20} MiB. Is a quote left open, or a line end lost?"
    )


_EXTENSIONS = {".csv": "csv", ".jsonl": "json", ".ndjson": "json", ".json": "json", ".parquet": "parquet"}
_READERS: dict[str, Callable[[str, bytes, tuple[str, ...]], pa.Table]] = {
    "json": _read_json,
    "parquet": _read_parquet,
}
