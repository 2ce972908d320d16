"""Publish everything that the warehouse lacks, in this process: for those who run no sensors."""

from collections.abc import Callable

from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.orchestration.staleness import Staleness
from lakehouse_assets.platform.planning.plan import Lake
from lakehouse_assets.serving.publish import Published, publish
from lakehouse_assets.serving.publish_quality import publish_quality
from lakehouse_assets.serving.warehouse import behind_in_warehouse
from lakehouse_assets.serving.warehouse_tables import served
from lakehouse_assets.settings import Settings

BY_HAND = "by hand"


def catch_up(settings: Settings, catalog: Catalog, on_table: Callable[[str, int], None]) -> int:
    """Publish the days that are behind, of every table, and what is known of quality; how many days were written.

    `on_table` is told each table that is behind and by how many days. Raises WarehouseError.
    """
    tables = served(catalog)
    staleness = Staleness(Lake(settings.lake, settings.landing), Catalog(tuple(tables)))
    written: list[Published] = []
    for table in tables:
        staleness.of(table.key).refresh()
        if staleness.of(table.key).changed:
            days = sorted(behind_in_warehouse(settings, table, staleness))
            if days:
                on_table(str(table.key), len(days))
                written += publish(settings, table, days, BY_HAND)
    publish_quality(settings, catalog, BY_HAND)
    return sum(day.changed for day in written)
