"""Tables with history as they were known at the end of a day."""

from collections.abc import Collection
from datetime import date, timedelta

from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import Ledger


def clauses_as_of(catalog: Catalog, day: date) -> "AsOf":
    """What to add to the SELECT of a table; see `AsOf`."""
    ledgers = {".".join(t.key.parts): t.write.dimensions for t in catalog.tables if isinstance(t.write, Ledger)}
    return AsOf(day, ledgers)


class AsOf:
    """SQL that leaves of a table what held at the end of a day; nothing for a table without history."""

    def __init__(self, day: date, ledgers: dict[str, tuple[str, ...]]) -> None:
        """`ledgers`: the dimensions of each ledger, by its SQL name."""
        self.day, self._ledgers = day, ledgers

    def clause(self, name: str, columns: Collection[str]) -> str:
        """WHERE and QUALIFY for this table, or nothing."""
        moment = self.moment(name, columns)
        if name in self._ledgers:
            key = ", ".join(f'"{dimension}"' for dimension in self._ledgers[name])
            newest = f"row_number() OVER (PARTITION BY {key} ORDER BY effective_date DESC, version DESC) = 1"
            return f" WHERE effective_date <= DATE '{self.day.isoformat()}' QUALIFY {newest}"
        if moment:
            end = f"DATE '{(self.day + timedelta(days=1)).isoformat()}'"
            return f" WHERE effective_from < {end} AND (effective_to IS NULL OR effective_to >= {end})"
        return ""

    def moment(self, name: str, columns: Collection[str]) -> str | None:
        """The column that says from when a row of this table held; None for a table without history."""
        if name in self._ledgers:
            return "effective_date"
        return "effective_from" if {"effective_from", "effective_to"} <= set(columns) else None


def outside(name: str, day: date, first: date | None, last: date | None) -> str:
    """What is to be said beside an answer as of a day before or after all that a table knows of; else nothing."""
    if first is None or last is None:
        return f"{name} has no row yet: nothing is known on any day."
    if day < first:
        return f"{name} begins on {first}: nothing was known on {day}."
    return f"{name} knows of no change after {last}: the answer as of {day} may still change." if day > last else ""
