"""What was landed for one source table: an append-only Delta table of parts, written and read by delta-rs alone."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, PostCommitHookProperties, QueryBuilder, Transaction, write_deltalake
from deltalake.exceptions import DeltaError

from lakehouse_assets.platform.ingest.delivery_names import canonical
from lakehouse_assets.platform.ingest.file_readers import LandingError, NotNow
from lakehouse_assets.platform.storage.conditional_put import prove_conditional_puts
from lakehouse_assets.platform.storage.delta_table import open_table
from lakehouse_assets.platform.storage.location import Location, answering, arrow_table, storage_options
from lakehouse_assets.platform.storage.s3 import StoreError
from lakehouse_assets.platform.storage.statistics_properties import stats_properties

FOLDER = "_manifest"
ADD, REPLACE, REMOVE = "add", "replace", "remove"

_SCHEMA = pa.schema(
    [
        ("feed_day", pa.date32()),  # first: Delta's statistics of it let a read skip the landings of other days
        ("landing", pa.int32()),
        ("name", pa.string()),
        ("part", pa.string()),
        ("format", pa.string()),
        ("size", pa.int64()),
        ("sha256", pa.string()),
        ("source_sha256", pa.string()),
        ("rows", pa.int64()),
        ("action", pa.string()),
        ("delivery", pa.string()),  # none in what was landed before a delivery could be of several files
    ]
)
_WITHOUT_DELIVERY = [name for name in _SCHEMA.names if name != "delivery"]
_APP = "landing"
STATISTICS = ("feed_day",)
# Every version stays readable for ever: lineage names manifest versions.
_CONFIGURATION = {
    "delta.appendOnly": "true",
    "delta.enableExpiredLogCleanup": "false",
    **stats_properties(STATISTICS),
}


@dataclass(frozen=True)
class Entry:
    """One row of the manifest: one part, with its path relative to the table's landing folder. Sizes in bytes.

    `delivery`: what it came with and is superseded with. REMOVE, without a part: what `name` brought of the day up to
    this landing is superseded.
    """

    feed_day: date
    landing: int
    name: str
    part: str
    format: str
    size: int
    sha256: str
    source_sha256: str
    rows: int
    action: str
    delivery: str | None = None


class ManifestMoved(Exception):
    """Somebody else committed to the manifest since it was read: read it again."""


class Manifest:
    """The manifest of the table landed in `folder`, as of one version. Version None: nothing was ever landed."""

    def __init__(self, folder: Location, version: int | None = None) -> None:
        """Reads the newest version, or the one asked for. Raises LandingError where there is none, StoreError."""
        self._path = folder / FOLDER
        try:
            self._table = open_table(self._path, version)
        except DeltaError as error:
            which = "" if version is None else f" at version {version}"
            raise NotNow(f"{self._path}: the manifest cannot be read{which}: {error}") from error
        if self._table is None and version is not None:
            raise LandingError(f"{self._path}: there is no version {version}: nothing was ever landed here.")
        if self._table is not None and self._columns() not in (_SCHEMA.names, _WITHOUT_DELIVERY):
            raise NotNow(
                f"{self._path}: not a manifest of landed files as this version writes it. Nothing was read or written. "
                "Use the version of the project that wrote it, or another LAKEHOUSE_LANDING."
            )

    def _columns(self) -> list[str]:
        return [] if self._table is None else [field.name for field in self._table.schema().fields]

    @property
    def version(self) -> int | None:
        """Delta version that was read."""
        return None if self._table is None else self._table.version()

    def entries(self, days: Collection[date] | None = None) -> list[Entry]:
        """Every row about `days` (None: all days), in no order."""
        if self._table is None or (days is not None and not days):
            return []
        query = "select * from manifest"
        if days is not None:
            query += f" where feed_day between date '{min(days).isoformat()}' and date '{max(days).isoformat()}'"
        return [Entry(**row) for row in self._ask(query) if days is None or row["feed_day"] in days]

    def days_of(self, delivery: str) -> frozenset[date]:
        """The days on which a delivery ever brought something."""
        if "delivery" not in self._columns():
            return frozenset()
        quoted = delivery.replace("'", "''")
        rows = self._ask(f"select distinct feed_day from manifest where delivery = '{quoted}'")  # noqa: S608  of the lake's own log
        return frozenset(row["feed_day"] for row in rows)

    def _ask(self, query: str) -> list[dict[str, Any]]:
        # Not to_pyarrow_table: its reader threads abort the interpreter at exit (deltalake 1.6.6, pyarrow 26).
        assert self._table is not None
        with answering(self._path):
            return arrow_table(QueryBuilder().register("manifest", self._table).execute(query)).to_pylist()

    def prove(self) -> None:
        """Before a commit to a bucket. Raises LakehouseError where two at once could both succeed."""
        prove_conditional_puts(self._path.parent)

    def commit(self, entries: list[Entry]) -> int:
        """Add `entries` in one commit and return its version. Of none: so that who read this version loses its race.

        Raises ManifestMoved when the manifest is no longer at this version, LandingError when writing failed.
        """
        rows = pa.Table.from_pylist([vars(entry) for entry in entries], schema=_SCHEMA)
        number = 1 if self._table is None else (self._table.transaction_version(_APP) or 0) + 1
        properties = CommitProperties(app_transactions=[Transaction(_APP, number)])
        hooks = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)
        try:
            with answering(self._path):
                write_deltalake(
                    str(self._path) if self._table is None else self._table,
                    rows,
                    mode="error" if self._table is None else "append",
                    schema_mode="merge" if self._columns() == _WITHOUT_DELIVERY else None,
                    configuration=_CONFIGURATION if self._table is None else None,
                    commit_properties=properties,
                    post_commithook_properties=hooks,
                    storage_options=storage_options(self._path) if self._table is None else None,
                )
        except (DeltaError, OSError, StoreError) as error:
            # The answer may be lost after the commit: what the manifest says now decides.
            now = Manifest(self._path.parent)
            if (
                entries
                and now.version is not None
                and set(entries) <= set(now.entries({entry.feed_day for entry in entries}))
            ):
                return now.version
            if now.version != self.version:
                raise ManifestMoved from error
            raise NotNow(f"{self._path}: the manifest cannot be written, nothing was landed: {error}") from error
        return (Manifest(self._path.parent) if self._table is None else self).version or 0


def newest(entries: Iterable[Entry]) -> list[Entry]:
    """Of every day, delivery and name the entry of the greatest landing; REMOVE where that was superseded."""
    found: dict[tuple[date, str | None, str], Entry] = {}
    for entry in sorted(entries, key=lambda entry: (entry.feed_day, entry.landing, entry.action == REMOVE)):
        found[entry.feed_day, entry.delivery, canonical(entry.name)] = entry
    return list(found.values())


def current(entries: Collection[Entry]) -> list[Entry]:
    """The entries that hold: per day from its newest replacement on, per delivery and name the greatest landing.

    Sorted by (feed_day, landing, name).
    """
    replaced: dict[date, int] = {}
    for entry in entries:
        if entry.action == REPLACE:
            replaced[entry.feed_day] = max(entry.landing, replaced.get(entry.feed_day, 0))
    holding = [
        entry
        for entry in newest(entries)
        if entry.action != REMOVE and entry.landing >= replaced.get(entry.feed_day, 0)
    ]
    return sorted(holding, key=lambda entry: (entry.feed_day, entry.landing, entry.name))
