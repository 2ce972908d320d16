"""What identifies a delivery: the path of a file below its source, or the name of a set of files.

Names are compared in one Unicode form and without regard to the case of the extension: a file system, or an archive,
may give either of them otherwise than the source wrote it.
"""

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from lakehouse_assets.platform.ingest.file_readers import LandingError

_SAYS_A_DAY = re.compile(r"(?<!\d)\d{4}-\d{2}-\d{2}(?!\d)")
_CHECKSUM = re.compile(r"(?P<sha256>[0-9a-f]{64}) [ *](?P<name>.+)")


@dataclass(frozen=True)
class SourceFile:
    """A file and its name: its path below the source. `sha256`: what its content must be, where somebody said it."""

    name: str
    path: Path
    sha256: str | None = None


@dataclass(frozen=True)
class Unreadable:
    """A folder that cannot be listed, or a file of one that cannot be entered."""

    path: Path
    why: str

    def __str__(self) -> str:
        return f"{self.path}: cannot be read: {self.why}. Give read and search permission on it and its folder."


@dataclass(frozen=True)
class FileSet:
    """Files that are one delivery: landed whole or not at all, and replaced as one. `name` identifies it."""

    name: str
    files: tuple[SourceFile, ...]

    def __post_init__(self) -> None:
        """Raises LandingError: no file, or two of one name, of which the one would take the other's place."""
        if not self.files:
            raise LandingError(f"{self.name}: no files. Name at least one.")
        twice = [name for name, times in Counter(canonical(file.name) for file in self.files).items() if times > 1]
        if twice:
            paths = " and ".join(str(file.path) for file in self.files if canonical(file.name) == twice[0])
            raise LandingError(f"{paths} have one name, {twice[0]!r}: {SAY_FOLDER}")


SAY_FOLDER = "the one would take the other's place. Say the folder that both lie below: --below FOLDER"


def canonical(name: str) -> str:
    """A name as it is compared: composed Unicode, the extension in small letters."""
    composed = unicodedata.normalize("NFC", name)
    stem, dot, extension = composed.rpartition(".")
    return composed if "/" in extension else f"{stem}{dot}{extension.lower()}"


def name_of(file: Path, below: Path | None = None) -> str:
    """The path of a file below its source: below that folder, else its name, with its folder where that says a day."""
    where = file.absolute()
    if below is None:
        return f"{where.parent.name}/{where.name}" if _SAYS_A_DAY.search(where.parent.name) else where.name
    try:
        return where.relative_to(below.absolute()).as_posix()
    except ValueError as error:
        raise LandingError(f"{file}: does not lie below {below}. Name the folder that holds it: --below") from error


def one(file: Path, below: Path | None = None) -> FileSet:
    """A delivery of one file."""
    name = name_of(file, below)
    return FileSet(canonical(name), (SourceFile(name, file),))


def found_below(folder: Path) -> Iterator[SourceFile | Unreadable]:
    """The files anywhere below a folder; none whose name, or folder's name, begins with `.` or `_`."""
    faults: list[OSError] = []
    for where, folders, names in os.walk(folder, onerror=faults.append):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        for path in (Path(where, name) for name in names if not name.startswith((".", "_"))):
            try:
                if S_ISREG(path.stat().st_mode):
                    yield SourceFile(path.relative_to(folder).as_posix(), path)
            except OSError as error:
                faults.append(error)
    for fault in faults:
        if not isinstance(fault, FileNotFoundError):  # renamed or removed meanwhile, or a link to nothing
            yield Unreadable(Path(fault.filename), fault.strerror or str(fault))


def files_below(folder: Path) -> tuple[SourceFile, ...]:
    """Those files by name. Raises LandingError where one cannot be read: a delivery is whole."""
    found = list(found_below(folder))
    if aside := [one for one in found if isinstance(one, Unreadable)]:
        raise LandingError("\n".join(map(str, aside)))
    return tuple(sorted((f for f in found if isinstance(f, SourceFile)), key=lambda file: canonical(file.name)))


def listed(manifest: Path) -> tuple[SourceFile, ...]:
    """The files that a manifest lists, one a line, relative to it; as `sha256sum` writes them, or names alone.

    Raises LandingError: not readable, or a file that is not there or not what the manifest says.
    """
    try:
        lines = manifest.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LandingError(f"{manifest}: the manifest cannot be read: {error}.") from error
    found = []
    for line in filter(None, map(str.strip, lines)):
        line_of_sum = _CHECKSUM.fullmatch(line)
        name, sha256 = (line_of_sum["name"], line_of_sum["sha256"]) if line_of_sum else (line, None)
        found.append(SourceFile(name, manifest.parent / name, sha256))
    missing = [file.name for file in found if not os.path.isfile(file.path)]  # False also without permission
    if missing:
        raise LandingError(f"{manifest}: {', '.join(missing[:5])}: not there. The delivery is not complete.")
    return tuple(found)


def check_content(file: SourceFile, data: bytes) -> str:
    """The hash of a file's content. Raises LandingError where a manifest says another one."""
    found = hashlib.sha256(data).hexdigest()
    if file.sha256 is not None and file.sha256 != found:
        raise LandingError(
            f"{file.path}: not what the manifest says: sha256 {found}, expected {file.sha256}. Fetch it again."
        )
    return found
