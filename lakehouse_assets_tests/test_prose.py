"""Prose that a user reads has the field's words: documentation, help, errors, descriptions, contracts, settings."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import click
import dagster as dg
import nbformat
import pytest

from lakehouse_assets.cli import main
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.settings import Settings

PROJECT = Path(__file__).parents[1]
DECLARATIONS = PROJECT / "docs" / "reference" / "declarations.md"
NOT_YET = {PROJECT / "docs" / "architecture.md", PROJECT / "docs" / "decisions" / "0031-one-write.md"}
DOMAIN_PAGES = (PROJECT / "lakehouse_assets" / "defs").glob("*/README.md")
NOTEBOOKS = (PROJECT / "docs" / "notebooks").glob("*.ipynb")
TOP_PAGES = (PROJECT / "README.md", PROJECT / "CHANGELOG.md", PROJECT / ".env.example")
PAGES = sorted({*TOP_PAGES, *DOMAIN_PAGES, *NOTEBOOKS, *(PROJECT / "docs").rglob("*.md")} - NOT_YET)

INSTEAD = {
    r"anew": "recreated, rebuilt, again",
    r"behind": "stale, outdated, downstream",
    r"told": "notified, reported",
    r"said": "reported, declared",
    r"judg\w*": "validate, evaluate",
    r"(un)?adopt\w*": "validate, accept",
    r"verdicts?": "check result",
    r"ask(s|ed|ing)? for": "request",
    r"(who|what|which)ever": "name the actor, or 'any'",
    r"doors?": "ingest channel",
    r"hold(s|ing)?|held": "contain, store, keep",
    r"what (is|are|was|were)(?![^.|]*\?)": "name the thing",
    r"mend(s|ed|ing)?": "fix, repair",
    r"heard of": "missing from the event log",
    r"red days?": "failed partition",
    r"without a word": "silently",
    r"withheld|expels?|expelled": "quarantined",
}
FORBIDDEN = re.compile(rf"\b({'|'.join(f'(?:{words})' for words in INSTEAD)})\b", re.IGNORECASE)


def prose(markdown: str) -> str:
    """The sentences of a page: without code, addresses of links and comments; lines stay where they are."""

    def blank(found: re.Match[str]) -> str:
        return "\n" * found[0].count("\n")

    text = re.sub(r"^```.*?^```$", blank, markdown, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!--.*?-->", blank, text, flags=re.DOTALL)
    return re.sub(r"(?<=\])\([^)]*\)", "", re.sub(r"`[^`\n]*`", "", text))


def faults(text: str) -> list[str]:
    """The words of a text that a user must not read, with the words to use instead."""
    found = {match[0].lower() for match in FORBIDDEN.finditer(prose(text))}
    return [
        f"{word!r}: {better}"
        for word in sorted(found)
        for pattern, better in INSTEAD.items()
        if re.match(rf"(?:{pattern})$", word)
    ]


def help_texts(command: click.Command, path: str) -> Iterator[tuple[str, str]]:
    """The help of a command, of its options and of all below it."""
    yield path, command.help or ""
    for option in command.params:
        yield f"{path} {option.opts[0]}", getattr(option, "help", None) or ""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from help_texts(below, f"{path} {name}")


def descriptions(definitions: dg.Definitions) -> Iterator[tuple[str, str]]:
    """What Dagster's UI shows: descriptions of assets, checks, sensors, schedules and jobs."""
    repository = definitions.get_repository_def()
    for one in (*repository.sensor_defs, *repository.schedule_defs, *repository.get_all_jobs()):
        yield one.name, one.description or ""
    for asset in {id(one): one for one in repository.assets_defs_by_key.values()}.values():
        for spec in asset.specs:
            yield spec.key.to_user_string(), spec.description or ""
        for check in asset.check_specs:
            yield f"{check.asset_key.to_user_string()} {check.name}", check.description or ""


def comments(catalog: Catalog) -> Iterator[tuple[str, str]]:
    """What a contract says: of its table, of each column, of each rule over several columns."""
    for table in catalog.tables:
        contract = table.compiled
        yield str(table.key), contract.description
        yield from ((f"{table.key}.{column}", comment) for column, comment in contract.comments.items())
        yield from ((f"{table.key} {rule.name}", rule.description) for rule in contract.rules if rule.column is None)


def targets() -> Iterator[tuple[str, str]]:
    """The help of make's targets."""
    yield from re.findall(r"^([a-z0-9-]+):.*## (.*)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)


def errors() -> Iterator[tuple[str, str]]:
    """The messages of errors that commands and operation raise."""
    package = PROJECT / "lakehouse_assets"
    for file in sorted([*package.glob("cli/*.py"), *package.glob("ops/*.py")]):
        for raised in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(raised, ast.Raise):
                texts = [node.value for node in ast.walk(raised) if isinstance(node, ast.Constant)]
                yield f"{file.name}:{raised.lineno}", " ".join(text for text in texts if isinstance(text, str))


def docstrings() -> Iterator[tuple[str, str]]:
    """The docstrings that the reference of declarations shows."""
    for name in re.findall(r"^::: (\S+)$", DECLARATIONS.read_text(encoding="utf-8"), re.MULTILINE):
        module, _, attribute = name.rpartition(".")
        yield name, getattr(importlib.import_module(module), attribute).__doc__ or ""


def markdown_of(page: Path) -> str:
    """The text of a page; of a notebook its cells of text."""
    if page.suffix == ".ipynb":
        cells = nbformat.read(page, as_version=4).cells
        return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=[str(path.relative_to(PROJECT)) for path in PAGES])
def test_a_page_has_the_words_of_the_field(page: Path) -> None:
    lines = prose(markdown_of(page)).splitlines()
    assert [f"{number}: {found}" for number, line in enumerate(lines, 1) if (found := faults(line))] == []


def test_what_the_command_line_dagster_and_the_contracts_say_has_the_words_of_the_field() -> None:
    from lakehouse_assets.definitions import catalog, definitions

    texts = [
        *targets(),
        *help_texts(main, "lakehouse"),
        *descriptions(definitions),
        *comments(catalog),
        *docstrings(),
        *errors(),
        *((f"LAKEHOUSE_{name.upper()}", one.description or "") for name, one in Settings.model_fields.items()),
    ]
    assert len(texts) > 1000
    assert [f"{where}: {found}" for where, text in texts if (found := faults(text))] == []


def test_the_linter_reads_sentences_and_leaves_code_alone() -> None:
    assert faults("It is behind, and made anew.") == [
        "'anew': recreated, rebuilt, again",
        "'behind': stale, outdated, downstream",
    ]
    assert faults("Compares what is there.") == ["'what is': name the thing"]
    assert faults("`channel` is a column; see [the page](what-is-behind.md). What is a feed day?") == []
    assert faults("```sh\necho behind\n```\n<!-- told -->") == []
