"""Typed values of a file as text that has one reading: what `casting.py` reads of it is the value that was in the file.

| type of the file | text |
|---|---|
| whole numbers, boolean, text, also as a dictionary | as usual |
| DECIMAL, FLOAT, DOUBLE | `50.00`, `1.5e-07`; `1.2340` for 1.234, which as text could also mean 1234; NaN is NULL |
| DATE | `2023-01-31` |
| timestamps of any unit, TIME | `2023-01-31 23:59:59`, as many decimals of a second as there are; an instant in UTC |
| lists, structs, maps | compact JSON |
| binary | as it is where it is UTF-8; else refused |
"""

import re
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import simplejson

TEXT = pa.large_string()  # 64-bit offsets: a column of one file may pass 2 GiB
_TWO_READINGS = r"^([+-]?[1-9]\d{0,2}\.\d{3})$"


def one_reading(number: str) -> str:
    """A number's text with a point, so that the point is no mark of thousands: 1.234 with a zero more."""
    return number + "0" if re.fullmatch(_TWO_READINGS, number) else number


def compact_json(value: object) -> str:
    """JSON without blanks, non-ASCII as it is; `RawJSON` stays as it is."""
    return simplejson.dumps(value, separators=(",", ":"), ensure_ascii=False)


def as_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as text. Raises pyarrow.ArrowException or TypeError where a value has none."""
    kind = values.type
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name == "arrow.uuid":
            return pa.chunked_array([pa.array([v and str(v) for v in values.to_pylist()], TEXT)])
        return as_text(values.cast(kind.storage_type))
    if pa.types.is_dictionary(kind):
        return as_text(values.cast(kind.value_type))
    if pa.types.is_nested(kind):
        texts = [None if value is None else compact_json(value) for value in _json_values(values)]
        return pa.chunked_array([pa.array(texts, TEXT)])
    if pa.types.is_duration(kind) or pa.types.is_interval(kind):
        raise TypeError("a span of time")
    if pa.types.is_float16(kind):
        values = values.cast(pa.float32())
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        values = values.cast(pa.timestamp(kind.unit, "UTC")).cast(pa.timestamp(kind.unit))
    text = values.cast(TEXT)
    text.validate(full=True)
    if pa.types.is_timestamp(kind) or pa.types.is_time(kind):  # the unit's zeros were not in the value
        return pc.replace_substring_regex(text, r"\.0+$|(\.\d*?)0+$", r"\1")
    if pa.types.is_decimal(kind):
        plain = text
        if pc.any(pc.match_substring(text, "E")).as_py():
            plain = pa.chunked_array([[None if v is None else f"{v:f}" for v in values.to_pylist()]], TEXT)
        return pc.replace_substring_regex(plain, _TWO_READINGS, r"\10")
    if pa.types.is_floating(kind):
        known = pc.if_else(pc.is_nan(values), pa.scalar(None, TEXT), text)
        return pc.replace_substring_regex(known, _TWO_READINGS, r"\10")
    return text


def _json_values(values: pa.ChunkedArray | pa.Array) -> list[Any]:
    """What stands for each value in JSON: numbers keep their digits, all else that JSON does not have is text."""
    kind = values.type
    if isinstance(values, pa.ChunkedArray) and pa.types.is_nested(kind):
        return [value for chunk in values.chunks for value in _json_values(chunk)]
    valid = values.is_valid().to_pylist()
    if pa.types.is_struct(kind):
        fields = [_json_values(field) for field in values.flatten()]
        names = [kind.field(number).name for number in range(kind.num_fields)]
        return [
            dict(zip(names, (field[row] for field in fields), strict=True)) if valid[row] else None
            for row in range(len(values))
        ]
    if pa.types.is_map(kind):
        pairs = pa.struct([("key", kind.key_type), ("value", kind.item_type)])
        lists = _json_values(values.cast(pa.list_(pairs)))
        return [None if of is None else {str(one["key"]): one["value"] for one in of} for of in lists]
    if pa.types.is_nested(kind):
        items = iter(_json_values(values.flatten()))
        return [list(islice(items, length)) if length is not None else None for length in _lengths(values)]
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_floating(kind):
        texts = _text_of(values)
        if "inf" in texts or "-inf" in texts:
            raise TypeError("an infinite number")
        return [None if text is None else simplejson.RawJSON(text) for text in texts]
    return values.to_pylist() if pa.types.is_boolean(kind) or pa.types.is_null(kind) else _text_of(values)


def _lengths(values: pa.Array) -> list[int | None]:
    if pa.types.is_fixed_size_list(values.type):
        return [values.type.list_size if there else None for there in values.is_valid().to_pylist()]
    return pc.list_value_length(values).to_pylist()


def _text_of(values: pa.Array | pa.ChunkedArray) -> list[str | None]:
    chunked = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
    return as_text(chunked).to_pylist()
