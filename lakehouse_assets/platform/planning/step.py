"""What every part of a step is given."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.planning.plan import Lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def _silent(_: str) -> None:
    """Says nothing."""


@dataclass(frozen=True)
class Step:
    """Everything a step needs: one session, the lake, the declared tables, and the run it belongs to.

    `say`: where a long step says how far it is.
    """

    spark: "SparkSession"
    lake: Lake
    catalog: Catalog
    run_id: str
    say: Callable[[str], None] = _silent
