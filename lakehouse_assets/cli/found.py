"""Commands of the folders of a package, found by name: a module in a folder with a command called as the folder."""

import os
import pkgutil
from importlib import import_module
from types import ModuleType
from typing import Any

import click


def folders_with(package: ModuleType, module: str) -> dict[str, str]:
    """The module of this name in each folder of a package, by the folder's name. Nothing is imported."""
    found = {}
    for folder in pkgutil.iter_modules(package.__path__):
        paths = [os.path.join(path, folder.name) for path in package.__path__]
        if folder.ispkg and any(one.name == module for one in pkgutil.iter_modules(paths)):
            found[folder.name] = f"{package.__name__}.{folder.name}.{module}"
    return found


def command_of(place: str, name: str) -> click.Command:
    """The command of this name in a module. Raises ClickException where the module has none."""
    command = getattr(import_module(place), name, None)
    if not isinstance(command, click.Command):
        raise click.ClickException(f"{place} has no command {name}: define a click command {name} in it.")
    return command


class FoundCommands(click.Group):
    """A command for each folder of a package that has a module of this name."""

    def __init__(self, *arguments: Any, package: ModuleType, module: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.package, self.module = package, module

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the folders."""
        return sorted(folders_with(self.package, self.module))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command that was called."""
        place = folders_with(self.package, self.module).get(cmd_name)
        return command_of(place, cmd_name) if place else None
