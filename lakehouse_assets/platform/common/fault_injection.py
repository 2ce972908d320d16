"""Named places at which a step can be killed, so that tests die exactly there and prove what a rerun makes of it.

`LAKEHOUSE_FAILPOINT=<name>:<table>` kills the process, as `kill -9` does, when that table's step reaches that place.
"""

import os
import signal
from enum import Enum

from lakehouse_assets.platform.common.errors import LakehouseError

VARIABLE = "LAKEHOUSE_FAILPOINT"


class Failpoint(Enum):
    """The places, in the order in which a step reaches them."""

    BEFORE_WRITE = "before-write"
    BEFORE_SWAP = "before-swap"
    AFTER_SWAP = "after-swap"
    BEFORE_METADATA = "before-metadata"
    BETWEEN_JOURNALS = "between-journals"
    BEFORE_EVENTS = "before-events"
    BETWEEN_EVENTS = "between-events"
    AFTER_EVENTS = "after-events"


def inject_fault(place: Failpoint, table: object) -> None:
    """Die here if the environment says so. Raises LakehouseError for a place that does not exist."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    name, _, of = wanted.partition(":")
    if name not in (known := [one.value for one in Failpoint]):
        raise LakehouseError(f"{VARIABLE}={wanted}: there is no {name!r}; the places are {', '.join(known)}.")
    if name == place.value and of == str(table):
        os.kill(os.getpid(), signal.SIGKILL)
