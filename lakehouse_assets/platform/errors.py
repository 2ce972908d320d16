"""Errors a user is meant to read: what was wrong, where, and what to do. The command line prints them without a traceback."""


class LakehouseError(Exception):
    """Base of every error whose message is written for the user."""
