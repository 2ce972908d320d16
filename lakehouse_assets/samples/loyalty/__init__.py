"""Feeds of the loyalty programme."""
