"""What a piece of compiled code does: its instructions with the constants they use, and what it takes from outside.

Line numbers, comments, docstrings, layout and the names of modules are no part of it. No file is read, so it is the
code that runs, whatever was written to disk since.
"""

import dis
import hashlib
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from types import CodeType

from lakehouse_assets.platform.fingerprint.code_flow import Instruction, flow, instructions_of

GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_CLASSDEREF"})
ATTRIBUTE = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
OWN_NAME = frozenset({"__name__", "__qualname__", "__module__", "__doc__"})
BY_NAME = frozenset({"getattr", "hasattr", "attrgetter", "methodcaller", "setattr"})
MUTATING = frozenset({
    "add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "setdefault", "update",
})  # fmt: skip
KIND = (
    inspect.CO_VARARGS
    | inspect.CO_VARKEYWORDS
    | inspect.CO_GENERATOR
    | inspect.CO_COROUTINE
    | inspect.CO_ASYNC_GENERATOR
)


@dataclass(frozen=True)
class Taken:
    """A value from outside: a global name or an imported module, and the attributes taken of it at once.

    `level` None: a global; else an import, relative by so many packages.
    """

    name: str
    attributes: tuple[str, ...] = ()
    level: int | None = None


@dataclass(frozen=True)
class Body:
    """What a code object does. `taken` in the order of the code, nested functions included; `assigned`: globals that it
    assigns; `in_place`: globals that it changes in place, if they are containers."""

    digest: str
    taken: tuple[Taken, ...]
    attributes: frozenset[str]
    assigned: frozenset[str]
    in_place: frozenset[str]


@cache
def body(code: CodeType) -> Body:
    """The body of a code object."""
    instructions = instructions_of(code)
    nested = [body(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    attributes = {str(one.meaning) for one in instructions if one.name in ATTRIBUTE | {"STORE_ATTR", "IMPORT_FROM"}}
    if BY_NAME & set(code.co_names):
        attributes |= {text for text in code.co_consts if isinstance(text, str) and text.isidentifier()}
    return Body(
        digest=_digest(code, instructions),
        taken=(*_taken(instructions), *(taken for one in nested for taken in one.taken)),
        attributes=frozenset(attributes).union(*[one.attributes for one in nested]),
        assigned=frozenset(_assigned(instructions)).union(*[one.assigned for one in nested]),
        in_place=frozenset(_in_place(instructions)).union(*[one.in_place for one in nested]),
    )


def constant(value: object) -> str:
    """A constant as text that is the same in every process: 1, 1.0 and True differ, the order of a set does not."""
    if isinstance(value, CodeType):
        return body(value).digest
    if isinstance(value, tuple):
        return f"tuple({','.join(map(constant, value))})"
    if isinstance(value, frozenset):
        return f"frozenset({','.join(sorted(map(constant, value)))})"
    return f"{type(value).__name__}({value!r})"


def _digest(code: CodeType, instructions: list[Instruction]) -> str:
    parameters = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & inspect.CO_VARARGS)
    parameters += bool(code.co_flags & inspect.CO_VARKEYWORDS)
    header = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & KIND)
    lines = [repr((header, code.co_varnames[:parameters])), *flow(code, instructions, _described)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _described(one: Instruction) -> str:
    number = dis.opmap[one.name]
    if number in dis.hasconst:
        return constant(one.meaning)
    if one.name == "LOAD_GLOBAL":
        return str(one.argument & 1)
    if one.name in GLOBAL or one.name == "IMPORT_NAME" or number in dis.hasjrel:
        return ""
    return str(one.argument if one.meaning is None else one.meaning)


def _taken(instructions: list[Instruction]) -> Iterator[Taken]:
    for number, one in enumerate(instructions):
        if one.name in GLOBAL:
            yield Taken(str(one.meaning), tuple(_follow(instructions[number + 1 :], ATTRIBUTE)))
        elif one.name == "IMPORT_NAME":
            level = instructions[number - 2].meaning
            assert isinstance(level, int), "an import loads its level and its names first"
            names = instructions[number - 1].meaning
            for name in names if isinstance(names, tuple) else (None,):
                yield Taken(str(one.meaning), () if name is None else (name,), level)


def _follow(instructions: Iterable[Instruction], names: frozenset[str]) -> Iterator[str]:
    for one in instructions:
        if one.name not in names:
            return
        yield str(one.meaning)


def _assigned(instructions: list[Instruction]) -> Iterator[str]:
    return (str(one.meaning) for one in instructions if one.name in ("STORE_GLOBAL", "DELETE_GLOBAL"))


def _in_place(instructions: list[Instruction]) -> Iterator[str]:
    for number, one in enumerate(instructions):
        if one.name == "LOAD_GLOBAL" and number + 1 < len(instructions):
            after = instructions[number + 1]
            if after.name in ATTRIBUTE and after.meaning in MUTATING:
                yield str(one.meaning)
        elif one.name in ("STORE_SUBSCR", "DELETE_SUBSCR"):
            container = _before(instructions[:number], 1)
            if container is not None and container.name == "LOAD_GLOBAL":
                yield str(container.meaning)


def _before(instructions: list[Instruction], depth: int) -> Instruction | None:
    """The instruction that pushed the value which lies `depth` values below the top of the stack."""
    left = depth
    for one in reversed(instructions):
        if left == 0:
            return one
        number = dis.opmap[one.name]
        left -= dis.stack_effect(number, one.argument if number >= dis.HAVE_ARGUMENT else None, jump=False)
    return None
