"""JSON values as text: numbers keep their digits (see `typed_text.py`), nested values become compact JSON."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import simplejson

from lakehouse_assets.platform.common.typed_text import compact_json, one_reading


class BrokenLine(Exception):
    """A line that is not one JSON object of the known columns: its 1-based number and what is wrong."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


def json_columns(lines: Iterable[bytes], columns: Sequence[str]) -> list[list[str | None]]:
    """The values of each of `columns`, one list per column, one entry per line that is not blank.

    Lines are UTF-8. A missing key and null are None. Raises BrokenLine.
    """
    known = frozenset(columns)
    values: list[list[str | None]] = [[] for _ in columns]
    for number, line in enumerate(lines, start=1):
        if line.isspace():
            continue
        row = _parse(number, line)
        if not row.keys() <= known:
            unknown = ", ".join(repr(key) for key in row if key not in known)
            raise BrokenLine(number, f"unknown key {unknown}; known: {', '.join(columns)}")
        for column, column_values in zip(columns, values, strict=True):
            column_values.append(_text(number, row.get(column)))
    return values


def json_keys(lines: Iterable[bytes]) -> list[str]:
    """Every key that a line has, in the order of their appearance. Raises BrokenLine."""
    found: dict[str, None] = {}
    for number, line in enumerate(lines, start=1):
        if not line.isspace():
            found |= dict.fromkeys(_parse(number, line))
    return list(found)


def _parse(number: int, line: bytes) -> dict[str, Any]:
    try:
        row = _DECODER.decode(line.decode("utf-8"))
    except json.JSONDecodeError as error:
        raise BrokenLine(number, f"broken JSON at character {error.pos + 1}: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise BrokenLine(number, f"not acceptable as JSON: {error}") from error
    if not isinstance(row, dict):
        raise BrokenLine(number, "not a JSON object")
    return row


def _text(number: int, value: object) -> str | None:
    if isinstance(value, str):
        text = value
    elif value is None:
        return None
    elif isinstance(value, simplejson.RawJSON):
        return one_reading(value.encoded_json)
    else:
        text = compact_json(value)
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise BrokenLine(number, f"half of a surrogate pair (\\u{ord(text[error.start]):04x})") from error
    return text


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} more than once")
    return fields


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(
    parse_float=simplejson.RawJSON,
    parse_int=simplejson.RawJSON,
    parse_constant=_constant,
    object_pairs_hook=_object,
)
