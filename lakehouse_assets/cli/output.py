"""Rows on the terminal: as a table for people, as JSON or CSV for programs."""

import csv
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import click

FORMATS = ("table", "json", "csv")
FORMER = ("text", "tree")
"""What some commands called the first of them."""
WIDE = 400
"""Columns of the output where it is no terminal: nothing is folded in a file or a pipe."""


@dataclass(frozen=True)
class Rows:
    """A result: column names and rows of plain Python values."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


class FormatType(click.Choice[str]):
    """One of the formats that every command has. The names that some had before are taken, with a notice."""

    def __init__(self) -> None:
        super().__init__(FORMATS)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The format. Fails for any other."""
        if value in FORMER:
            click.echo(f"--format {value} is deprecated: the format is called table.", err=True)
            return "table"
        return super().convert(value, param, ctx)


def format_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--format table|json|csv`, passed as `output`."""
    option = click.option("--format", "output", type=FormatType(), default="table", show_default=True)
    return option(function)


def show_record(data: Mapping[str, Any], output: str, text: str) -> None:
    """Print one answer: `text` for people, `data` as a JSON object, or as CSV with a row for it."""
    match output:
        case "json":
            click.echo(json.dumps(data, default=_text, ensure_ascii=False))
        case "csv":
            values = [json.dumps(one, default=_text) if isinstance(one, list | dict) else one for one in data.values()]
            show(Rows(tuple(data), [values]), "csv")
        case _:
            click.echo(text)


def show(result: Rows, output: str, title: str | None = None) -> None:
    """Print a result. In JSON, DECIMALs and days are text: a JSON number is a float to whoever reads it."""
    match output:
        case "json":
            rows = [dict(zip(result.columns, map(_plain, row), strict=True)) for row in result.rows]
            click.echo(json.dumps(rows, default=_text, ensure_ascii=False, indent=1))
        case "csv":
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(result.columns)
            writer.writerows([map(_digits, row) for row in result.rows])
        case _:
            _table(result, title)


def _table(result: Rows, title: str | None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for number, column in enumerate(result.columns):
        numeric = any(
            isinstance(row[number], int | float) or hasattr(row[number], "as_tuple") for row in result.rows[:1]
        )
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in result.rows:
        table.add_row(*["" if value is None else str(_digits(value)) for value in row])
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)


def _plain(value: Any) -> Any:
    """A value without floats that JSON has not: NaN and infinities are text."""
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case list() | tuple():
            return [_plain(one) for one in value]
        case dict():
            return {_text(key): _plain(one) for key, one in value.items()}
    return value


def _digits(value: Any) -> Any:
    """A DECIMAL as text with all its digits and no exponent; anything else as it is."""
    return f"{value:f}" if isinstance(value, Decimal) else value


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, date | datetime) else str(_digits(value))
