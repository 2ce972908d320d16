"""Rules of a whole day: checks of Pandera that have no SQL, so that Pandera itself judges them.

    @pa.check("value", action=Action.WARN, dimension=Dimension.VOLUME)
    def is_spread(cls, rows: DataFrame) -> bool:
        \"\"\"values are not all the same\"\"\"

Methods under `@pa.check` and `@pa.dataframe_check`, registered checks, `unique=True`. Such a check is TRUE or FALSE of
all rows of a day, so it cannot set single rows aside: it fails the day (the default), or warns.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandera.pyspark as pa
from pandera.backends.pyspark.register import register_pyspark_backends

from lakehouse_assets.platform.contracts.check_sql import CHECKS
from lakehouse_assets.platform.contracts.rules import Action, ContractError, Dimension, Rate, Rule

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

UNIQUE = "unique"
_SAID = "lakehouse"  # our entry among a check's attributes


@dataclass(frozen=True)
class DayCheck:
    """What a method under `@pa.check` or `@pa.dataframe_check` says beyond what Pandera knows."""

    function: Callable[..., Any]
    action: Action | None
    dimension: Dimension | None


def keywords() -> frozenset[str]:
    """Checks of a column that have no SQL: those that were registered, and Pandera's own."""
    return frozenset({"unique_values_eq", *pa.Check.REGISTERED_CUSTOM_CHECKS})


def named(infos: Iterable[Any]) -> list[Any]:
    """Copies of what a model says of its checks: building them, Pandera takes their names away, for subclasses too."""
    copies = [copy(info) for info in infos]
    for info in copies:
        info.check_kwargs = {"name": info.check_fn.__name__} | info.check_kwargs
    return copies


def claim(checks: Iterable[pa.Check], functions: Mapping[str, Callable[..., Any]]) -> None:
    """Take what is the platform's from the options of methods' checks, so that Pandera does not pass it on."""
    for check in {id(check): check for check in checks}.values():
        options = check._check_kwargs
        action, dimension = options.pop("action", None), options.pop("dimension", None)
        if check.raise_warning and action is None:
            action = Action.WARN
        vars(check)[_SAID] = DayCheck(functions[str(check.name)], action, dimension)
        check.raise_warning = False  # Pandera would not report it


def unique_check(column: str) -> pa.Check:
    """No value of the column is there twice, as Pandera judges it: of NULLs too there is one at most."""

    def judge(rows: "DataFrame") -> bool:
        return not pa.DataFrameSchema(unique=[column]).validate(rows.select(column)).pandera.errors

    return pa.Check(judge, name=UNIQUE, error=UNIQUE, description=f"{column} is unique within a feed day")


def has_sql(check: pa.Check) -> bool:
    """Whether the check is one of those that are compiled to SQL."""
    return check.name in CHECKS and _SAID not in vars(check)


def day_rule(
    check: pa.Check,
    model: pa.DataFrameSchema,
    column: str | None = None,
    action: Action | None = None,
    dimension: Dimension | None = None,
) -> Rule:
    """The rule of a check of a model. `action`, `dimension`: as its column says, if at all. Raises ContractError."""
    name = f"{column}:{check.name}" if column else str(check.name)
    declared = vars(check).get(_SAID)
    if declared is not None:
        action, dimension = declared.action, declared.dimension or dimension
    if action is Action.QUARANTINE:
        raise ContractError(
            f"{name} is judged of a whole day and cannot set single rows aside: its action is FAIL or WARN."
        )
    if declared is None and check.statistics and not check._check_kwargs:
        check._check_kwargs = dict(check.statistics)  # else Pandera 0.35 does not tell a registered check its column
    description = check.description or check.error or str(check.name).replace("_", " ")
    check.error = check.name  # by which it is found in Pandera's reports

    def passes(rows: "DataFrame") -> bool:
        register_pyspark_backends()  # as validation does first
        rows.pandera.add_schema(model)  # type: ignore[operator]  # Pandera's accessor
        passed = check(rows, column).check_passed
        if not isinstance(passed, bool):
            raise ContractError(f"{name} returned {passed!r}; a check of a day returns True or False.")
        return passed

    return Rule(
        name=name,
        column=column,
        dimension=dimension or (Dimension.UNIQUENESS if check.name == UNIQUE else Dimension.VALIDITY),
        action=action or Action.FAIL,
        tolerate=Rate(),
        description=" ".join(inspect.cleandoc(description).split()),
        sql="",
        passes=passes,
        code=tuple(_code_of(check, declared)),
    )


def _code_of(check: pa.Check, declared: DayCheck | None) -> Iterator[object]:
    """What the verdict of a check depends on."""
    function = declared.function if declared else getattr(check._check_fn, "func", check._check_fn)
    yield inspect.unwrap(function)
    yield tuple(sorted((name, repr(value)) for name, value in (check.statistics or {}).items()))
