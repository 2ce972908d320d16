"""Everything that functions and values reach, in one digest: helpers, constants, classes, of whatever module.

Code of the project is followed to its end; of libraries only the name is taken (`libraries`: whose versions matter).
The digest depends on no name of a project's module, on no path, hash seed, order of imports or object identity.
"""

import copyreg
import hashlib
import logging
import re
import sys
import typing
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from importlib import import_module
from importlib.util import resolve_name
from types import FunctionType, MethodType, ModuleType
from typing import Any

from pandera.api.dataframe.model_components import FieldInfo

from lakehouse_assets.platform.contracts.compiled import compile_contract
from lakehouse_assets.platform.contracts.contract import Contract
from lakehouse_assets.platform.contracts.contract_facts import RowRule
from lakehouse_assets.platform.fingerprint.bytecode import OWN_NAME, Taken, body, constant
from lakehouse_assets.platform.fingerprint.code_values import (
    OF_THE_CLASS,
    changed_in,
    content_of,
    is_code,
    is_installed,
    module_of,
    state_of,
)

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), type(NotImplemented), range)
PLATFORM = __name__.partition(".")[0]
# Never followed, wherever they are installed: they are known by their version.
ENGINES = frozenset({"dagster", "delta", "deltalake", "duckdb", "pandas", "pandera", "pyarrow", "pydantic", "pyspark"})


@dataclass(frozen=True)
class Reached:
    """The digest of all that was reached, and the libraries among it."""

    digest: str
    libraries: frozenset[str]


def reach(roots: Iterable[object], project: Iterable[str] = ()) -> Reached:
    """Follow the roots. `project`: packages that are followed although they are installed as libraries are.

    A method counts where code that was reached uses its name, so it is walked until no name is new.
    """
    packages, names = frozenset({PLATFORM, *project}), frozenset[str]()
    values = tuple(roots)
    while True:
        walk = Walk(packages, names)
        found = walk.digest(values)
        if walk.names <= names:
            return Reached(found, frozenset(walk.libraries))
        names |= walk.names


