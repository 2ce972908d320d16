"""What functions, classes and instances hold, as far as code can depend on it."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import cached_property
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from lakehouse_assets.platform.fingerprint.bytecode import body

OF_THE_CLASS = frozenset({
    "__abstractmethods__", "__annotations__", "__class_getitem__", "__dict__", "__doc__", "__init_subclass__",
    "__match_args__", "__module__", "__qualname__", "__slots__", "__weakref__",
})  # fmt: skip


def is_installed(top: str) -> bool:
    """Whether a package was installed as a library."""
    module = sys.modules.get(top)
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())] if module else []
    return any({"site-packages", "dist-packages"} & set(Path(place).parts) for place in places if place)


def module_of(value: Any) -> str:
    """The module in which a value says to be defined."""
    found = getattr(value, "__module__", None)
    return found if isinstance(found, str) else "builtins"


def content_of(cell: Any) -> object:
    """What a closure holds; None where it is not assigned yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def is_code(value: object) -> bool:
    """Whether an attribute of a class is code: a function, whatever wraps it."""
    kinds: tuple[type, ...] = (FunctionType, staticmethod, classmethod, property, cached_property)
    return isinstance(value, kinds) or callable(getattr(value, "__wrapped__", None))


def changed_in(module: Mapping[str, Any]) -> frozenset[str]:
    """Globals of a module that its own functions change: memory of a process, no constant.

    A function, a class or a module is what it is: `rates.update(…)` calls a function of the module `rates`.
    """
    name, values = module.get("__name__"), list(module.values())
    own = [value for value in values if getattr(value, "__module__", None) == name]
    own += [method for one in own if isinstance(one, type) for method in vars(one).values()]
    bodies = [body(function.__code__) for function in own if isinstance(function, FunctionType)]
    in_place = frozenset[str]().union(*[one.in_place for one in bodies])
    containers = {name for name in in_place if not _is_definition(module.get(name))}
    return frozenset(containers).union(*[one.assigned for one in bodies])


def _is_definition(value: object) -> bool:
    """Whether a value is code, or immutable: no method of it changes it."""
    frozen = getattr(getattr(type(value), "__dataclass_params__", None), "frozen", False)
    return bool(frozen) or is_code(value) or isinstance(value, ModuleType | type | str | bytes | tuple | frozenset)


def state_of(value: object) -> dict[str, object]:
    """The fields of an instance, without what it has computed from them."""
    of = type(value)
    if is_dataclass(value):
        names: Iterable[str] = [one.name for one in fields(value) if hasattr(value, one.name)]
    else:
        slots = [s for base in of.__mro__ for s in _slots(base) if hasattr(value, s)]
        names = [*getattr(value, "__dict__", ()), *slots]
    computed = {name for base in of.__mro__ for name, a in vars(base).items() if isinstance(a, cached_property)}
    return {name: getattr(value, name) for name in names if name not in computed and name != "__weakref__"}


def _slots(of: type) -> tuple[str, ...]:
    found = vars(of).get("__slots__", ())
    return (found,) if isinstance(found, str) else tuple(found)
