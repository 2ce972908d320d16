"""Ties: changes of a key that have the same sequence, so that only the declared rule, or content, orders them."""

from dataclasses import replace

from lakehouse_assets.platform.declare.scd import Scd
from lakehouse_assets.platform.results.step_result import DayOutcome
from lakehouse_assets.platform.validation.validated_rows import ValidatedRows


def with_ties(days: tuple[DayOutcome, ...], written: ValidatedRows, spec: object) -> tuple[DayOutcome, ...]:
    """The days, with how many of the changes that each keeps lost to another of that day only so.

    Other kinds of write have none, nor have snapshots, whose key is unique.
    """
    if not isinstance(spec, Scd) or spec.snapshots or not any(day.rows.kept > 1 for day in days):
        return days
    ties = written.repeated((*spec.keys, *spec.sequence))
    return tuple(replace(day, rows=replace(day.rows, ties=ties.get(day.day, 0))) for day in days)
