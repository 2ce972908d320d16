"""DAGSTER_HOME: where Dagster keeps its own state, and the configuration the project puts there."""

import os
from pathlib import Path

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.settings import Settings

CONFIGURATION = "dagster.yaml"


def prepare_dagster_home(settings: Settings) -> Path:
    """Set DAGSTER_HOME of this process and its children (default `<home>/dagster`), install the configuration there.

    Returns the folder, absolute, as Dagster wants it.
    """
    given = os.environ.get("DAGSTER_HOME")
    dagster_home = (Path(given).expanduser() if given else settings.home / "dagster").absolute()
    install_dagster_yaml(dagster_home)
    os.environ["DAGSTER_HOME"] = str(dagster_home)
    return dagster_home


def install_dagster_yaml(dagster_home: Path) -> bool:
    """Copy the project's dagster.yaml into `dagster_home` unless that has one; True when it was copied.

    Raises LakehouseError when the folder cannot be written.
    """
    target = dagster_home / CONFIGURATION
    if target.exists():
        return False
    text = project_file(CONFIGURATION).read_text(encoding="utf-8")
    try:
        dagster_home.mkdir(parents=True, exist_ok=True)
        part = dagster_home / f".{CONFIGURATION}.{os.getpid()}"
        part.write_text(text, encoding="utf-8")
        part.replace(target)  # whole or not at all, also when several processes start together
    except OSError as error:
        raise LakehouseError(
            f"DAGSTER_HOME {dagster_home} cannot be used: {error.strerror}. "
            "Set DAGSTER_HOME or LAKEHOUSE_HOME to a folder that can be written."
        ) from error
    return True


def project_file(name: str) -> Path:
    """A configuration file of the project: the one packaged with an installed wheel, else the checkout's own.

    Raises LakehouseError when the installation has neither.
    """
    package = Path(__file__).parents[1]
    for file in (package / name, package.parent / name):
        if file.is_file():
            return file
    raise LakehouseError(f"{name} is missing from this installation of the project. Install it again.")
