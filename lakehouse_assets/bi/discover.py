"""The dashboards there are: those of the domains, in any of their modules, and those of the platform itself."""

from types import ModuleType

from lakehouse_assets.bi import quality
from lakehouse_assets.bi.declaration import Dashboard
from lakehouse_assets.platform.declare.discovery import modules_of


def dashboards(package: ModuleType) -> tuple[Dashboard, ...]:
    """Of every domain of the package, by the names of their modules, then that of quality.

    Raises DashboardError where one shows what is not there.
    """
    held = [value for module in modules_of(package) for value in vars(module).values() if isinstance(value, Dashboard)]
    return (*{id(board): board for board in held}.values(), quality.DASHBOARD)  # a module may import one
