"""The rooms of `platform/`: each says in one sentence what lives in it, and depends on rooms below it alone."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import lakehouse_assets

PACKAGE = Path(lakehouse_assets.__file__).parent
PLATFORM = PACKAGE / "platform"
ROOMS = sorted(folder.name for folder in PLATFORM.iterdir() if (folder / "__init__.py").exists())
PAGE = PACKAGE.parent / "docs" / "architecture.md"
PREFIX = "lakehouse_assets.platform."
MOST_LINES = 300
"""Of a module: about 300."""


def rooms_read_by(room: str) -> set[str]:
    """The other rooms from which modules of a room import, also for types alone."""
    found = set()
    for file in (PLATFORM / room).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PREFIX):
                found.add(str(node.module).removeprefix(PREFIX).partition(".")[0])
    return found - {room}


def floors() -> list[list[str]]:
    """The rooms, lowest floor first: a room stands above every room that it reads."""
    sorter = TopologicalSorter({room: rooms_read_by(room) for room in ROOMS})
    sorter.prepare()
    found = []
    while sorter.is_active():
        floor = sorted(sorter.get_ready())
        found.append(floor)
        sorter.done(*floor)
    return found


def test_every_module_of_the_platform_is_in_a_room() -> None:
    assert [file.name for file in PLATFORM.glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_in_one_sentence_what_lives_in_it(room: str) -> None:
    tree = ast.parse((PLATFORM / room / "__init__.py").read_text(encoding="utf-8"))
    message = ast.get_docstring(tree)
    assert message is not None
    assert re.fullmatch(r"[A-Z][^.\n]*\.", message), message
    assert len(tree.body) == 1, "and holds no code of its own"


def test_rooms_depend_downward_and_the_architecture_page_is_their_map() -> None:
    levels = floors()
    assert sorted(room for floor in levels for room in floor) == ROOMS
    page = PAGE.read_text(encoding="utf-8")
    arrows = sum(len(rooms_read_by(room)) for room in ROOMS)
    assert f"Now {arrows} arrows join {len(ROOMS)} rooms on {len(levels)} floors." in page
    told = re.findall(r"^\| (\d+) \| `(\w+)/` \| ([^|]+) \|", page, re.MULTILINE)
    sentences = {
        room: ast.get_docstring(ast.parse((PLATFORM / room / "__init__.py").read_text(encoding="utf-8")))
        for room in ROOMS
    }
    assert [(int(number), room, message) for number, room, message in told] == [
        (number, room, sentences[room]) for number, floor in reversed([*enumerate(levels, 1)]) for room in floor
    ]


def test_modules_are_small() -> None:
    sizes = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in PACKAGE.rglob("*.py")}
    assert {str(file): lines for file, lines in sizes.items() if lines > MOST_LINES} == {}
