"""Spark: the embedded Connect server, its jars, and sessions on it."""
