"""The declared tables, as commands ask for them: without importing a domain where its declarations are known already.

To import every domain is to import pandera and PySpark, which takes seconds. Most commands need what a declaration says
and nothing that it runs. So the first command after any change of the code imports all of it, and leaves what it found
in `<home>/cache/`; later ones read that. The declarations stay the only source: a snapshot is named by the content of
the package and the versions of all installed distributions, and one of another name is never read.
"""

import hashlib
import io
import os
import pickle
import sys
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lakehouse_assets.cli.contract_summary import ContractSummary, summarize
from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.table import Table
from lakehouse_assets.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame

    from lakehouse_assets.platform.contracts.contract import Contract

PACKAGE = Path(__file__).parents[1]
STANDARD = {
    ("builtins", "frozenset"),
    ("builtins", "set"),
    ("datetime", "date"),
    ("datetime", "datetime"),
    ("datetime", "timedelta"),
}
"""What a snapshot may name besides classes of this package."""
OTHERS_WRITE = 0o022
"""Of a file's mode: its group or everybody may write it."""


class SnapshotTable(Table):
    """A table read from a snapshot. Its contract and its function are imported when somebody asks for them."""

    summary: ContractSummary

    @cached_property
    def contract(self) -> "type[Contract]":
        """The contract of the declaration."""
        return imported_tables().table(self.key).contract

    @cached_property
    def function(self) -> "Callable[..., DataFrame]":
        """The function of the declaration."""
        return imported_tables().table(self.key).function


@cache
def imported_tables() -> Catalog:
    """The declared tables, every domain imported: for what runs them."""
    from lakehouse_assets import defs as domains
    from lakehouse_assets.platform.declare.discovery import discover

    return discover(domains)


def declared_tables() -> Catalog:
    """The declared tables, for what reads their declarations. Raises DeclarationError."""
    if imported_tables.cache_info().currsize:
        return imported_tables()
    folder = settings().home.absolute() / "cache"
    file = folder / f"catalog-{_fingerprint()}.pickle"
    known = _read(file)
    if known is None:
        known = imported_tables()
        _keep(file, known)
    return known


def _read(file: Path) -> Catalog | None:
    """A snapshot that is whole and that nobody else can have written; None: it has to be made."""
    try:
        found = file.stat()
        if found.st_uid != os.geteuid() or found.st_mode & OTHERS_WRITE:
            return None
        digest, data = file.read_bytes().split(b"\n", 1)
        return _load(data) if digest == _digest(data) else None
    except (OSError, ValueError, pickle.UnpicklingError, EOFError, AttributeError, ImportError, TypeError):
        return None  # not there, or of another version: what was kept can always be made again


def _digest(data: bytes) -> bytes:
    """What tells a whole snapshot from a damaged one, before any of it is read."""
    return hashlib.sha256(data).hexdigest().encode()


def _keep(file: Path, catalog: Catalog) -> None:
    """Write a snapshot in place of those of other code; none where the home cannot be written."""
    try:
        data = _dump(catalog)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}.{os.getpid()}")
        part.write_bytes(_digest(data) + b"\n" + data)
        part.chmod(0o600)
        part.replace(file)  # whole or not at all, also when several commands start together
        for other in file.parent.glob("catalog-*.pickle"):
            if other != file:
                other.unlink(missing_ok=True)
    except (OSError, pickle.PicklingError, AttributeError, TypeError):
        return  # also a declaration that holds a function of its own: then every command imports it


def _fingerprint() -> str:
    """What the declarations depend on: the content of the package, and the versions of all that is installed."""
    digest = hashlib.sha256(sys.version.encode())
    for file in sorted(_files(PACKAGE)):
        digest.update(f"\0{file}\0".encode())
        digest.update(Path(file).read_bytes())
    for folder in sys.path:
        if os.path.isdir(folder):
            digest.update("\0".join(sorted(n for n in os.listdir(folder) if n.endswith(".dist-info"))).encode())
    return digest.hexdigest()[:32]


def _files(folder: Path) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (os.path.join(place, name) for name in names)


def summary_of(table: Table) -> ContractSummary:
    """What a table's contract says."""
    return table.summary if isinstance(table, SnapshotTable) else summarize(table.compiled)


class _Pickler(pickle.Pickler):
    """Writes tables without what only an import can give."""

    def reducer_override(self, value: Any) -> Any:
        """How tables and read-only mappings are written; everything else as pickle does."""
        if isinstance(value, Table):
            from lakehouse_assets.platform.fingerprint.code_version import code_version

            fields = {name: held for name, held in vars(value).items() if name not in ("contract", "function")}
            return _table, (fields | {"summary": summary_of(value)}, code_version(value))
        if isinstance(value, MappingProxyType):
            return _read_only, (dict(value),)
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    """Reads classes of this package and a few of Python's own: a snapshot holds nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in STANDARD:
            return super().find_class(module, name)
        if module.startswith(f"{PACKAGE.name}.") and name.isidentifier():
            found = super().find_class(module, name)
            if found in (_table, _read_only) or (isinstance(found, type) and found.__module__ == module):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a declaration")


def _table(fields: dict[str, Any], version: str) -> SnapshotTable:
    from lakehouse_assets.platform.fingerprint.code_version import take_for

    table = object.__new__(SnapshotTable)
    vars(table).update(fields)
    take_for(table, version)
    return table


def _read_only(values: dict[Any, Any]) -> "MappingProxyType[Any, Any]":
    return MappingProxyType(values)


def _dump(catalog: Catalog) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(catalog.tables)
    return buffer.getvalue()


def _load(data: bytes) -> Catalog:
    tables: tuple[Table, ...] = _Unpickler(io.BytesIO(data)).load()
    return Catalog(tables)
