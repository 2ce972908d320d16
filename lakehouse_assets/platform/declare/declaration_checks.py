"""What is wrong in a declaration, in one sentence: told at load, where it is written."""

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from lakehouse_assets.platform.contracts.rule_sql import mistake

if TYPE_CHECKING:
    from lakehouse_assets.platform.contracts.compiled import CompiledContract
    from lakehouse_assets.platform.declare.source_files import EventFiles
    from lakehouse_assets.platform.declare.stream_source import StreamSource

BESIDE = ("source_file", "row_number", "feed_day", "landing", "version", "_malformed")
"""Columns that a rule may name beside the contract's: where a row came from."""


def faults_of_function(function: Callable[..., Any], inputs: Collection[str]) -> Iterator[str]:
    """Parameters that are no inputs, and inputs that are no parameters."""
    parameters = inspect.signature(function).parameters
    takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    by_name = {name: one for name, one in parameters.items() if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)}
    for name, one in by_name.items():
        if one.kind is one.POSITIONAL_ONLY:
            yield f"its function cannot be given {name!r} by name; take away the / behind it"
        elif name not in inputs and one.default is one.empty:
            meant = get_close_matches(name, inputs, 1)
            declared = f"is {meant[0]!r} meant?" if meant else f"declared are {', '.join(inputs) or 'none'}"
            yield f"the parameter {name!r} of its function is no declared input; {declared}"
    for name in inputs:
        if name not in by_name and not takes_all:
            yield f"its input {name!r} is no parameter of its function, which takes {', '.join(by_name) or 'none'}"


def faults_of_rules(contract: "CompiledContract") -> Iterator[str]:
    """Rules whose SQL is surely wrong."""
    columns = (*contract.spark_schema.names, *BESIDE)
    for rule in contract.rules:
        if rule.expression is not None and (wrong := mistake(rule.expression, columns)):
            yield f"the SQL of the rule {rule.name} of {contract.name}, {rule.expression}, is wrong: {wrong}"


def faults_of_days(contract: "CompiledContract", stream: "StreamSource | None") -> Iterator[str]:
    """Rules of a whole day on a table whose stream commits parts of days."""
    if stream is not None and contract.of_day:
        yield f"its stream commits parts of days, but {contract.of_day[0].name} is a rule of a whole day"


def faults_of_stream(source: "EventFiles | None", stream: "StreamSource | None") -> Iterator[str]:
    """Where the files and the stream of one table have different days, or a person could not be erased."""
    if source is None or stream is None:
        return
    if source.subject is not None:
        yield (
            f"its files have the subject {source.subject!r}, but an erasure does not reach what its stream brings and "
            "sets aside; declare no subject, or the stream on a table of its own"
        )
    if stream.days is None:
        return
    for name, of_files, of_stream in (
        ("first day", source.days.first, stream.days.first),
        ("last day", source.days.last, stream.days.last),
        ("zone", source.days.zone, stream.days.zone),
    ):
        if of_files != of_stream:
            yield f"its files have the {name} {of_files or 'none'}, its stream {of_stream or 'none'}; declare one"


def fault_of_domain(name: object, first_day: object) -> str | None:
    """Why a domain cannot be called so, or begin on that day."""
    if not (isinstance(name, str) and name.isidentifier() and name == name.lower()):
        return f"Domain {name!r}: a domain is called as its folder, in lower case, as Domain('shop', …)"
    if type(first_day) is not date:
        return f"Domain {name!r}: first_day={first_day!r} is no day; write date(2024, 1, 1)"
    return None


def faults_of_options(reads: Mapping[str, object], options: Collection[str], read: type) -> Iterator[str]:
    """Arguments that are neither an option nor an input with the days that are read of it."""
    for name, given in reads.items():
        if isinstance(given, read):
            continue
        meant = get_close_matches(name, options, 1)
        if meant:
            yield f"{name!r} is no option; is {meant[0]!r} meant?"
        else:
            choices = f"{name}=day(…), rolling_window(…), cumulative(…) or full(…)"
            yield f"its input {name!r} does not say which of its days are read; write {choices}"