class Walk:
    """One pass over all that is reached, breadth first; every object is numbered where it is met first."""

    def __init__(self, packages: frozenset[str], names: frozenset[str]) -> None:
        self.packages = packages
        self.used = names
        self.names: set[str] = set()
        self.libraries: set[str] = set()
        self._changing: dict[int, frozenset[str]] = {}
        self._numbers: dict[int, int] = {}
        self._waiting: deque[object] = deque()
        self._alive: list[object] = []

    def digest(self, values: Iterable[object]) -> str:
        """The digest of these values and all that they reach."""
        digest = hashlib.sha256()
        for value in values:
            digest.update(self._token(value).encode() + b"\n")
        while self._waiting:
            for token in self._content(self._waiting.popleft()):
                digest.update(token.encode() + b"\n")
        return digest.hexdigest()

    def _token(self, value: object) -> str:
        """A plain value as it is, a name of a library, or the number under which the value's content follows."""
        if type(value) in PLAIN:
            return constant(value)
        if id(value) in self._numbers:
            return f"#{self._numbers[id(value)]}"
        if type(value) is tuple:
            return f"tuple({','.join(map(self._token, value))})"
        if isinstance(value, Enum):
            return f"{self._token(type(value))}.{value.name}"
        if isinstance(value, logging.Logger):
            return "logger"
        if isinstance(value, Set):
            return f"set({','.join(sorted(map(self._alone, value)))})"
        if isinstance(value, ModuleType) and self._is_library(value.__name__):
            return self._library(value.__name__, "")
        name = getattr(value, "__qualname__", None)  # of a function in Python the cells count too, see `_function`
        if isinstance(name, str) and not isinstance(value, FunctionType) and self._is_library(module_of(value)):
            return self._library(module_of(value), name)
        if typing.get_origin(value) is not None:
            return f"{self._token(typing.get_origin(value))}[{','.join(map(self._token, typing.get_args(value)))}]"
        number = self._numbers[id(value)] = len(self._numbers)
        self._alive.append(value)
        self._waiting.append(value)
        return f"#{number}"

    def _alone(self, value: object) -> str:
        if type(value) in PLAIN:
            return constant(value)
        apart = Walk(self.packages, self.used)
        found = apart.digest([value])
        self.names |= apart.names
        self.libraries |= apart.libraries
        return found

    def _content(self, value: object) -> Iterator[str]:
        match value:
            case FunctionType():
                yield from self._function(value)
            case RowRule():
                yield f"rule {self._token(value.fine)}"
            case MethodType():
                yield f"method {self._token(value.__self__)} {self._token(value.__func__)}"
            case staticmethod() | classmethod():
                yield f"{type(value).__name__} {self._token(value.__func__)}"
            case property():
                yield f"property {self._token((value.fget, value.fset, value.fdel))}"
            case cached_property():
                yield f"property {self._token(value.func)}"
            case type():
                yield from self._class(value)
            case ModuleType():
                of_module = {k: v for k, v in vars(value).items() if not isinstance(v, ModuleType)}
                yield from self._attributes("module", of_module)
            case Mapping():
                yield f"mapping {self._base(value)}"
                yield from (f"{self._token(k)}: {self._token(v)}" for k, v in list(value.items()))
            case list() | deque():
                yield f"list {','.join(map(self._token, value))}"
            case _ if callable(wrapped := getattr(value, "__wrapped__", None)):
                yield f"wrapped {self._token(wrapped)}"
            case _:
                yield from self._instance(value)

    def _function(self, function: FunctionType) -> Iterator[str]:
        outside = function.__globals__
        module = outside.get("__name__", "")
        cells = [content_of(cell) for cell in function.__closure__ or ()]
        if self._is_library(module):
            yield f"{self._library(module, function.__code__.co_qualname)} {self._token(tuple(cells))}"
            return
        of = body(function.__code__)
        self.names |= of.attributes
        yield f"function {of.digest}"
        yield self._token((function.__defaults__, tuple(sorted((function.__kwdefaults__ or {}).items()))))
        yield self._token(tuple(cells))
        for taken in of.taken:
            yield self._taken(taken, outside)
        for annotation in function.__annotations__.values():
            yield from self._annotation(annotation, outside)
        yield from self._attributes("attributes", {k: v for k, v in vars(function).items() if k != "__row_rule__"})

    def _taken(self, taken: Taken, outside: Mapping[str, Any]) -> str:
        """A global that code uses: a name of a builtin, else what it is, an attribute of a module in its place."""
        if taken.level is not None:
            value: object = self._imported(taken, outside)
        elif taken.name in OWN_NAME or taken.name not in outside:
            return taken.name
        elif taken.name in self._changed(outside):
            return "changed by the code itself"
        else:
            value = outside[taken.name]
        for attribute in taken.attributes:
            if not isinstance(value, ModuleType) or self._is_library(value.__name__):
                break
            if attribute in OWN_NAME:
                return attribute
            of_module = vars(value)
            if attribute not in of_module:
                return f"no {attribute}"
            if attribute in self._changed(of_module):
                return "changed by the code itself"
            value = of_module[attribute]
        return self._token(value)

    def _imported(self, taken: Taken, outside: Mapping[str, Any]) -> object:
        """The module of an import in a function; of a library's its name."""
        name = taken.name
        if taken.level:
            name = resolve_name("." * taken.level + name, outside.get("__package__") or "")
        if self._is_library(name):
            return self._library(name, ".".join(taken.attributes))
        try:
            module = import_module(name)
        except ImportError:
            return f"no {name}"
        for attribute in taken.attributes:  # `from package import module`, which may not be imported yet
            if attribute not in vars(module) and hasattr(module, "__path__"):
                import_module(f"{name}.{attribute}")
        return module

    def _annotation(self, annotation: object, outside: Mapping[str, Any]) -> Iterator[str]:
        """Classes of the project among the types: whose methods the code may call."""
        if isinstance(annotation, str):
            for name in re.findall(r"[A-Za-z_]\w*(?:\.\w+)*", annotation):
                first, *rest = name.split(".")
                found = outside.get(first)
                for one in rest:
                    found = vars(found).get(one) if isinstance(found, ModuleType) else None
                if found is not None:
                    yield from self._annotation(found, outside)
        elif typing.get_args(annotation):
            for one in typing.get_args(annotation):
                if not isinstance(one, str):
                    yield from self._annotation(one, outside)
        elif isinstance(annotation, type) and not self._is_library(module_of(annotation)):
            yield f"of type {self._token(annotation)}"

    def _class(self, of: type) -> Iterator[str]:
        yield f"class {self._token(of.__bases__)}"
        if issubclass(of, Contract) and of is not Contract:
            yield self._token(compile_contract(of).deciding)
        members = of.__members__ if issubclass(of, Enum) else {}
        yield from self._attributes("members", {name: member.value for name, member in members.items()})
        kept = {
            name: value for name, value in vars(of).items() if name not in members and self._counts(of, name, value)
        }
        yield from self._attributes("class", kept)
        outside = vars(sys.modules[of.__module__]) if of.__module__ in sys.modules else {}
        for annotation in vars(of).get("__annotations__", {}).values():
            yield from self._annotation(annotation, outside)

    def _counts(self, of: type, name: str, value: object) -> bool:
        """Whether an attribute of a class is part of what was reached."""
        if name in OF_THE_CLASS or isinstance(value, FieldInfo) or hasattr(value, "__row_rule__"):
            return False
        if not is_code(value):
            return name in self.used and not name.startswith("__")
        # A library calls what its classes leave to be defined; Python calls what has two underscores.
        overrides = any(name in vars(base) for base in of.__mro__[1:] if self._is_library(module_of(base)))
        return name in self.used or name.startswith("__") or overrides

    def _instance(self, value: object) -> Iterator[str]:
        of = type(value)
        if not self._is_library(module_of(of)):
            yield f"instance {self._token(of)} {self._base(value)}"
            yield from self._attributes("state", state_of(value))
            return
        try:
            made = copyreg.dispatch_table[of](value) if of in copyreg.dispatch_table else value.__reduce_ex__(4)
        except (TypeError, AttributeError, ValueError):  # a lock, a connection: what it holds is of the moment
            yield f"a {of.__qualname__}"
            return
        if isinstance(made, str):
            yield made
            return
        how, arguments, *rest = made
        state, *items = [*rest, None, None, None][:3]
        yield f"made by {self._token(how)} {self._token(arguments)}"
        yield from self._attributes("state", state) if isinstance(state, dict) else [self._token(state)]
        yield from (self._token(item) for many in items if many is not None for item in many)

    def _changed(self, outside: Mapping[str, Any]) -> frozenset[str]:
        """Globals of a module whose values are of the moment."""
        if id(outside) not in self._changing:
            self._changing[id(outside)] = changed_in(outside)
        return self._changing[id(outside)]

    def _base(self, value: object) -> str:
        """What an instance of a project's class has from the plain type it extends."""
        kinds: tuple[Any, ...] = (str, int, float, bytes, tuple)
        return next((self._token(plain(value)) for plain in kinds if isinstance(value, plain)), "")

    def _attributes(self, of: str, values: Mapping[str, Any]) -> Iterator[str]:
        yield of
        yield from (f"{name}={self._token(values[name])}" for name in sorted(values) if name not in OWN_NAME)

    def _library(self, module: str, name: str) -> str:
        top = module.partition(".")[0]
        if top not in sys.stdlib_module_names:
            self.libraries.add(top)
        return f"library {module} {name}"

    def _is_library(self, module: str) -> bool:
        top = module.partition(".")[0]
        return top not in self.packages and (top in ENGINES or top in sys.stdlib_module_names or is_installed(top))
