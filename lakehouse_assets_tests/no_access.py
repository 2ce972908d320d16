"""Folders without permission, also for who runs as root, whom no mode keeps out."""

import os
from errno import EACCES
from pathlib import Path
from typing import Any

import pytest


def no_access(monkeypatch: pytest.MonkeyPatch, *folders: Path, listed: bool = True) -> None:
    """Nothing in these folders can be reached, as without search permission; nor `listed`, as without that to read."""
    stat, scandir = os.stat, os.scandir

    def refusing_stat(path: Any, **options: Any) -> os.stat_result:
        if Path(os.fsdecode(path) if not isinstance(path, int) else ".").parent in folders:
            raise PermissionError(EACCES, os.strerror(EACCES), str(path))
        return stat(path, **options)

    def refusing_scandir(path: Any = ".") -> Any:
        if not listed and not isinstance(path, int) and Path(path) in folders:
            raise PermissionError(EACCES, os.strerror(EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "stat", refusing_stat)
    monkeypatch.setattr(os, "scandir", refusing_scandir)
