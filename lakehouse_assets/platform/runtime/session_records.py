"""Which run holds which Spark Connect session: one small file for each, so that a dead run's session can be ended."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lakehouse_assets.platform.common.process_id import ProcessId


@dataclass(frozen=True)
class SessionRecord:
    """One session: who opened it, and on which server (a cluster's URL, or the identity of the embedded server)."""

    session_id: str
    run_id: str
    server: str
    process: ProcessId


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write the file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(json.dumps(data, indent=2))
    part.replace(path)


def add(spark_dir: Path, record: SessionRecord) -> None:
    """Record the session. Do it before the session exists: a session without a record cannot be ended by others."""
    write_json(_path(spark_dir, record.session_id), asdict(record))


def remove(spark_dir: Path, session_id: str) -> None:
    """Forget the session; no error when somebody else has."""
    _path(spark_dir, session_id).unlink(missing_ok=True)


def recorded(spark_dir: Path) -> list[SessionRecord]:
    """Every recorded session, also those of dead processes."""
    records = []
    for path in sorted((spark_dir / "sessions").glob("*.json")):
        try:
            data = json.loads(path.read_text())
        except FileNotFoundError:  # closed between listing and reading
            continue
        records.append(SessionRecord(**{**data, "process": ProcessId(**data["process"])}))
    return records


def in_use(spark_dir: Path, server: str) -> list[SessionRecord]:
    """Sessions on that server whose process is not provably dead."""
    return [record for record in recorded(spark_dir) if record.server == server and not record.process.dead]


def _path(spark_dir: Path, session_id: str) -> Path:
    return spark_dir / "sessions" / f"{session_id}.json"
