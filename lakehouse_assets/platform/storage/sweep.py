"""The files of a table that its newest version does not name: of older versions, and of attempts that never committed.

Maintenance keeps them for the table's retention. An erasure cannot: they may hold the erased person still.
"""

from collections.abc import Callable

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.storage.delta_table import version_of
from lakehouse_assets.platform.storage.location import Location
from lakehouse_assets.platform.storage.log_cleaning import named_files
from lakehouse_assets.platform.storage.unnamed_files import DELETION_VECTORS, remove_files, stored_files


class FilesMissing(LakehouseError):
    """Files of the newest version are not found: nothing is removed while nobody knows which they are."""


def sweep(path: Location, before: float, holds: Callable[[Location], bool]) -> int:
    """Remove the files that no reader of the newest version needs; returns how many.

    Written since `before` (seconds since 1970), a file may be of a run under way that has read nothing of the person:
    it is removed only where it `holds` something. A run that is older loses to the erasure's commit and starts again.
    Deletion vectors stay: they say places of rows, no values. Raises FilesMissing, StoreError.
    """
    if version_of(path) is None:
        return 0
    files, named = stored_files(path), named_files(path)
    if lost := sorted(named - {file.name for file in files}):
        raise FilesMissing(
            f"{len(lost)} files of the newest version of {path} are not there, the first is {lost[0]}. No old file "
            "was removed. Make the days of that table again, then erase again."
        )
    unnamed = [file for file in files if file.name not in named and file.checked is None]
    going = {
        file.name
        for file in unnamed
        if not file.name.endswith(DELETION_VECTORS)
        and (file.since < before or holds(path.joinpath(*file.name.split("/"))))
    }
    remove_files(path, [file.name for file in files if file.name in going or file.checked in going])
    return len(going)
