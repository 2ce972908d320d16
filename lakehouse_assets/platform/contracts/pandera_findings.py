"""What Pandera finds on rows, in the names of a contract's rules."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pandera.config import ValidationDepth, config_context

from lakehouse_assets.platform.contracts.compiled import KEY_RULE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lakehouse_assets.platform.contracts.contract import Contract


@dataclass(frozen=True)
class Findings:
    """Rules that the rows break, with Pandera's words; and what Pandera could not judge (a type, a missing column)."""

    broken: Mapping[str, str]
    unvalidated: tuple[str, ...]


def findings(contract: "type[Contract]", rows: "DataFrame") -> Findings:
    """Validate rows by `contract.validate`: at least one Spark job for each rule."""
    with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
        errors: dict[str, Any] = contract.validate(rows).pandera.errors
    broken: dict[str, str] = {}
    unvalidated: list[str] = []
    described = {(rule.column, rule.description): rule.name for rule in contract.compiled().of_rows}
    of_day = {rule.name for rule in contract.compiled().of_day}
    for kind, report in _reports(errors):
        column, check, message = report["column"], report["check"], str(report["error"])
        match kind:
            case "SERIES_CONTAINS_NULLS":
                broken[f"{column}:not_null"] = message
            case "DATAFRAME_CHECK":
                of_column = f"{column}:{check}"
                known = of_column if of_column in of_day else described.get((column, f"{column}: {check}"), check)
                broken[known] = message
            case "DUPLICATES":
                broken[KEY_RULE] = message
            case _:
                unvalidated.append(f"{kind}: {message}")
    return Findings(broken, tuple(unvalidated))


def _reports(errors: Mapping[str, Mapping[str, list[dict[str, Any]]]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for kinds in errors.values():
        for kind, reports in kinds.items():
            yield from ((kind, report) for report in reports)
