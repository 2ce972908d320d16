"""The declared tables of all domains."""

import pkgutil
from datetime import date, datetime
from importlib import import_module
from types import ModuleType

from lakehouse_assets.platform.days import today_in
from lakehouse_assets.platform.errors import LakehouseError
from lakehouse_assets.platform.table import LAYERS, Table, TableKey


class Catalog:
    """The declared tables, by key."""

    def __init__(self, tables: tuple[Table, ...]) -> None:
        self._tables = {table.key: table for table in tables}
        self._tables |= {c.key: c for table in tables for c in table.companions}

    def table(self, key: TableKey) -> Table:
        """A declared table. Raises LakehouseError naming those there are."""
        found = self._tables.get(key)
        if found is None:
            known = ", ".join(str(known) for known in sorted(self._tables))
            raise LakehouseError(f"There is no table {key}. Declared are: {known}")
        return found

    @property
    def tables(self) -> tuple[Table, ...]:
        """All tables, sorted by key."""
        return tuple(self._tables[key] for key in sorted(self._tables))

    def zone(self, domain: str) -> str:
        """The time zone of a domain's days: that of its sources. Raises LakehouseError where they differ."""
        zones = {t.source.zone for t in self._tables.values() if t.source and t.key.domain == domain} or {"UTC"}
        if len(zones) > 1:
            raise LakehouseError(
                f"The sources of {domain} have days of several time zones: {', '.join(sorted(zones))}. A day of its "
                "tables would be two days: declare one zone, or a domain for each."
            )
        return zones.pop()

    def today(self, domain: str, now: datetime) -> date:
        """The open day of a domain: the newest that its sources can have."""
        return today_in(self.zone(domain), now)


def discover(package: ModuleType) -> Catalog:
    """Every Table declared in `<package>/<domain>/{bronze,silver,gold}.py`."""
    found: dict[TableKey, Table] = {}
    for domain in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        layers = pkgutil.iter_modules(import_module(domain.name).__path__) if domain.ispkg else ()
        for layer in layers:
            if layer.name in LAYERS:
                module = import_module(f"{domain.name}.{layer.name}")
                found |= {value.key: value for value in vars(module).values() if isinstance(value, Table)}
    companions = {companion.key for table in found.values() for companion in table.companions}
    return Catalog(tuple(table for key, table in sorted(found.items()) if key not in companions))
