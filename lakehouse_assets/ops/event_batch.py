"""Many events in few statements: what Dagster's storages do one event at a time, on one connection.

Every statement is built once and executed with parameters: building one with its values anew for each event costs more
than SQLite does. An event is serialized once, also where two tables hold it.
"""

from collections.abc import Sequence
from typing import Any

import dagster._check as check
import sqlalchemy as db
from dagster._core.errors import DagsterInvariantViolationError
from dagster._core.events import ASSET_EVENTS, DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Connection

_INSERT = SqlEventLogStorageTable.insert()
_CHECK = AssetCheckExecutionsTable.c
_ANSWER = ("execution_status", "evaluation_event", "evaluation_event_timestamp", "evaluation_event_storage_id")
_RECORD_CHECK = (
    AssetCheckExecutionsTable.update()
    .where(
        _CHECK.asset_key == db.bindparam("of_asset"),
        _CHECK.check_name == db.bindparam("of_check"),
        _CHECK.run_id == db.bindparam("of_run"),
        _CHECK.partition == db.bindparam("of_partition"),
    )
    .values({name: db.bindparam(name) for name in (*_ANSWER, "materialization_event_storage_id")})
)


class BatchedWrites(SqlEventLogStorage):
    """Mixin of a storage on one SQLite database: writes events as `SqlEventLogStorage` does, many at once."""

    def store_all(self, connection: Connection, events: Sequence[EventLogEntry]) -> None:
        """Store events in their order, on a connection in a transaction."""
        latest: dict[tuple[str, str], tuple[EventLogEntry, int]] = {}
        of_assets: list[tuple[EventLogEntry, int]] = []
        for event in events:
            row = self._event_to_row(check.inst_param(event, "event", EventLogEntry))
            inserted = connection.execute(_INSERT, row).inserted_primary_key
            assert inserted is not None
            event_id: int = inserted[0]
            kind = event.dagster_event_type
            if kind in ASSET_EVENTS and row["asset_key"]:
                of_assets.append((event, event_id))
                of_kind = row["asset_key"], str(row["dagster_event_type"])
                latest.pop(of_kind, None)  # so that the newest comes last
                latest[of_kind] = event, event_id
            elif kind is DagsterEventType.ASSET_CHECK_EVALUATION and event.run_id:
                self._record_check(connection, event, event_id, row)
            elif kind in (DagsterEventType.ASSET_CHECK_EVALUATION, DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED):
                self.store_asset_check_event(event, event_id)
        if of_assets:
            self._store_asset_event_tags(connection, *zip(*of_assets, strict=True))
        for newest in latest.values():  # an asset's row tells of the newest event of each kind
            self._store_asset_event(connection, *newest)

    def _record_check(self, connection: Connection, event: EventLogEntry, event_id: int, row: dict[str, Any]) -> None:
        """Answer the planned evaluation, if the run planned it by partition; else as Dagster does."""
        evaluation: Any = event.get_dagster_event().event_specific_data
        target = evaluation.target_materialization_data
        status = AssetCheckExecutionRecordStatus
        answered = connection.execute(
            _RECORD_CHECK,
            {
                "of_asset": evaluation.asset_key.to_string(),
                "of_check": evaluation.check_name,
                "of_run": event.run_id,
                "of_partition": evaluation.partition,
                "execution_status": (status.SUCCEEDED if evaluation.passed else status.FAILED).value,
                "evaluation_event": row["event"],
                "evaluation_event_timestamp": row["timestamp"],
                "evaluation_event_storage_id": event_id,
                "materialization_event_storage_id": target.storage_id if target else None,
            },
        )
        if answered.rowcount == 0:
            self._update_asset_check_evaluation(event, event_id)
        elif answered.rowcount > 1:  # as Dagster refuses it
            raise DagsterInvariantViolationError(
                f"{answered.rowcount} evaluations of {evaluation.asset_check_key} were planned by run {event.run_id}."
            )

    def _store_asset_event(self, conn: Connection, event: EventLogEntry, event_id: int) -> None:
        # As Dagster's, which inserts, catches that the row is there, and updates it.
        key = event.get_dagster_event().asset_key
        values = self._get_asset_entry_values(event, event_id, self._has_asset_key_index_cols_on_connection(conn))
        if key is None or not values:
            return
        insert = sqlite.insert(AssetKeyTable).values(asset_key=key.to_string(), **values)
        conn.execute(insert.on_conflict_do_update(index_elements=["asset_key"], set_=values))
