"""Lineage: from a figure to its files, and the replay that proves it."""
