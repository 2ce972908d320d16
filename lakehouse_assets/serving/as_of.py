"""Tables with history as they were known at the end of a day."""

from collections.abc import Collection
from datetime import date, timedelta

from lakehouse_assets.platform.catalog import Catalog
from lakehouse_assets.platform.table import Ledger


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
        if name in self._ledgers:
            key = ", ".join(f'"{dimension}"' for dimension in self._ledgers[name])
            newest = f"row_number() OVER (PARTITION BY {key} ORDER BY effective_date DESC, version DESC) = 1"
            return f" WHERE effective_date <= DATE '{self.day.isoformat()}' QUALIFY {newest}"
        if {"effective_from", "effective_to"} <= set(columns):
            end = f"DATE '{(self.day + timedelta(days=1)).isoformat()}'"
            return f" WHERE effective_from < {end} AND (effective_to IS NULL OR effective_to >= {end})"
        return ""
