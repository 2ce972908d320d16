"""`lakehouse config show`: every setting, its value, and where that comes from."""

import os
import re
from pathlib import Path
from typing import Any

import click
from pydantic import SecretStr

from lakehouse_assets.cli.output import Rows, format_option, show
from lakehouse_assets.renamed_settings import FORMER_NAMES
from lakehouse_assets.settings import Settings, settings

REDACTED = "********"
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")
_TOKEN = re.compile(r"(?i)((?:token|password|secret|key)=)[^;&\s]+")

PRESENT_NAMES = {former: name for name, former in FORMER_NAMES.items()}


@click.group()
def config() -> None:
    """The settings of this lakehouse."""


@config.command("show")
@click.option("--set", "only_set", is_flag=True, help="Only what somebody set.")
@format_option
def show_(only_set: bool, output: str) -> None:
    """Show every setting, its value and where it comes from: the environment, .env, or its default.

    Secrets are never printed.
    """
    here = settings()
    origins = origins_of(Path(str(Settings.model_config.get("env_file") or ".env")))
    rows = [
        (f"LAKEHOUSE_{name.upper()}", _shown(getattr(here, name)), origins.get(name, "default"), field.description)
        for name, field in Settings.model_fields.items()
        if not only_set or name in origins
    ]
    show(Rows(("setting", "value", "from", "meaning"), rows), output)


def origins_of(env_file: Path) -> dict[str, str]:
    """For each setting that somebody set: where. The environment comes before the file; empty values count as unset."""
    from dotenv import dotenv_values

    in_file = dotenv_values(env_file) if env_file.is_file() else {}
    found: dict[str, str] = {}
    for origin, values in ((str(env_file), in_file), ("environment", os.environ)):
        for variable, value in values.items():
            name = PRESENT_NAMES.get(variable.upper(), variable).lower().removeprefix("lakehouse_")
            if value and variable.lower().startswith("lakehouse_") and name in Settings.model_fields:
                found[name] = origin
    return found


def _shown(value: Any) -> str | None:
    """A value as text, without what nobody should read."""
    if value is None:
        return None
    if isinstance(value, SecretStr):
        return REDACTED
    return _TOKEN.sub(rf"\g<1>{REDACTED}", _CREDENTIALS.sub(f"{REDACTED}@", str(value)))
