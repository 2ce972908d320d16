"""Errors a user is meant to read: what was wrong, where, what to do. The command line shows no traceback of them."""


class LakehouseError(Exception):
    """Base of every error whose message is written for the user."""
