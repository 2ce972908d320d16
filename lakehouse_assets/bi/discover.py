"""The dashboards there are: `DASHBOARD` of each domain's `dashboard.py`, and those of the platform itself."""

import pkgutil
from importlib import import_module
from types import ModuleType

from lakehouse_assets.bi import quality
from lakehouse_assets.bi.declaration import Dashboard

MODULE = "dashboard"


def dashboards(package: ModuleType) -> tuple[Dashboard, ...]:
    """Of every domain of the package that has one, by name, then that of quality.

    Raises DashboardError where one shows what is not there.
    """
    found = []
    for domain in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        modules = pkgutil.iter_modules(import_module(domain.name).__path__) if domain.ispkg else ()
        if any(module.name == MODULE for module in modules):
            found.append(import_module(f"{domain.name}.{MODULE}").DASHBOARD)
    return (*found, quality.DASHBOARD)
