"""Discovery: the domains and tables that the modules of a package declare."""

import pkgutil
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

from lakehouse_assets.platform.declare.catalog import Catalog
from lakehouse_assets.platform.declare.domain import Domain, Source
from lakehouse_assets.platform.declare.table import DeclarationError, Table, TableKey


def modules_of(package: ModuleType) -> tuple[ModuleType, ...]:
    """Every module of every domain, imported: what one declares is never lost because of its name.

    Raises DeclarationError for a folder with modules that Python does not see as a package.
    """
    for folder in map(Path, package.__path__):
        for file in sorted(folder.rglob("*.py")):
            if file.parent == folder or (file.parent / "defs.yaml").exists():
                continue  # a component loads its own modules
            if not (file.parent / "__init__.py").exists():
                raise DeclarationError(f"{file.parent} has no __init__.py, so {file.name} in it would not be loaded.")
    return tuple(import_module(found.name) for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."))


def discover(package: ModuleType) -> Catalog:
    """Every domain and table declared in the folders of the package.

    Raises DeclarationError for a domain that is called otherwise than its folder, for a table outside the folder of its
    domain, and for two of one name.
    """
    modules = modules_of(package)
    domains = _domains(package, modules)
    found: dict[TableKey, Table] = {}
    for module in modules:
        folder = _folder(package, module)
        for table in _tables(module):
            if table.key.domain not in domains or folder != table.key.domain:
                raise DeclarationError(
                    f"{module.__name__} has {table.key}: a table stands in the folder of its domain, and "
                    "no domain uses tables of another"
                )
            if found.setdefault(table.key, table) is not table:
                raise DeclarationError(f"{module.__name__}: {table.key} is declared twice; give one another name")
    co_materialized = {companion.key for table in found.values() for companion in table.co_materialized}
    return Catalog(tuple(table for key, table in sorted(found.items()) if key not in co_materialized), domains)


def _domains(package: ModuleType, modules: Iterable[ModuleType]) -> dict[str, Domain]:
    """The domain of each folder that declares one. Raises DeclarationError."""
    found: dict[str, Domain] = {}
    for module in modules:
        folder = _folder(package, module)
        for domain in (value for value in vars(module).values() if isinstance(value, Domain)):
            if domain.name != folder:
                where = f"in the folder {folder}/" if folder else "outside a domain's folder"
                raise DeclarationError(
                    f"{module.__name__}: the domain {domain.name!r} stands {where}; a domain is called as its folder"
                )
            if found.setdefault(folder, domain) is not domain:
                raise DeclarationError(f"{module.__name__}: {folder} is declared twice; a folder is one domain")
    return dict(sorted(found.items()))


def _folder(package: ModuleType, module: ModuleType) -> str | None:
    """The folder of the package that a module stands in; None: in none."""
    folder, *inside = module.__name__.removeprefix(f"{package.__name__}.").split(".")
    return folder if inside or hasattr(module, "__path__") else None


def _tables(module: ModuleType) -> Iterator[Table]:
    """Tables that a module holds by name, or in a list or a dictionary, with those of its sources."""
    for value in vars(module).values():
        for one in [*value.values()] if type(value) is dict else value if type(value) in (list, tuple) else [value]:
            if isinstance(one, Table):
                yield one
            elif isinstance(one, Source):
                yield from (one.bronze, one.silver)
