"""Which tables a stream keeps up to date itself: those with `ReplaceDays(refresh=…)` that read it alone."""

from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import ReplaceDays, Table, TableKey


def live_tables(catalog: Catalog, source: TableKey) -> tuple[Table, ...]:
    """Tables that the stream of `source` keeps itself."""
    return tuple(
        table
        for table in catalog.tables
        if isinstance(table.write, ReplaceDays)
        and table.write.refresh
        and [read.table for read in table.reads.values()] == [source]
    )
