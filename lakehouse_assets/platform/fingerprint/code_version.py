"""The version of a table's code: a fingerprint of everything that its rows depend on, in four parts.

Each part is the digest of what can be reached (`code_walk.py`), so a change of any helper or constant changes it, and a
renamed module, a comment or another layout does not. Fingerprints are told apart by their scheme: what an earlier
scheme recorded cannot be compared, so whether that code was another one is unknown.
"""

import hashlib
import sys
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import TYPE_CHECKING, Any, Self

from lakehouse_assets.platform.runtime.jar_sets import COORDINATES

if TYPE_CHECKING:
    from lakehouse_assets.platform.declare.table import Table
    from lakehouse_assets.platform.fingerprint.code_walk import Reached

SCHEME = "2"
DIGITS = 8
# What makes the rows of a step, in whatever modules: followed from here.
COMPUTING = ("transform.materialize.materialize", "runtime.session_settings.REQUIRED")
COMPUTING_LIBRARIES = frozenset({"deltalake", "pandera", "pyarrow", "pyspark"})


@dataclass(frozen=True)
class Fingerprint:
    """Digests of the function and all it reaches with the table's declaration; of the contract; of the platform's code
    that computes rows; of the versions of the libraries that do."""

    function: str
    contract: str
    platform: str
    libraries: str

    def __str__(self) -> str:
        return ".".join((SCHEME, *astuple(self)))

    @classmethod
    def parse(cls, recorded: str) -> Self | None:
        """What `str` wrote; None for what an earlier scheme, or nobody, has recorded."""
        scheme, *parts = recorded.split(".")
        return cls(*parts) if scheme == SCHEME and len(parts) == len(fields(cls)) else None


def differing(recorded: str, now: str) -> tuple[str, ...] | None:
    """The parts in which two code versions differ; None where that is unknown."""
    then, current = Fingerprint.parse(recorded), Fingerprint.parse(now)
    if then is None or current is None:
        return None
    return tuple(one.name for one in fields(Fingerprint) if getattr(then, one.name) != getattr(current, one.name))


_taken: "dict[Table, str]" = {}


@cache
def code_version(table: "Table") -> str:
    """The fingerprint of a table's code as text: the scheme and the four parts, with dots between."""
    return _taken.get(table) or str(fingerprint(table))


def take_for(table: "Table", version: str) -> None:
    """Take this for the table's fingerprint: of a table that was read from a snapshot, its code not imported."""
    _taken[table] = version


def fingerprint(table: "Table") -> Fingerprint:
    """The fingerprint of a table's code as it is now."""
    from lakehouse_assets.platform.fingerprint.code_walk import reach

    project = {table.function.__module__.partition(".")[0], table.contract.__module__.partition(".")[0]}
    reads = tuple((name, str(read.table), read.span.value, read.days) for name, read in sorted(table.reads.items()))
    declared = (reads, table.write, table.reconciles, table.source, table.stream)
    function = reach((table.function, declared), project)
    in_python = tuple(rule.fine for rule in table.compiled.rules if rule.fine is not None)
    of_days = tuple(rule.code for rule in table.compiled.of_day)
    contract = reach((table.compiled.deciding, in_python, *of_days), project)
    return Fingerprint(
        function=function.digest[:DIGITS],
        contract=contract.digest[:DIGITS],
        platform=of_platform().digest[:DIGITS],
        libraries=of_libraries(function.libraries | contract.libraries)[:DIGITS],
    )


@cache
def of_platform() -> "Reached":
    """Everything that a step reaches while it computes rows."""
    from lakehouse_assets.platform.fingerprint.code_walk import reach

    return reach(_computing(COMPUTING))


def _computing(places: Iterable[str]) -> Iterable[object]:
    package = __name__.rsplit(".", 2)[0]
    for place in places:
        module, _, name = place.rpartition(".")
        # Not by an import statement: a step records this fingerprint, so its module imports this one.
        yield getattr(import_module(f"{package}.{module}"), name)


@cache
def of_libraries(reached: frozenset[str]) -> str:
    """The digest of the versions of Python, Delta and the libraries that compute rows."""
    known = {f"python {sys.version_info.major}.{sys.version_info.minor}", *COORDINATES}
    known |= {f"{name} {_version(name)}" for name in reached | COMPUTING_LIBRARIES}
    return hashlib.sha256("\n".join(sorted(known)).encode()).hexdigest()


def _version(top: str) -> str:
    """The version of the distribution that holds a package; that of the package itself, or nothing, without one."""
    try:
        return version(top)
    except PackageNotFoundError:
        module: Any = sys.modules.get(top)
        found = getattr(module, "__version__", None)
        return found if isinstance(found, str) else _of_distributions(top)


def _of_distributions(top: str) -> str:
    return ",".join(version(name) for name in sorted(set(packages_distributions().get(top, []))))
