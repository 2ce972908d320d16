"""The declared tables of all domains, found in their modules."""

import pkgutil
from collections.abc import Iterator
from datetime import date, datetime
from importlib import import_module
from pathlib import Path
from types import ModuleType

from lakehouse_assets.platform.common.days import today_in
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.table import DeclarationError, Table, TableKey


class Catalog:
    """The declared tables, by key."""

    def __init__(self, tables: tuple[Table, ...]) -> None:
        self._tables = {table.key: table for table in tables}
        self._tables |= {c.key: c for table in tables for c in table.co_materialized}

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
        """The time zone of a domain's days: that of files and streams. Raises DeclarationError where they differ."""
        of_domain = [one for one in self._tables.values() if one.key.domain == domain]
        zones = {one.source.days.zone for one in of_domain if one.source}
        zones |= {one.stream.days.zone for one in of_domain if one.stream and one.stream.days}
        if len(zones) > 1:
            raise DeclarationError(
                f"The sources of {domain} have days of several time zones: {', '.join(sorted(zones))}. A day of its "
                "tables would be two days: declare one zone, or a domain for each."
            )
        return zones.pop() if zones else "UTC"

    def today(self, domain: str, now: datetime) -> date:
        """The open day of a domain: the newest that its sources can have."""
        return today_in(self.zone(domain), now)


def modules_of(package: ModuleType) -> tuple[ModuleType, ...]:
    """Every module of every domain, imported: what one declares is never lost because of its name.

    Raises DeclarationError for a folder with modules that Python does not see as a package.
    """
    for folder in map(Path, package.__path__):
        for file in sorted(folder.rglob("*.py")):
            if file.parent != folder and not (file.parent / "__init__.py").exists():
                raise DeclarationError(f"{file.parent} has no __init__.py, so {file.name} in it would not be loaded.")
    return tuple(import_module(found.name) for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."))


def discover(package: ModuleType) -> Catalog:
    """Every Table declared in `<package>/<domain>/{bronze,silver,gold}.py`.

    Raises DeclarationError for a table that is declared anywhere else, and for two tables of one key.
    """
    domains = {found.name for found in pkgutil.iter_modules(package.__path__) if found.ispkg}
    found: dict[TableKey, Table] = {}
    for module in modules_of(package):
        for table in _tables(module):
            if table.key.domain not in domains:
                raise DeclarationError(
                    f"{module.__name__}: a table belongs in bronze.py, silver.py or gold.py of a domain"
                )
            if found.setdefault(table.key, table) is not table:
                raise DeclarationError(f"{module.__name__}: {table.key} is declared twice; give one another name")
    co_materialized = {companion.key for table in found.values() for companion in table.co_materialized}
    return Catalog(tuple(table for key, table in sorted(found.items()) if key not in co_materialized))


def _tables(module: ModuleType) -> Iterator[Table]:
    """Tables that a module holds by name, or in a list or a dictionary."""
    for value in vars(module).values():
        held = [*value.values()] if type(value) is dict else value if type(value) in (list, tuple) else [value]
        yield from (one for one in held if isinstance(one, Table))
