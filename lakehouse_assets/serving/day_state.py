"""How a table's day is: its name, its sign and what it means, the same on the terminal and on the page."""

from collections.abc import Iterator
from enum import Enum


class State(Enum):
    """How a table's day is. From best to worst: of several days, the worst is shown."""

    NONE = "no verdict"
    EMPTY = "no rows"
    PASSED = "passed"
    WARNED = "rows warned"
    QUARANTINED = "rows quarantined"
    LATE = "late"
    WAITING = "waiting"
    FAILED = "failed"

    @property
    def glyph(self) -> str:
        """One character that says the state without colour."""
        return {
            "NONE": " ",
            "EMPTY": "○",
            "PASSED": "·",
            "WARNED": "!",
            "QUARANTINED": "+",
            "LATE": "~",
            "WAITING": "…",
            "FAILED": "✗",
        }[self.name]

    @property
    def meaning(self) -> str:
        """What it means, in a sentence."""
        return {
            "NONE": "not materialized yet",
            "EMPTY": "committed without rows: nothing was delivered for the day",
            "PASSED": "every rule holds on every row",
            "WARNED": "committed with rows that broke a rule of action warn",
            "QUARANTINED": "committed; rows that broke a rule are in quarantine",
            "LATE": "its data did not arrive by the declared deadline, or are older than declared",
            "WAITING": "blocked by a failed upstream partition; retried automatically when it is fixed",
            "FAILED": "a blocking check failed; nothing of the day was committed",
        }[self.name]

    @staticmethod
    def worst(states: "Iterator[State]") -> "State":
        """The worst of several; NONE of none."""
        return max(states, key=list(State).index, default=State.NONE)
