"""What a domain may import. Semantic versioning is promised for this package, and for nothing else of the project.

Here: domains, contracts, sources, tables. `declare.rows`: for the functions of tables. `declare.dashboard`: dashboards.
`declare.command`: for a domain's own command, which starts without importing the rest. `declare.assets`: for Dagster's
own assets beside tables. `declare.stream`: for a stream without a domain.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lakehouse_assets.declare.tables import *  # noqa: F403


def __getattr__(name: str) -> Any:
    tables = import_module(f"{__name__}.tables")  # no import statement: it would ask this function for the module
    if name not in tables.__all__:
        raise AttributeError(f"lakehouse_assets.declare has no {name}; it has {', '.join(tables.__all__)}")
    return getattr(tables, name)
