"""The version of a table's code: a hash of what its function and its domain's modules compile to.

Bytecode, not source text: comments and layout change nothing, and no file is read. A change in any function,
constant or contract of the modules that the function can reach inside its domain changes the version.
"""

import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lakehouse_assets.platform.table import Table


@cache
def code_version(table: "Table") -> str:
    """Twelve hexadecimal digits."""
    module = sys.modules[table.function.__module__]
    domain = table.contract.__module__.rpartition(".")[0]
    digest = hashlib.sha256(repr((table.key, table.write, sorted(table.reads.items()))).encode())
    for part in _function(table.function):
        digest.update(part)
    for reached in sorted(
        {sys.modules[table.contract.__module__], *_reached(module, domain)}, key=lambda m: m.__name__
    ):
        for part in _module(reached, domain):
            digest.update(part)
    for rule in table.compiled.rules:
        digest.update(repr((rule.name, rule.action.value, rule.sql, rule.tolerate)).encode())
    digest.update(table.compiled.spark_schema.json().encode())
    return digest.hexdigest()[:12]


def _reached(module: ModuleType, domain: str) -> set[ModuleType]:
    """Modules of the domain that this one imports, besides the other layers' tables."""
    names = {getattr(value, "__module__", None) or getattr(value, "__name__", "") for value in vars(module).values()}
    layers = {f"{domain}.{layer}" for layer in ("bronze", "silver", "gold")}
    return {
        sys.modules[name]
        for name in names
        if isinstance(name, str) and name.startswith(f"{domain}.") and name not in layers and name in sys.modules
    }


def _module(module: ModuleType, domain: str) -> Iterator[bytes]:
    for name in sorted(vars(module)):
        value = vars(module)[name]
        if isinstance(value, FunctionType) and value.__module__.startswith(domain):
            yield name.encode()
            yield from _function(value)
        elif isinstance(value, str | int | tuple) and not name.startswith("__"):
            yield repr((name, value)).encode()


def _function(function: Any) -> Iterator[bytes]:
    yield from _code(function.__code__)
    yield repr(function.__defaults__).encode()


def _code(code: CodeType) -> Iterator[bytes]:
    yield code.co_code
    yield repr(code.co_names).encode()
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code(constant)
        elif isinstance(constant, frozenset):
            yield repr(sorted(map(repr, constant))).encode()
        else:
            yield repr(constant).encode()
