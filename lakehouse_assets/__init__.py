"""A lakehouse in which the past stays right."""
