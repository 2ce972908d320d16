"""Feeds of the marketplace."""
