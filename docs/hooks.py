"""What the site has beyond the files of this folder: pages that stand beside code, and tables made from code.

`mkdocs.yml` names this module. A file of the project that is no page may be linked for readers of the repository: in
the site such a link is the file's path, and a path that does not exist stays a dead link, which fails the build.
"""

import re
from html import escape
from pathlib import Path, PurePosixPath
from posixpath import relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PROJECT = Path(__file__).parents[1]
DOCS = PROJECT / "docs"
DOMAINS = PROJECT / "lakehouse_assets" / "defs"
ELSEWHERE = {PROJECT / "README.md": "index.md", PROJECT / "CHANGELOG.md": "changelog.md"} | {
    page: f"domains/{page.parent.name}.md" for page in sorted(DOMAINS.glob("*/README.md"))
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
SETTINGS = "<!-- settings -->"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand beside the code that they describe."""
    for source, place in ELSEWHERE.items():
        files.append(File.generated(config, place, abs_src_path=str(source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links as the site has them, and the tables that follow from code."""
    place = page.file.src_uri
    source = next((path for path, to in ELSEWHERE.items() if to == place), DOCS / place)
    if SETTINGS in markdown:
        markdown = markdown.replace(SETTINGS, settings_table())
    return LINK.sub(lambda link: _in_site(link, source, PurePosixPath(place).parent), markdown)


def _in_site(link: re.Match[str], source: Path, folder: PurePosixPath) -> str:
    mark, text, target, anchor = link.groups()
    if "://" in target or target.startswith("mailto:"):
        return link[0]
    file = (source.parent / target).resolve()
    if file in ELSEWHERE or (file.is_file() and file.is_relative_to(DOCS)):
        place = ELSEWHERE.get(file) or file.relative_to(DOCS).as_posix()
        return f"{mark}[{text}]({relpath(place, str(folder))}{anchor or ''})"
    if not file.exists():
        return link[0]
    path = f"`{file.relative_to(PROJECT).as_posix()}`"
    return path if text.strip("`") == file.name else f"{text} ({path})"


def settings_table() -> str:
    """Name, default and meaning of every setting, from the settings themselves."""
    from lakehouse_assets.settings import Settings

    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "unset" if field.default is None else f"`{field.default}`"
        rows.append(f"| `LAKEHOUSE_{name.upper()}` | {default} | {escape(field.description or '', quote=False)} |")
    return "\n".join(rows)
