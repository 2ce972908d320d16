"""Domains, contracts, sources and tables, as `lakehouse_assets.declare` has them."""

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.common.file_layout import MIB, Parquet
from lakehouse_assets.platform.common.identifier import NormalForm
from lakehouse_assets.platform.common.source_days import SourceDays
from lakehouse_assets.platform.contracts.base_contracts import (
    CurrentState,
    History,
    SilverEvent,
    SnapshotHistory,
    StateRow,
)
from lakehouse_assets.platform.contracts.contract import Contract, column, row_rule, table_metadata
from lakehouse_assets.platform.contracts.rules import Action, Dimension, Rate
from lakehouse_assets.platform.declare.domain import Domain, Source
from lakehouse_assets.platform.declare.scd import scd1, scd2, scd2_from_snapshots
from lakehouse_assets.platform.declare.source_files import Drift, Files
from lakehouse_assets.platform.declare.table import (
    DeclarationError,
    IncrementalRefresh,
    Ledger,
    Overwrite,
    Publish,
    ReplaceDays,
    Table,
    TableKey,
    cumulative,
    day,
    full,
    rolling_window,
)
from lakehouse_assets.streaming.document_rows import DocumentRow
from lakehouse_assets.streaming.documents import DayFrom, Documents
from lakehouse_assets.streaming.kafka_topic import KafkaTopic

__all__ = [
    "MIB",
    "Action",
    "Contract",
    "CurrentState",
    "DayFrom",
    "DeclarationError",
    "Dimension",
    "DocumentRow",
    "Documents",
    "Domain",
    "Drift",
    "Files",
    "History",
    "IncrementalRefresh",
    "KafkaTopic",
    "LakehouseError",
    "Ledger",
    "NormalForm",
    "Overwrite",
    "Parquet",
    "Publish",
    "Rate",
    "ReplaceDays",
    "SilverEvent",
    "SnapshotHistory",
    "Source",
    "SourceDays",
    "StateRow",
    "Table",
    "TableKey",
    "column",
    "cumulative",
    "day",
    "full",
    "rolling_window",
    "row_rule",
    "scd1",
    "scd2",
    "scd2_from_snapshots",
    "table_metadata",
]
