"""Errors a user is meant to read: what was wrong, where, what to do. The command line shows no traceback of them."""


class LakehouseError(Exception):
    """Base of every error whose message is written for the user."""


def first_line(error: BaseException) -> str:
    """A Spark error without its JVM stack trace."""
    return str(error).split("\n\nJVM stacktrace", 1)[0].split("\n", 1)[0][:500]
