"""Runs a notebook as JupyterLab's kernel does: by the platform's Python, with the packages of its own environment."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from lakehouse_assets.notebook.lab import ENVIRONMENT


def executed(notebook: Path, folder: Path, patch: pytest.MonkeyPatch) -> list[nbformat.NotebookNode]:
    """The code cells of a notebook that is stored with its outputs, once it has run in `folder`."""
    content = nbformat.read(notebook, as_version=4)
    stored = [cell for cell in content.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in stored), "stored unexecuted"
    assert not any(output.output_type == "error" for cell in stored for output in cell.outputs)
    ENVIRONMENT.ensure()
    patch.setenv("PYTHONPATH", str(ENVIRONMENT.packages))
    NotebookClient(content, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    return [cell for cell in content.cells if cell.cell_type == "code"]
