"""Evaluations of a sensor or a schedule, one at a time.

Dagster gives up on an evaluation after a minute and starts the next, but the thread of the first works on: two would
read logs into the same object.
"""

from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import TypeVar

import dagster as dg

STILL_AT_WORK = "The evaluation before is still at work: waiting for it to end."
Context = TypeVar("Context")
Result = TypeVar("Result")


def one_at_a_time(evaluate: Callable[[Context], Result]) -> Callable[[Context], Result | dg.SkipReason]:
    """A function of a sensor or a schedule that skips while an evaluation of it is at work in this process."""
    at_work = Lock()

    @wraps(evaluate)
    def guarded(context: Context) -> Result | dg.SkipReason:
        if not at_work.acquire(blocking=False):
            return dg.SkipReason(STILL_AT_WORK)
        try:
            return evaluate(context)
        finally:
            at_work.release()

    return guarded
