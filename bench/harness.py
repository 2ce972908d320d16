"""What every measure shares: sizes, alternating sides, ratios, and the machine it ran on."""

import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

PACKAGES = ("dagster", "pyspark", "deltalake", "pandera", "duckdb", "pyarrow")


@dataclass(frozen=True)
class Size:
    """How much a measure does. `tiny` is for the test suite: it proves that a measure runs, not how fast."""

    name: str
    year_days: int
    purchases: int
    short_days: int
    long_days: int
    rows: int
    events_days: int
    repeats: int
    state_rows: int
    changes: int
    snapshot_rows: int
    records: int
    shop_days: int
    files: Path | None = None  # of the shop, instead of generated ones


SIZES = {
    size.name: size
    for size in (
        Size("tiny", 2, 5, 2, 4, 2_000, 2, 1, 2_000, 100, 1_000, 2_000, 2),
        Size("small", 60, 200, 10, 120, 300_000, 60, 2, 1_000_000, 20_000, 200_000, 200_000, 60),
        Size("full", 365, 500, 30, 1_000, 2_000_000, 365, 3, 5_000_000, 100_000, 1_000_000, 1_000_000, 305),
    )
}


@dataclass(frozen=True)
class Bar:
    """What is wanted of one figure: `figure` at most (or at least) `limit`."""

    figure: str
    limit: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Whether the figure is as wanted."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}"


@dataclass(frozen=True)
class Result:
    """A measure's figures (ratios, seconds or MiB, by name), the bars on some of them, and all samples in seconds."""

    letter: str
    title: str
    figures: Mapping[str, float]
    bars: tuple[Bar, ...] = ()
    samples: Mapping[str, list[float]] = field(default_factory=dict)
    remark: str = ""

    def as_json(self) -> dict[str, Any]:
        """All of it, rounded."""
        return {
            "measure": self.letter,
            "title": self.title,
            "figures": {name: round(value, 3) for name, value in self.figures.items()},
            "bars": [{"figure": b.figure, "bar": str(b), "met": b.met(self.figures[b.figure])} for b in self.bars],
            "samples": {name: [round(value, 3) for value in values] for name, values in self.samples.items()},
            "remark": self.remark,
        }


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def alternate(repeats: int, **sides: Callable[[], object]) -> dict[str, list[float]]:
    """Seconds of each side, one after the other in turns, so that a busy moment hits all of them."""
    took: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, work in sides.items():
            took[name].append(seconds(work))
    return took


def best(samples: list[float]) -> float:
    """The least disturbed sample."""
    return min(samples)


def middle(samples: list[float]) -> float:
    """The median sample."""
    return median(samples)


def run(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and return what it printed. Raises RuntimeError with its last lines when it fails."""
    # What this process told its own pyspark is nothing to another's: that may have a Spark of its own.
    inherited = {name: value for name, value in os.environ.items() if name != "SPARK_CONNECT_MODE_ENABLED"}
    done = subprocess.run(command, env=inherited | dict(environment or {}), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def surroundings(size: Size, folder: Path) -> dict[str, Any]:
    """The machine, the versions, and how busy it was."""
    return {
        "size": {name: str(value) if isinstance(value, Path) else value for name, value in vars(size).items()},
        "folder": str(folder),
        "cores": os.cpu_count(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "load": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }
