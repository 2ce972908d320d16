"""The source's data dictionary: `data_dictionary.csv`, as the marketplace's team maintains it, in its words.

From it the contracts take the comments of the columns, their allowed values and least values; `minimum` and
`allowed_values` are what the team's descriptions say.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from lakehouse_assets.declare import LakehouseError, column


class NotInTheDictionary(LakehouseError):
    """A column that the source's team has not described; raised at import."""


@dataclass(frozen=True)
class Entry:
    """What the dictionary says of a field. `path`: where it is in a document, as items/price."""

    path: str
    column: str
    description: str
    type: str
    allowed: tuple[str, ...]
    minimum: int | None

    @property
    def rules(self) -> dict[str, Any]:
        """Its value rules, as a contract takes them."""
        least = {} if self.minimum is None else {"ge": self.minimum}
        return least | ({"isin": list(self.allowed)} if self.allowed else {})


@cache
def dictionary() -> dict[str, Entry]:
    """The entries, by column."""
    text = (resources.files(__package__) / "data_dictionary.csv").read_text(encoding="utf-8")
    return {
        row["column"]: Entry(
            row["source_name"],
            row["column"],
            row["description"],
            row["type"],
            tuple(row["allowed_values"].split("|")) if row["allowed_values"] else (),
            int(row["minimum"]) if row["minimum"] else None,
        )
        for row in csv.DictReader(text.splitlines())
    }


def fields_of(path: str = "") -> tuple[str, ...]:
    """Columns of the fields directly below a path: of the document itself, `items`, `shipments`, `shipments/items`."""
    return tuple(e.column for e in dictionary().values() if e.path.rpartition("/")[0] == path)


def documented(name: str, **more: Any) -> Any:
    """A column of a contract, with the dictionary's comment and rules; `more` as `column` takes it.

    Raises NotInTheDictionary.
    """
    entry = dictionary().get(name)
    if entry is None:
        raise NotInTheDictionary(f"{name!r} is no column of the data dictionary; there are {', '.join(dictionary())}.")
    return column(entry.description, **entry.rules, **more)
