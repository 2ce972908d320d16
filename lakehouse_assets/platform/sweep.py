"""The files of a table that its newest version does not name: of older versions, and of attempts that never committed.

Maintenance keeps them for the table's retention. An erasure cannot: they may hold the erased person still.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from lakehouse_assets.platform.delta import open_table
from lakehouse_assets.platform.errors import LakehouseError
from lakehouse_assets.platform.log_cleaning import LOG, named_files

DELETION_VECTORS = ".bin"


class FilesMissing(LakehouseError):
    """Files of the newest version are not found: nothing is removed while nobody knows which they are."""


def sweep(path: Path, before: float, holds: Callable[[Path], bool]) -> int:
    """Remove the files that no reader of the newest version needs; returns how many.

    Written since `before` (seconds since 1970), a file may be of a run under way that has read nothing of the person:
    it is removed only where it `holds` something. Deletion vectors stay: they say places of rows, no values. Raises
    FilesMissing, StoreError.
    """
    table = open_table(path)
    if table is None:
        return 0
    named = {path / name for name in named_files(path)}
    if lost := sorted(file for file in named if not file.is_file()):
        raise FilesMissing(
            f"{len(lost)} files of the newest version of {path} are not there, the first is {lost[0]}. No old file "
            "was removed. Make the days of that table again, then erase again."
        )
    removed = 0
    for file in _files(path):
        if file in named or file.suffix == DELETION_VECTORS:
            continue
        if file.stat().st_mtime >= before and not holds(file):
            continue
        file.unlink(missing_ok=True)
        file.with_name(f".{file.name}.crc").unlink(missing_ok=True)
        removed += 1
    return removed


def _files(path: Path) -> Iterator[Path]:
    """Every file below a table but its log; Hadoop's checksums go with the files that they are of."""
    for file in sorted(path.rglob("*")):
        below = file.relative_to(path).parts
        if below[0] != LOG and file.is_file() and not (file.name.startswith(".") and file.suffix == ".crc"):
            yield file
