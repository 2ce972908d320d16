"""Notebooks over the lake: `table(…)` reads a declared table, `lakehouse notebook` starts JupyterLab."""

from lakehouse_assets.notebook.tables import TableReader, table

__all__ = ["TableReader", "table"]
