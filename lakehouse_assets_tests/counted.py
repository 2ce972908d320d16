"""What a step asks of Spark and of Delta logs, counted at the Connect client and at delta-rs."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql.connect.client.core import SparkConnectClient

ACTION, ANALYSIS, OPENING = "actions", "analyses", "openings"
CALLS = (
    (SparkConnectClient, "_execute_and_fetch_as_iterator", ACTION),
    (SparkConnectClient, "_analyze", ANALYSIS),
    (DeltaTable, "__init__", OPENING),
)


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count writes and collects sent to Spark, schemas asked of it, and openings of Delta logs."""
    counts: Counter[str] = Counter()

    def noted(call: Any, what: str) -> Any:
        @wraps(call)
        def counting(*arguments: Any, **options: Any) -> Any:
            counts[what] += 1
            return call(*arguments, **options)

        return counting

    with pytest.MonkeyPatch.context() as patched:
        for owner, name, what in CALLS:
            patched.setattr(owner, name, noted(getattr(owner, name), what))
        yield counts
