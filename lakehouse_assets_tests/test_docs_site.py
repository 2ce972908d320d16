"""The documentation as a site: it builds without a dead link, its reference follows the code, its examples run."""

import doctest
import re
import struct
from pathlib import Path

import click
import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

from lakehouse_assets.cli import main
from lakehouse_assets.settings import Settings

PROJECT = Path(__file__).parents[1]
README = PROJECT / "README.md"
DOCS = PROJECT / "docs"
WITH_EXAMPLES = [page for page in sorted(DOCS.rglob("*.md")) if ">>> " in page.read_text(encoding="utf-8")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does. Any warning, as of a dead link, fails the build."""
    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(PROJECT / "mkdocs.yml"), site_dir=str(folder))
    assert config.strict
    build(config)
    return folder


def text_of(page: Path) -> str:
    return re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))


def test_the_site_has_every_command_and_setting_of_the_code(site: Path) -> None:
    commands, settings = text_of(site / "reference" / "cli.html"), text_of(site / "reference" / "settings.html")
    names = main.list_commands(click.Context(main))
    assert [name for name in names if f"lakehouse {name}" not in commands] == []
    for name, field in Settings.model_fields.items():
        default = "unset" if field.default is None else str(field.default)
        assert re.search(rf"\bLAKEHOUSE_{name.upper()}\s+{re.escape(default)}\s+\S", settings), name


def test_the_site_has_signature_and_description_of_every_declaration(site: Path) -> None:
    page = text_of(site / "reference" / "declarations.html")
    for name in re.findall(r"^::: (\S+)$", (DOCS / "reference" / "declarations.md").read_text(), re.MULTILINE):
        assert f"{name.rpartition('.')[2]}(" in page or "Enum" in page, name


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    loaded = re.compile(r'<(?:script|img|link)[^>]*?(?:src|href)=["\'](https?://[^"\']+)')
    for page in site.rglob("*.html"):
        assert loaded.findall(page.read_text(encoding="utf-8")) == [], page


@pytest.mark.parametrize("text", ["[gone](gone.md)", "[here](index.md#gone)", "[absolute](/gone.md)"])
def test_a_dead_link_or_anchor_fails_the_build(text: str, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Page\n\n{text}\n", encoding="utf-8")
    config = load_config(
        str(PROJECT / "mkdocs.yml"),
        docs_dir=str(tmp_path / "docs"),
        site_dir=str(tmp_path / "site"),
        nav=None,
        hooks=[],
        plugins=[],
    )
    with pytest.raises(Abort):
        build(config)


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=[page.name for page in WITH_EXAMPLES])
def test_the_examples_of_a_page_give_what_stands_there(page: Path) -> None:
    """Run as in `gold.py` of a domain `shop`, where a table may be declared."""
    ran = doctest.testfile(
        str(page), module_relative=False, globs={"__name__": "documented.shop.gold"}, optionflags=doctest.ELLIPSIS
    )
    assert ran.attempted > 0
    assert ran.failed == 0


def test_the_readme_is_short_and_begins_with_what_it_is_and_a_picture() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    about, picture = lines[2:7], lines[8]
    assert all(about)
    image = re.fullmatch(r"!\[.+\]\((.+\.png)\)", picture)
    assert image, picture
    data = (PROJECT / image[1]).read_bytes()
    assert len(data) < 200_000
    width, height = struct.unpack(">II", data[16:24])
    assert width >= 1000
    assert height >= 500


def test_the_code_files_that_pages_name_exist() -> None:
    """But for the pages that build a domain of the reader's."""
    files = [path.relative_to(PROJECT).as_posix() for path in PROJECT.rglob("*.py") if ".venv" not in path.parts]
    for page in [README, *sorted(DOCS.rglob("*.md"))]:
        if not page.name.startswith("add-a-"):
            named = re.findall(r"`([\w/]+\.py)`", page.read_text(encoding="utf-8"))
            assert [name for name in named if not any(f"/{file}".endswith(f"/{name}") for file in files)] == [], page


def test_the_glossary_has_at_most_twenty_words() -> None:
    rows = re.findall(r"^\| (?!word)([^|-]+) \|", (DOCS / "reference" / "glossary.md").read_text(), re.MULTILINE)
    assert 0 < len(rows) <= 20
    assert len(set(rows)) == len(rows)
