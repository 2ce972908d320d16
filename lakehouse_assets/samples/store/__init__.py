"""Feeds of the store."""
