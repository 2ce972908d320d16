"""The flow of compiled code, the same whatever the layout of its source was.

Which jumps the compiler threads, which ends of functions it writes twice, whether it swaps values or stores them in
another order: all of that depends on line numbers. So the instructions are taken as a graph, in which nodes that do the
same are one.
"""

import dis
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import CodeType
from typing import Any, cast

NO_EFFECT = frozenset(dis.opmap[name] for name in ("CACHE", "EXTENDED_ARG", "NOP", "RESUME"))
JUMPS = frozenset({"JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"})
ENDS = frozenset({"RETURN_VALUE", "RAISE_VARARGS", "RERAISE"})
KEEPING = frozenset({"JUMP_IF_FALSE_OR_POP", "JUMP_IF_TRUE_OR_POP"})


@dataclass(frozen=True)
class Instruction:
    """One instruction: where it stands, its name, its argument, and what that argument means."""

    offset: int
    name: str
    argument: int
    meaning: object = None


@dataclass(frozen=True)
class Node:
    """An instruction in the flow, and where it goes on: in order, by its jump, by an exception."""

    label: str
    to: tuple[int | None, int | None, int | None]


def instructions_of(code: CodeType) -> list[Instruction]:
    """The instructions that have an effect."""
    return _without_swaps([*_instructions(code)])


def flow(code: CodeType, instructions: list[Instruction], described: Callable[[Instruction], str]) -> Iterator[str]:
    """The flow as lines. `described`: what an instruction works on."""
    return _canonical(_graph(code, instructions, described))


def _instructions(code: CodeType) -> Iterator[Instruction]:
    raw, extended = code.co_code, 0
    for offset in range(0, len(raw), 2):
        number, argument = raw[offset], raw[offset + 1] | extended
        extended = argument << 8 if number == dis.EXTENDED_ARG else 0
        if number in NO_EFFECT:
            continue
        name, meaning = dis.opname[number], None
        if number in dis.hasconst:
            meaning = code.co_consts[argument]
        elif name == "LOAD_GLOBAL":
            meaning = code.co_names[argument >> 1]
        elif number in dis.hasname:
            meaning = code.co_names[argument]
        elif number in dis.hasjrel:
            meaning = offset + 2 + 2 * (-argument if "BACKWARD" in name else argument)
        yield Instruction(offset, name, argument, meaning)


def _without_swaps(instructions: list[Instruction]) -> list[Instruction]:
    """Values stored in their order: where `a, b = …` is one line, the compiler does that in place of swapping them."""
    found = list(instructions)
    for place in reversed(range(len(found))):
        stores = found[place + 1 : place + 1 + found[place].argument]
        if found[place].name != "SWAP" or any(one.name not in ("STORE_FAST", "POP_TOP") for one in stores):
            continue
        if len(stores) == found[place].argument:
            first, last = stores[0], stores[-1]
            stores[0], stores[-1] = replace(last, offset=first.offset), replace(first, offset=last.offset)
            found[place : place + 1 + len(stores)] = stores
    return found


def _graph(code: CodeType, instructions: list[Instruction], described: Callable[[Instruction], str]) -> list[Node]:
    """The instructions as a graph: jumps that decide nothing are no nodes, docstrings neither.

    Where the compiler puts such jumps, and which ends of functions it writes twice, depends on line numbers.
    """
    offsets = [one.offset for one in instructions]
    handlers = dis.Bytecode(code).exception_entries if code.co_exceptiontable else ()  # type: ignore[attr-defined]

    def at(offset: int) -> int:
        return bisect_left(offsets, offset)

    def settled(place: int) -> int:
        """The first instruction from here that does something."""
        seen = set[int]()
        while place < len(instructions) and place not in seen:
            seen.add(place)
            one = instructions[place]
            if one.name in JUMPS:
                place = at(cast(int, one.meaning))
            elif one.name == "LOAD_CONST" and _is_docstring(instructions, place):
                place += 2
            else:
                break
        return place

    nodes = []
    for place, one in enumerate(instructions):
        name, target = one.name.replace("_FORWARD", "").replace("_BACKWARD", ""), None
        if isinstance(one.meaning, int) and dis.opmap[one.name] in dis.hasjrel:
            target = settled(at(one.meaning))
            name, target = _threaded(name, target, instructions, lambda place: settled(at(place)), settled)
        following = None if one.name in ENDS else settled(place + 1)
        handler = next((entry for entry in handlers if entry.start <= one.offset < entry.end), None)
        caught = (settled(at(handler.target)), f"{handler.depth} {handler.lasti}") if handler else (None, "")
        label = f"{name} {described(one)} {caught[1]}"
        nodes.append(Node(label, (following, target, caught[0])))
    start = settled(0)
    return [*nodes, Node("start", (start, None, None))]


def _threaded(
    name: str,
    target: int,
    instructions: list[Instruction],
    at: Callable[[int], int],
    settled: Callable[[int], int],
) -> tuple[str, int]:
    """A jump that keeps what it tested, to a test of the same: where that one would go."""
    while name in KEEPING and target < len(instructions):
        next_one = instructions[target]
        next_name = next_one.name.replace("_FORWARD", "").replace("_BACKWARD", "")
        if next_name not in (*KEEPING, "POP_JUMP_IF_FALSE", "POP_JUMP_IF_TRUE"):
            break
        popped = name.replace("JUMP", "POP_JUMP").removesuffix("_OR_POP")
        if ("TRUE" in name) == ("TRUE" in next_name):
            name, target = (name if next_name in KEEPING else popped), at(cast(int, next_one.meaning))
        else:
            name, target = popped, settled(target + 1)
    return name, target


def _is_docstring(instructions: list[Instruction], place: int) -> bool:
    following = instructions[place + 1] if place + 1 < len(instructions) else None
    return following is not None and following.name == "STORE_NAME" and following.meaning == "__doc__"


def _canonical(nodes: list[Node]) -> Iterator[str]:
    """The graph as lines that are the same for all graphs which do the same: nodes that do so are one."""
    if all(node.to[1:] == (None, None) for node in nodes):
        node: Node | None = nodes[-1]
        while node is not None:
            yield node.label
            following = node.to[0]
            node = nodes[following] if following is not None and following < len(nodes) else None
        return
    colours = _coloured([node.label for node in nodes])
    while True:
        refined = _coloured(
            [(own, *[None if to is None or to >= len(nodes) else colours[to] for to in node.to])
             for own, node in zip(colours, nodes, strict=True)]
        )  # fmt: skip
        if max(refined) == max(colours):
            break
        colours = refined
    numbers = {colours[-1]: 0}
    waiting = deque([nodes[-1]])
    while waiting:
        node = waiting.popleft()
        told = []
        for to in node.to:
            if to is None or to >= len(nodes):
                told.append("")
                continue
            if colours[to] not in numbers:
                numbers[colours[to]] = len(numbers)
                waiting.append(nodes[to])
            told.append(str(numbers[colours[to]]))
        yield f"{node.label} > {','.join(told)}"


def _coloured(values: list[Any]) -> list[int]:
    """Numbers in place of values, from 0 in the order in which they come."""
    found: dict[Any, int] = {}
    return [found.setdefault(value, len(found)) for value in values]
