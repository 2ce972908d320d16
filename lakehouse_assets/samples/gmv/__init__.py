"""Feeds of GMV."""
