"""Where the UI that `lakehouse dev` started for this home answers."""

from contextlib import suppress
from pathlib import Path

DEFAULT = "http://127.0.0.1:3000"


def note_address(home: Path, url: str) -> None:
    """Remember the address of the UI; the links that commands print begin with it."""
    _file(home).write_text(url, encoding="utf-8")


def address(home: Path) -> str:
    """The address that was noted last, else that of a UI started without options."""
    with suppress(OSError, UnicodeDecodeError):
        return _file(home).read_text(encoding="utf-8").strip() or DEFAULT
    return DEFAULT


def run_link(home: Path, run_id: str) -> str:
    """The page of a run."""
    return f"{address(home)}/runs/{run_id}"


def _file(home: Path) -> Path:
    return home.absolute() / "ui-address"
