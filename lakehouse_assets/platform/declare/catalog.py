"""The declared tables of all domains, by key."""

from collections.abc import Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from lakehouse_assets.platform.common.days import today_in
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.table import DeclarationError, Table, TableKey

if TYPE_CHECKING:
    from lakehouse_assets.platform.declare.domain import Domain


class Catalog:
    """The declared tables, by key. `domains`: their domains, by name."""

    def __init__(self, tables: tuple[Table, ...], domains: Mapping[str, "Domain"] = MappingProxyType({})) -> None:
        self.domains = domains
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
