"""From a figure to its files: the commits that made a day, read back from the notes in the Delta logs."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import LANDING_LAYER, Ledger, Span, TableKey
from lakehouse_assets.platform.fingerprint.code_version import code_version, differing
from lakehouse_assets.platform.ingest.landing import parts
from lakehouse_assets.platform.planning.plan import Lake, landed_name
from lakehouse_assets.platform.storage.commit_metadata import CommitMetadata, Kind
from lakehouse_assets.platform.storage.delta_table import Commit, commits

MOST_FILES = 50


class LineageError(LakehouseError):
    """A day that was never made, or whose commit is older than the log."""


@dataclass(frozen=True)
class Node:
    """One input of a day: a version of a table and what it was made of, or a landed file."""

    name: str
    detail: str
    inputs: "tuple[Node, ...]" = ()

    def as_json(self) -> dict[str, Any]:
        """The tree as nested dictionaries."""
        return {"name": self.name, "detail": self.detail, "inputs": [node.as_json() for node in self.inputs]}

    def lines(self) -> Iterator[str]:
        """The tree as lines of text, however wide."""
        yield f"{self.name}  {self.detail}"
        for node in self.inputs:
            last = node is self.inputs[-1]
            first, *rest = node.lines()
            yield f"{'└── ' if last else '├── '}{first}"
            yield from (f"{'    ' if last else '│   '}{line}" for line in rest)


def made_by(lake: Lake, key: TableKey, day: date, until: int | None = None) -> tuple[Commit, CommitMetadata]:
    """The newest commit, at or before version `until`, that made this day. Raises LineageError."""
    streamed: tuple[Commit, CommitMetadata] | None = None
    for commit in commits(lake.path(key), until=until):
        if commit.metadata and commit.metadata.kind is not Kind.ERASURE and day in commit.metadata.made:
            if commit.metadata.kind is not Kind.STREAM:
                return commit, commit.metadata
            streamed = streamed or (commit, commit.metadata)
    if streamed:
        return streamed
    raise LineageError(f"{key} of {day} was never materialized. Run: lakehouse materialize {key} --days {day}")


def trace(lake: Lake, catalog: Catalog, key: TableKey, day: date, until: int | None = None) -> Node:
    """The tree of versions below a day. Of inputs that are read through the day, the newest day's tree is followed."""
    commit, metadata = made_by(lake, key, day, until)
    table = catalog.table(key)
    if metadata.kind is Kind.ADOPTION:
        return Node(
            str(key), f"{day}: version {commit.version}, written outside Dagster, checked by run {metadata.run_id}"
        )
    inputs = []
    for name, input_version in metadata.inputs.items():
        read = table.reads.get(name)
        if read is None:
            continue
        if read.table.layer == LANDING_LAYER:
            inputs.append(_files(lake, read.table, day, input_version.version))
        elif input_version.version is None:
            inputs.append(Node(str(read.table), f"days {input_version.days}: did not exist yet"))
        else:
            inputs.append(_input(lake, catalog, read.table, read.span, day, input_version.version, input_version.days))
    if isinstance(table.write, Ledger) and metadata.base is not None:
        inputs.append(Node(str(key), f"its own version {metadata.base}, before"))
    code = f"code {metadata.code_version}{_since(metadata.code_version, code_version(table))}"
    return Node(str(key), f"{day}: version {commit.version}, {code}, run {metadata.run_id}", tuple(inputs))


def _since(recorded: str, now: str) -> str:
    """What of the code has changed since."""
    differs = differing(recorded, now)
    if differs is None:
        return " (whether it changed since is unknown)"
    return f" (changed since: {', '.join(differs)})" if differs else ""


def _input(lake: Lake, catalog: Catalog, key: TableKey, span: Span, day: date, version: int, days: str) -> Node:
    last = day if span is Span.DAY else _newest_day(lake, key, day, version)
    if last is None:
        return Node(str(key), f"days {days} of version {version}: no day up to {day}")
    below = trace(lake, catalog, key, last, version)
    return Node(str(key), f"days {days} of version {version}; newest {below.detail}", below.inputs)


def _newest_day(lake: Lake, key: TableKey, day: date, version: int) -> date | None:
    notes = (commit.metadata for commit in commits(lake.path(key), until=version) if commit.metadata)
    made = {made for metadata in notes for made, rows in metadata.rows.items() if made <= day and rows.kept}
    return max(made, default=None)


def _files(lake: Lake, key: TableKey, day: date, version: int | None) -> Node:
    found = parts(lake.landing, landed_name(key), days=[day], version=version) if version is not None else []
    files = tuple(
        Node(part.name, f"landing {part.landing}, {part.rows} rows, sha256 {part.source_sha256}") for part in found
    )
    return Node(str(key), f"{day} of version {version}: {len(found)} files", files[:MOST_FILES])
