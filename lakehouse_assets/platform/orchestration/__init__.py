"""Dagster: assets, resources, sensors and schedules of declared tables."""
