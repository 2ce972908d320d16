"""Settings under their former names: they work for one release, with a notice."""

import warnings
from collections.abc import Mapping

from pydantic import AliasChoices
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource

FORMER_NAMES: Mapping[str, str] = {"LAKEHOUSE_DEBOUNCE_SECONDS": "LAKEHOUSE_QUIET_SECONDS"}
"""The former name of each renamed setting. They go with version 0.3."""


def either_name(name: str) -> AliasChoices:
    """The environment variable of a renamed setting, else its former name."""
    return AliasChoices(name, FORMER_NAMES[name])


def warn_of_former_names(settings: type[BaseSettings]) -> None:
    """Warn of every former name that the environment or the file of these settings uses."""
    given = {*EnvSettingsSource(settings).env_vars, *DotEnvSettingsSource(settings).env_vars}  # in lower case
    for name, former in FORMER_NAMES.items():
        if former.lower() in given:
            ignored = " It is ignored, because both are set." if name.lower() in given else ""
            warnings.warn(
                f"{former} is now called {name}; the former name stops working in version 0.3.{ignored}",
                FutureWarning,
                stacklevel=2,
            )
