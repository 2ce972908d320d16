"""What a stream says of itself, in `<home>/streams/<name>.json`: for `lakehouse stream status`, metrics and people."""

import json
import os
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from lakehouse_assets.platform.common.process_id import ProcessId
from lakehouse_assets.platform.runtime.session_records import write_json
from lakehouse_assets.settings import Settings

STARTING, ENDED = "starting", "ended"


@dataclass
class State:
    """A stream's state. Times are ISO, UTC; `rate` in records a second, `lag` in records as last seen; records of an
    inbox are files.
    """

    name: str
    table: str
    process: ProcessId
    started: str
    mode: str
    restarts: int = 0
    batches: int = 0
    records: int = 0
    rate: float = 0.0
    lag: int | None = None
    last_version: int | None = None
    last_commit: str | None = None
    last_looked: str | None = None
    error: str | None = None

    @classmethod
    def begin(cls, name: str, table: str, mode: str) -> Self:
        """The state of a stream that starts now in this process."""
        process = ProcessId.of(os.getpid())
        assert process is not None, "this process runs"
        return cls(name, table, process, datetime.now(UTC).isoformat(), mode)

    def took(self, records: int, version: int | None, lag: int) -> None:
        """Count a commit."""
        now = datetime.now(UTC)
        before = datetime.fromisoformat(self.last_commit or self.started)
        self.rate = round(records / max((now - before).total_seconds(), 0.001), 1)
        self.batches, self.records, self.lag = self.batches + 1, self.records + records, lag
        self.last_version, self.last_commit, self.error = version, now.isoformat(), None

    def failed(self, error: Exception) -> None:
        """Remember why it stopped or started again."""
        self.error = str(error).split("\n\nJVM stacktrace", 1)[0][:1000]

    def position_age(self, now: datetime) -> float | None:
        """Seconds since the last commit, which holds the position; None: nothing was committed."""
        if self.last_commit is None:
            return None
        return round((now - datetime.fromisoformat(self.last_commit)).total_seconds(), 1)

    def write(self, settings: Settings) -> Self:
        """Say it."""
        self.last_looked = datetime.now(UTC).isoformat()
        write_json(state_file(settings, self.name), asdict(self))
        return self


def state_file(settings: Settings, name: str) -> Path:
    """Where a stream writes what it says of itself."""
    return settings.home.absolute() / "streams" / f"{name}.json"


def read_state(settings: Settings, name: str) -> State | None:
    """What the stream of a name said last; None: it never ran here."""
    try:
        data: dict[str, Any] = json.loads(state_file(settings, name).read_text())
    except FileNotFoundError:
        return None
    state = State(**{**data, "process": ProcessId(**data["process"])})
    return state if state.process.alive else replace(state, mode=ENDED)
