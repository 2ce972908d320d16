"""The SQL of the checks that pandera knows.

Spark runs exactly the text that people read. It is written so that DuckDB runs it as well (after `DUCKDB_PRELUDE`),
and so that no value in it can be taken for SQL.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from lakehouse_assets.platform.contracts.rules import ContractError

DUCKDB_PRELUDE = "CREATE OR REPLACE TEMP MACRO regexp_like(s, p) AS regexp_matches(s, p)"

_LONG = 2**63


def sql_text(value: str) -> str:
    """A string as an SQL literal that reads the same in Spark and DuckDB.

    To Spark a backslash is an escape, a doubled quote is nothing and `${name}` a variable; to DuckDB not so.
    What the two read differently is taken apart.
    """
    pieces = [piece for piece in re.split(r"([\\'])|(?<=\$)(?=\{)", value) if piece]
    quoted = [f"chr({ord(piece)})" if piece in "\\'" else f"'{piece}'" for piece in pieces]
    return quoted[0] if len(quoted) == 1 else f"({' || '.join(quoted)})" if quoted else "''"


def sql_literal(value: object) -> str:
    """A value of a check as SQL. Raises ContractError for what has no SQL of its own."""
    match value:
        case bool():
            return str(value).upper()
        case int() if -_LONG <= value < _LONG:
            return str(value)
        case float():
            return f"CAST('{value!r}' AS DOUBLE)"
        case Decimal() if value.is_finite() and len(value.as_tuple().digits) <= 38:
            return format(value, "f")
        case str():
            return sql_text(value)
        case datetime() if value.tzinfo is None:  # compared with TIMESTAMP_NTZ, which the text becomes in both dialects
            return f"'{value.isoformat(sep=' ')}'"
        case date() if not isinstance(value, datetime):
            return f"DATE '{value.isoformat()}'"
    raise ContractError(
        f"{value!r} cannot be compared with a column: use a number, text, date or a datetime without zone."
    )


_NUMBERS = ("tinyint", "smallint", "int", "bigint", "float", "double", "decimal")
_KINDS: Mapping[str, tuple[str, type | tuple[type, ...]]] = {
    **dict.fromkeys(_NUMBERS, ("number", (int, float, Decimal))),
    "date": ("date", date),
    "timestamp_ntz": ("date", datetime),
    "string": ("text", str),
    "boolean": ("truth", bool),
}
_ORDER = frozenset({"number", "date"})
_SET = _ORDER | {"text"}
_EQUAL = _SET | {"truth"}
_TEXT = frozenset({"text"})


def _compare(operator: str) -> Callable[[str, Mapping[str, Any]], str]:
    def sql(column: str, given: Mapping[str, Any]) -> str:
        (value,) = given.values()
        return f"{column} {operator} {sql_literal(value)}"

    return sql


def _among(operator: str) -> Callable[[str, Mapping[str, Any]], str]:
    def sql(column: str, given: Mapping[str, Any]) -> str:
        (values,) = given.values()
        return f"{column} {operator} ({', '.join(sql_literal(value) for value in values)})"

    return sql


def _in_range(column: str, given: Mapping[str, Any]) -> str:
    low = "<" if given.get("include_min", True) else "<="
    high = ">" if given.get("include_max", True) else ">="
    return f"{column} {low} {sql_literal(given['min_value'])} OR {column} {high} {sql_literal(given['max_value'])}"


def _regex(anchor: str) -> Callable[[str, Mapping[str, Any]], str]:
    def sql(column: str, given: Mapping[str, Any]) -> str:
        pattern = given["pattern"]
        text = pattern.pattern if isinstance(pattern, re.Pattern) else pattern
        return f"NOT regexp_like({column}, {sql_text(text if text.startswith(anchor) else anchor + text)})"

    return sql


def _side(function: str) -> Callable[[str, Mapping[str, Any]], str]:
    def sql(column: str, given: Mapping[str, Any]) -> str:
        text = given["string"]
        return f"{function}({column}, {len(text)}) <> {sql_text(text)}"

    return sql


def _length(column: str, given: Mapping[str, Any]) -> str:
    exact, low, high = (given.get(name) for name in ("exact_value", "min_value", "max_value"))
    bounds = [(exact, "<>")] if exact is not None else [(low, "<"), (high, ">")]
    return " OR ".join(f"length({column}) {sign} {bound}" for bound, sign in bounds if bound is not None)


@dataclass(frozen=True)
class _Check:
    """A check of pandera: its name as a keyword, the kinds of column it takes, and the SQL of a broken row."""

    keyword: str
    kinds: frozenset[str]
    sql: Callable[[str, Mapping[str, Any]], str]


CHECKS: Mapping[str, _Check] = {
    "equal_to": _Check("eq", _EQUAL, _compare("<>")),
    "not_equal_to": _Check("ne", _EQUAL, _compare("=")),
    "greater_than": _Check("gt", _ORDER, _compare("<=")),
    "greater_than_or_equal_to": _Check("ge", _ORDER, _compare("<")),
    "less_than": _Check("lt", _ORDER, _compare(">=")),
    "less_than_or_equal_to": _Check("le", _ORDER, _compare(">")),
    "in_range": _Check("in_range", _ORDER, _in_range),
    "isin": _Check("isin", _SET, _among("NOT IN")),
    "notin": _Check("notin", _SET, _among("IN")),
    "str_contains": _Check("str_contains", _TEXT, _regex("")),
    "str_matches": _Check("str_matches", _TEXT, _regex("^")),
    "str_startswith": _Check("str_startswith", _TEXT, _side("left")),
    "str_endswith": _Check("str_endswith", _TEXT, _side("right")),
    "str_length": _Check("str_length", _TEXT, _length),
}
KEYWORDS = frozenset(check.keyword for check in CHECKS.values())


def check_sql(name: str, given: Mapping[str, Any], column: str, type_name: str) -> tuple[str, str]:
    """Keyword and SQL (true for a broken row) of pandera's check `name` on a column of Spark type `type_name`.

    Raises ContractError for an unknown check, a type that pandera cannot judge by it, or values of another type.
    """
    check = CHECKS.get(name)
    if check is None:
        raise ContractError(
            f"{column}: check {name!r} has no SQL; use one of {', '.join(sorted(KEYWORDS))}, or a row_rule."
        )
    kind, python = _KINDS.get(type_name.partition("(")[0], ("other", ()))
    if kind not in check.kinds:
        raise ContractError(f"{column}: {check.keyword} does not apply to {type_name}; write a row_rule.")
    if not name.startswith("str_"):
        _agree(check.keyword, given, column, type_name, python)
    return check.keyword, check.sql(column, given)


def _agree(
    keyword: str, given: Mapping[str, Any], column: str, type_name: str, python: type | tuple[type, ...]
) -> None:
    """A comparison of different types would be a cast, which raises at run time in ANSI mode."""
    values: list[object] = []
    for name, value in given.items():
        if not name.startswith("include_"):
            values += value if name in ("allowed_values", "forbidden_values") else [value]
    if not values:
        raise ContractError(f"{column}: {keyword} of no values says nothing about a row.")
    for value in values:
        fits = isinstance(value, python) and isinstance(value, bool) == (python is bool)
        if not fits or (python is date and isinstance(value, datetime)):
            raise ContractError(f"{column}: {keyword} compares {type_name} with {value!r}, a {type(value).__name__}.")
